"""The values that a sweep goes through, checked against what was typed: Hydra 1.3 reads some forms otherwise than its grammar says."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from pathsynth.ledger.errors import RequestError

_RANGE = re.compile(r"range\([^()]*\)")
_REVERSED = re.compile(r"reverse\s*=\s*true", re.IGNORECASE)


def check_swept_values(overrides: Iterable[Override]) -> None:
    """Refuse what would sweep over nothing, and a sorted or shuffled range that has other values than the range.

    Raises:
        RequestError: an override is one of these; the message has the values to write instead.
    """
    for override in overrides:
        if not override.is_discrete_sweep():
            continue
        values = list(override.sweep_string_iterator())
        if not values:
            raise RequestError(f"{override.input_line} names no value to sweep over; give it at least one, or leave it out")
        _check_range(override, values)


def _check_range(override: Override, values: list[str]) -> None:
    text = override.input_line or ""
    typed = _RANGE.search(text)
    if typed is None:
        return
    named = list(OverridesParser.create().parse_override(f"x={typed[0]}").sweep_string_iterator())
    pairs = zip(sorted(map(float, named)), sorted(map(float, values)), strict=False)
    if len(named) == len(values) and all(math.isclose(one, other, abs_tol=1e-9) for one, other in pairs):
        return
    if "sort" in text:
        named.sort(key=float, reverse=bool(_REVERSED.search(text)))
    wrong = f"Hydra reads {text} as {','.join(values)}"  # hydra #3228
    raise RequestError(f"{wrong}; write the values out: {override.key_or_group}={','.join(named)}")
