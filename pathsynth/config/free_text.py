"""Free text as a quoted string of Hydra's grammar."""

from __future__ import annotations

import re


def is_quoted(text: str) -> bool:
    """Whether the whole text is one quoted string of Hydra's grammar."""
    return bool(re.fullmatch(r"'(?:\\'|[^'])*'|\"(?:\\\"|[^\"])*\"", text, re.DOTALL)) and not text.endswith(("\\'", '\\"'))


def hydra_quoted(text: str) -> str:
    """``text`` as a quoted string that Hydra reads, and OmegaConf resolves, back to ``text``.

    OmegaConf takes ``${`` for an interpolation unless a backslash is before it, and then halves the backslashes before
    that; Hydra's grammar halves the backslashes before a quote.
    """
    plain = re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", text) if "${" in text else text
    escaped = re.sub(r"(\\*)'", lambda m: m[1] * 2 + r"\'", plain)
    return "'" + re.sub(r"(\\+)\Z", lambda m: m[1] * 2, escaped) + "'"
