"""The acceptance rule: what the gate's probabilities mean for a candidate."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

MARGIN = 1e-3
"""Verdicts whose deciding probabilities lie closer than this may flip with batch size or machine (rounding); they are flagged."""


@dataclass(frozen=True)
class Verdict:
    """What the gate said of one candidate.

    ``predicted`` is the most probable class, ``probability`` that of the class asked for, both −1/NaN if the image could
    not be judged. ``reason`` says why it was rejected (None: accepted).
    """

    accepted: bool
    predicted: int
    probability: float
    probabilities: tuple[float, ...]
    reason: str | None
    near_margin: bool

    @property
    def failed(self) -> bool:
        """The image itself was broken, whatever was asked for."""
        return self.predicted < 0


@dataclass(frozen=True)
class AcceptanceRule:
    """Accept if the class asked for is the most probable one, has at least ``threshold`` probability in [0, 1], and leads by ``margin``.

    ``margin`` in [0, 1] is the least difference to the probability of the next class.
    """

    threshold: float = 0.0
    margin: float = 0.0

    def verdict(self, probabilities: np.ndarray, label: int) -> Verdict:
        """Judge one candidate by its class probabilities (C,) that sum to one."""
        own = float(probabilities[label])
        others = float(np.delete(probabilities, label).max())
        predicted = int(probabilities.argmax())
        if predicted != label:
            reason = "another class is more probable"
        elif own < self.threshold:
            reason = f"probability below {self.threshold:g}"
        elif own - others < self.margin:
            reason = f"less than {self.margin:g} above the next class"
        else:
            reason = None
        limits = [(own - others, 0.0), (own, self.threshold), (own - others, self.margin)]
        distances = [abs(value - limit) for number, (value, limit) in enumerate(limits) if number == 0 or limit > 0]
        return Verdict(reason is None, predicted, own, tuple(float(p) for p in probabilities), reason, min(distances) < MARGIN)


def superseded(verdict: Verdict) -> Verdict:
    """The verdict on an attempt whose slot an earlier attempt of the same batch has filled: whatever it was, it is not taken."""
    return replace(verdict, accepted=False, reason="an earlier attempt was accepted")


def broken(reason: str, classes: int) -> Verdict:
    """The verdict on an image that is not one: not finite, or black."""
    return Verdict(False, -1, float("nan"), (float("nan"),) * classes, reason, False)
