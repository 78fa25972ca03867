"""Objects that a configuration names by ``_target_``, with their arguments as the other keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_FULL_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def require_target(key: str, settings: Mapping[str, Any], example: str = "my_module.MyClass") -> None:
    """Check that settings name a class or function. It is loaded, and its arguments are checked, where torch is.

    Raises:
        ValueError: ``_target_`` is missing, or is no full name.
    """
    target = settings.get("_target_")
    if not isinstance(target, str) or not _FULL_NAME.fullmatch(target):
        got = "" if target is None else f", got {target!r}"
        raise ValueError(f"{key}._target_ should name a class, as in {example}{got}")
