"""Settings as earlier versions wrote them into manifests and results, in today's keys. What people type is not translated, but refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pathsynth.config.schema import REGENERATION, ValidationConfig


def current_form(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a manifest under the keys of this version; those of this version come back as they are."""
    return _with_regeneration(dict(values))


def _with_regeneration(values: dict[str, Any]) -> dict[str, Any]:
    """The group ``validation`` became the callback ``regeneration``."""
    validation = values.pop("validation", None)
    if validation is None:
        return values
    return {**values, "callbacks": {**values.get("callbacks", {}), REGENERATION: {**ValidationConfig().callback, **validation}}}
