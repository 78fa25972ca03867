"""Which settings are secrets, by their names."""

from __future__ import annotations

import re
from typing import Any

_SECRET = re.compile(
    r"(?:^|[_.-])(?:(?:api|access|account|auth|private|secret|ssh|wandb|license)_?key|token|secret|password|passwd|passphrase|credential)(s?)$",
    re.IGNORECASE,
)


def is_secret(key: str, value: Any) -> bool:
    """Whether a setting holds an API key, a token, a password or the like. Not any key is one: ``sort_key`` is none, ``api_key`` is.

    A number under a plural (``max_tokens``) counts something.
    """
    match = _SECRET.search(key)
    if match is None or isinstance(value, bool) or not value:
        return False
    return isinstance(value, str) or (isinstance(value, int) and not match[1]) or isinstance(value, (list, tuple))
