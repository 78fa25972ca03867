"""Identities: short hashes of what determines a result, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

DIGITS = 12


def stage_identity(stage: str, settings: Mapping[str, Any], parents: Mapping[str, str], defaults: Mapping[str, Any]) -> str:
    """Twelve hex digits of a stage's settings and its parents' identities.

    Settings equal to ``defaults`` are left out, so a new key with a default that changes nothing does not orphan old
    results.
    """
    hashed = {key: value for key, value in settings.items() if key not in defaults or value != defaults[key]}
    return digest({"stage": stage, "settings": hashed, "parents": dict(parents)})


def digest(value: Any) -> str:
    """Twelve hex digits of a JSON value; the order of its keys has no effect."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
