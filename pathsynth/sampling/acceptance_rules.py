"""The acceptance rules: what the gate's probabilities and features mean for a candidate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import ClassVar, Protocol

import numpy as np

from pathsynth.ledger.errors import StageError, summarize_error, summarize_value

MARGIN = 1e-3
"""Verdicts whose deciding values lie closer than this to a limit may flip with batch size or machine (rounding); they are flagged."""


@dataclass(frozen=True)
class Verdict:
    """The gate's answer for one candidate.

    ``predicted`` is the most probable class, ``probability`` that of the requested class, both −1/NaN if the image could
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
        """The image itself was broken; its class does not matter."""
        return self.predicted < 0


@dataclass(frozen=True)
class Candidate:
    """What a rule sees of a candidate.

    ``probabilities``: of the classes by the gate, float (C,), sum one. ``features``: the input of the gate's last layer, float (F,);
    None unless a rule has ``needs_features = True``. ``image``: the very pixels that are stored if it is accepted, uint8 (H, W, 3), not to
    be written to.
    """

    probabilities: np.ndarray
    features: np.ndarray | None = None
    image: np.ndarray | None = field(default=None, repr=False)

    def lead(self, label: int) -> float:
        """The probability of a class above that of the most probable other one; negative where another leads."""
        return float(self.probabilities[label] - np.delete(self.probabilities, label).max())


class Rule(Protocol):
    """One condition of acceptance: any class with these two members, of the user's own, too.

    ``reason`` (a property, a field of a dataclass, or an attribute of the class) says in a few words why an image that does not meet it
    is rejected. A rule with ``needs_features = True`` is shown the gate's features as well.
    """

    @property
    def reason(self) -> str:
        """Why an image that misses the rule is rejected; pages and tables show it."""
        ...

    def slack(self, candidate: Candidate, label: int) -> float:
        """How far an image is on the right side of the limit; below zero it is rejected, within ``MARGIN`` of zero flagged.

        It depends on ``candidate`` and ``label``, the requested class, alone: the same candidate is judged again after a kill.
        """
        ...


@dataclass(frozen=True)
class MostProbable:
    """The requested class is the most probable one. Of two that are equal to the last bit, neither is."""

    reason: str = "another class is more probable"

    def slack(self, candidate: Candidate, label: int) -> float:
        """Lead over the most probable other class; a tie gives the smallest negative number."""
        return candidate.lead(label) or -np.finfo(float).tiny


@dataclass(frozen=True)
class AtLeast:
    """The requested class has at least ``threshold`` probability, in [0, 1]."""

    threshold: float

    @property
    def reason(self) -> str:
        """Names the threshold."""
        return f"probability below {self.threshold:g}"

    def slack(self, candidate: Candidate, label: int) -> float:
        """Probability above the threshold."""
        return float(candidate.probabilities[label]) - self.threshold


@dataclass(frozen=True)
class AtLeastByClass:
    """The requested class has at least the probability at which it has the precision ``target``, in (0, 1).

    ``thresholds``: a limit for each class, in order (:func:`pathsynth.metrics.thresholds.precision_thresholds`).
    """

    thresholds: tuple[float, ...]
    target: float

    @property
    def reason(self) -> str:
        """Names the precision."""
        return f"probability below what a precision of {self.target:g} needs"

    def slack(self, candidate: Candidate, label: int) -> float:
        """Probability above the threshold of the requested class."""
        return float(candidate.probabilities[label]) - self.thresholds[label]


@dataclass(frozen=True)
class Leads:
    """The requested class is at least ``margin`` more probable than any other, in [0, 1]."""

    margin: float

    @property
    def reason(self) -> str:
        """Names the margin."""
        return f"less than {self.margin:g} above the next class"

    def slack(self, candidate: Candidate, label: int) -> float:
        """Lead over the most probable other class, above the margin."""
        return candidate.lead(label) - self.margin


@dataclass(frozen=True)
class NoCopy:
    """The image lies no nearer to a training image than ``bound``, a distance > 0 in the gate's features.

    ``train``: features, float (M, F), of the training images. The slack is relative to the bound.
    """

    needs_features: ClassVar[bool] = True
    train: np.ndarray = field(repr=False)
    bound: float
    reason: str = "nearly a training image"

    def slack(self, candidate: Candidate, label: int) -> float:
        """Distance to the nearest training image above ``bound``, as a share of ``bound``."""
        assert candidate.features is not None
        return float(np.linalg.norm(self.train - candidate.features, axis=1).min()) / self.bound - 1


def judged_by(rules: Sequence[Rule], candidate: Candidate, label: int) -> Verdict:
    """The verdict on one candidate: accepted if it meets every rule, else rejected for the first that it does not meet.

    The rule with the least slack decides; where that is within ``MARGIN`` of its limit, the verdict is flagged.

    Raises:
        StageError: a rule fails, or gives no number.
    """
    slacks = [slack_of(rule, candidate, label) for rule in rules]
    failed = [rule for rule, slack in zip(rules, slacks, strict=True) if slack < 0]
    probabilities = tuple(float(p) for p in candidate.probabilities)
    return Verdict(
        accepted=not failed,
        predicted=int(candidate.probabilities.argmax()),
        probability=probabilities[label],
        probabilities=probabilities,
        reason=reason_of(failed[0]) if failed else None,
        near_margin=abs(min(slacks)) < MARGIN,
    )


def slack_of(rule: Rule, candidate: Candidate, label: int) -> float:
    """The slack of a candidate by a rule, as a finite float.

    Raises:
        StageError: it fails, or gives no number; the message names its class.
    """
    try:
        slack = rule.slack(candidate, label)
    except Exception as error:  # a user's rule may raise any exception
        line = f"the acceptance rule {_class_of(rule)} failed ({summarize_error(error)})"
        raise StageError(f"{line}; correct its slack(candidate, label)") from error
    if not isinstance(slack, Real) or isinstance(slack, bool) or math.isnan(slack):
        line = f"the acceptance rule {_class_of(rule)} gave {summarize_value(slack)} in place of a number"
        raise StageError(f"{line}; return a float from slack(candidate, label), below zero where the image is rejected")
    return float(slack)


def reason_of(rule: Rule) -> str:
    """Why a rule rejects an image.

    Raises:
        StageError: it gives no words.
    """
    reason = rule.reason
    if not isinstance(reason, str) or not reason.strip():
        raise StageError(f"the acceptance rule {_class_of(rule)} has the reason {summarize_value(reason)}; set reason to a few words")
    return reason


def needs_features(rules: Sequence[Rule]) -> list[str]:
    """The names of the rules that are to be shown the gate's features."""
    return [type(rule).__name__ for rule in rules if getattr(rule, "needs_features", False)]


def read_only(image: np.ndarray) -> np.ndarray:
    """A view of an image that cannot be written through, so that the judged image is the stored one."""
    view = image.view()
    view.flags.writeable = False
    return view


def _class_of(rule: Rule) -> str:
    return f"{type(rule).__module__}.{type(rule).__qualname__}"


def superseded(verdict: Verdict) -> Verdict:
    """The verdict on an attempt whose slot an earlier attempt of the same batch has filled: it is not taken."""
    return replace(verdict, accepted=False, reason="an earlier attempt was accepted")


def hopeless(candidate: Candidate, label: int, threshold: float, steps: int) -> Verdict | None:
    """The verdict on a candidate that is given up after ``steps`` steps: its class has less than ``threshold`` probability; None if not."""
    probability = float(candidate.probabilities[label])
    if probability >= threshold:
        return None
    probabilities = tuple(float(p) for p in candidate.probabilities)
    reason, is_near = f"hopeless after {steps} steps", threshold - probability < MARGIN
    return Verdict(False, int(candidate.probabilities.argmax()), probability, probabilities, reason, is_near)


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
