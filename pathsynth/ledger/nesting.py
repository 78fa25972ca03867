"""Nested settings as one level of dotted keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings without groups: ``{"lora": {"rank": 4}}`` becomes ``{"lora.rank": 4}``; a group without keys leaves nothing."""
    columns: dict[str, Any] = {}
    for key, value in settings.items():
        columns |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return columns
