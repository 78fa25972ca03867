"""Early rejection: after some of the steps, a candidate that the gate would hardly accept is rejected.

The gate sees the predicted clean image. Below which probability of the requested class there is no hope is
decided on candidates that were drawn to the end: at most a given share of those that it accepted may lie below.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.errors import StageError
from pathsynth.sampling.acceptance_rules import Candidate, Verdict, hopeless
from pathsynth.sampling.draw import CandidateDrawer
from pathsynth.sampling.gate import Gate
from pathsynth.sampling.rejection import Hopeless, Route
from pathsynth.sampling.slots import Attempt

_FILE = "early_rejection.json"


@dataclass(frozen=True)
class PreviewedAttempt:
    """The first attempt at a ``slot``, drawn to the end: its class's probability in [0, 1] at the preview, and the final verdict."""

    slot: int
    probability: float
    accepted: bool


@dataclass(frozen=True)
class Threshold:
    """Below which ``probability`` a candidate is hopeless ``after`` so many of the ``steps``, and what that did to other candidates.

    The threshold was fitted on ``fitted`` accepted candidates. Of ``candidates`` others, ``given_up`` lie below it; of the ``accepted``
    among these others, ``lost`` do.
    """

    probability: float
    after: int
    steps: int
    fitted: int
    candidates: int
    given_up: int
    accepted: int
    lost: int


def least_probability(accepted: Sequence[float], loss: float) -> float:
    """The highest threshold, in [0, 1], with at most the share ``loss`` of the ``accepted`` probabilities below it; 0 if there are none."""
    ordered = np.sort(np.asarray(accepted, dtype=float))
    return float(ordered[int(loss * len(ordered))]) if len(ordered) else 0.0


def fit_threshold(candidates: Sequence[PreviewedAttempt], loss: float, after: int, steps: int) -> Threshold:
    """Fit the threshold on the candidates of even slots, and count what it does to those of odd ones."""
    chosen = [c.probability for c in candidates if c.accepted and c.slot % 2 == 0]
    threshold, others = least_probability(chosen, loss), [c for c in candidates if c.slot % 2]
    below = [c for c in others if c.probability < threshold]
    effect = {"candidates": len(others), "given_up": len(below), "accepted": sum(c.accepted for c in others)}
    return Threshold(threshold, after, steps, len(chosen), **effect, lost=sum(c.accepted for c in below))


def calibrate(
    attempts: Sequence[Attempt], draw: CandidateDrawer, gate: Gate, batch_size: int, on_candidate: Callable[[], None]
) -> list[PreviewedAttempt]:
    """Draw attempts to the end, previewing each. Broken images are left out."""
    previews = []
    for start in range(0, len(attempts), batch_size):
        batch = attempts[start : start + batch_size]
        candidates = gate.see(draw.preview(batch))
        verdicts = gate(batch, draw(batch))
        previews += [
            PreviewedAttempt(a.slot.index, float(s.probabilities[a.slot.label]), v.accepted)
            for a, s, v in zip(batch, candidates, verdicts, strict=True)
            if not isinstance(s, Verdict) and not v.failed
        ]
        for _ in batch:
            on_candidate()
    return previews


class EarlyRejection:
    """Finds the hopeless of a batch after some of the steps, with their predicted images."""

    def __init__(self, draw: CandidateDrawer, gate: Gate, threshold: Threshold) -> None:
        self._draw, self._gate, self._threshold = draw, gate, threshold

    def __call__(self, attempts: Sequence[Attempt]) -> list[Hopeless | None]:
        """For each attempt its early rejection, or None where it continues."""
        images = self._draw.preview(attempts)
        return [self._rejection(a, i, s) for a, i, s in zip(attempts, images, self._gate.see(images), strict=True)]

    def _rejection(self, attempt: Attempt, image: np.ndarray | None, candidate: Candidate | Verdict) -> Hopeless | None:
        if isinstance(candidate, Verdict):  # what is black may become an image yet, what is not finite will not
            return (None, candidate) if image is None else None
        verdict = hopeless(candidate, attempt.slot.label, self._threshold.probability, self._threshold.after)
        return (image, verdict) if verdict else None


def format_threshold(threshold: Threshold, route: Route) -> str:
    """A line on the rejected candidates, and on what that loses and saves on a ``route``, with 95% Wilson intervals."""
    if not threshold.fitted:
        return "early rejection: no candidate was accepted where its threshold is fitted, so none is rejected early"
    when = f"after {threshold.after} of {threshold.steps} steps"
    line = f"early rejection: {when}, candidates with a probability below {threshold.probability:.3g} are rejected"
    lost = _share(threshold.lost, threshold.accepted)
    saved = _share(threshold.given_up, threshold.candidates, sum(route.calls[threshold.after :]) / sum(route.calls))
    return f"{line}; on candidates it was not fitted on: lost {lost} of the accepted, saved {saved} of the calls"


def _share(some: int, n: int, weight: float = 1.0) -> str:
    if not n:
        return "none (n = 0)"
    interval = binomtest(some, n).proportion_ci(0.95, "wilson")
    return f"{weight * some / n:.3f} [{weight * interval.low:.3f}, {weight * interval.high:.3f}] (n = {n})"


def write_threshold(folder: Path, threshold: Threshold) -> None:
    """Write ``early_rejection.json``."""
    write_json(folder / _FILE, asdict(threshold))


def read_threshold(folder: Path) -> Threshold:
    """The threshold in a folder.

    Raises:
        StageError: there is none, or it is damaged.
    """
    try:
        return Threshold(**json.loads((folder / _FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        line = f"the threshold of early rejection in {folder} cannot be read ({error}); remove that folder, generate again"
        raise StageError(line) from error
