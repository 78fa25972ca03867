"""The acceptance rules: what the gate's probabilities and features mean for a candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

MARGIN = 1e-3
"""Verdicts whose deciding values lie closer than this to a limit may flip with batch size or machine (rounding); they are flagged."""


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
class Seen:
    """What the gate sees in an image: class probabilities, float (C,), that sum to one, and its features, float (F,), if a rule asks."""

    probabilities: np.ndarray
    features: np.ndarray | None = None

    def lead(self, label: int) -> float:
        """The probability of a class above that of the most probable other one; negative where another leads."""
        return float(self.probabilities[label] - np.delete(self.probabilities, label).max())


class Rule(Protocol):
    """One condition of acceptance. ``reason`` tells why an image that does not meet it is rejected."""

    @property
    def reason(self) -> str: ...

    def slack(self, seen: Seen, label: int) -> float:
        """How far an image is on the right side of the limit; below zero it is rejected, within ``MARGIN`` of zero flagged."""
        ...


@dataclass(frozen=True)
class MostProbable:
    """The class asked for is the most probable one. Of two that are equal to the last bit, neither is."""

    reason: str = "another class is more probable"

    def slack(self, seen: Seen, label: int) -> float:
        return seen.lead(label) or -np.finfo(float).tiny


@dataclass(frozen=True)
class AtLeast:
    """The class asked for has at least ``threshold`` probability, in [0, 1]."""

    threshold: float

    @property
    def reason(self) -> str:
        return f"probability below {self.threshold:g}"

    def slack(self, seen: Seen, label: int) -> float:
        return float(seen.probabilities[label]) - self.threshold


@dataclass(frozen=True)
class Leads:
    """The class asked for is at least ``margin`` more probable than any other, in [0, 1]."""

    margin: float

    @property
    def reason(self) -> str:
        return f"less than {self.margin:g} above the next class"

    def slack(self, seen: Seen, label: int) -> float:
        return seen.lead(label) - self.margin


@dataclass(frozen=True)
class NoCopy:
    """The image lies no nearer to a training image than ``bound``, a distance > 0 in the gate's features.

    ``train``: features, float (M, F), of the training images. The slack is relative to the bound.
    """

    train: np.ndarray = field(repr=False)
    bound: float
    reason: str = "nearly a training image"

    def slack(self, seen: Seen, label: int) -> float:
        assert seen.features is not None
        return float(np.linalg.norm(self.train - seen.features, axis=1).min()) / self.bound - 1


def judged_by(rules: Sequence[Rule], seen: Seen, label: int) -> Verdict:
    """The verdict on one candidate: accepted if it meets every rule, else rejected for the first that it does not meet.

    The rule with the least slack decides; where that is within ``MARGIN`` of its limit, the verdict is flagged.
    """
    slacks = [rule.slack(seen, label) for rule in rules]
    failed = [rule for rule, slack in zip(rules, slacks, strict=True) if slack < 0]
    probabilities = tuple(float(p) for p in seen.probabilities)
    return Verdict(
        accepted=not failed,
        predicted=int(seen.probabilities.argmax()),
        probability=probabilities[label],
        probabilities=probabilities,
        reason=failed[0].reason if failed else None,
        near_margin=abs(min(slacks)) < MARGIN,
    )


def superseded(verdict: Verdict) -> Verdict:
    """The verdict on an attempt whose slot an earlier attempt of the same batch has filled: whatever it was, it is not taken."""
    return replace(verdict, accepted=False, reason="an earlier attempt was accepted")


def hopeless(seen: Seen, label: int, cut: float, steps: int) -> Verdict | None:
    """The verdict on a candidate that is given up after ``steps`` steps: its class has less than ``cut`` probability; None if not."""
    own = float(seen.probabilities[label])
    if own >= cut:
        return None
    probabilities = tuple(float(p) for p in seen.probabilities)
    return Verdict(False, int(seen.probabilities.argmax()), own, probabilities, f"hopeless after {steps} steps", cut - own < MARGIN)


def broken(reason: str, classes: int) -> Verdict:
    """The verdict on an image that is not one: not finite, or black."""
    return Verdict(False, -1, float("nan"), (float("nan"),) * classes, reason, False)


def image_fault(image: np.ndarray | None) -> str | None:
    """Why a drawn image, uint8 (H, W, 3), cannot be judged at all; None if it can."""
    if image is None:
        return "not finite"
    if image.max() == 0:
        return "black"
    return None
