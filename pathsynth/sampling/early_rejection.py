"""Early rejection: after some of its steps, a candidate that the gate has no hope for is given up.

The gate sees the clean image that the candidate is on its way to. Below which probability of the class asked for there is no hope is
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
from pathsynth.sampling.acceptance_rules import Seen, Verdict, hopeless
from pathsynth.sampling.draw import CandidateDrawer
from pathsynth.sampling.gate import Gate
from pathsynth.sampling.rejection import Hopeless, Route
from pathsynth.sampling.slots import Attempt

_CUT = "cut.json"


@dataclass(frozen=True)
class Candidate:
    """The first attempt at a ``slot``, looked at and drawn to the end: its class's probability in [0, 1] at the look, and the verdict."""

    slot: int
    probability: float
    accepted: bool


@dataclass(frozen=True)
class Cut:
    """Below which ``probability`` a candidate is hopeless ``after`` so many of the ``steps``, and what that did to other candidates.

    The cut was fitted on ``fitted`` accepted candidates. Of ``candidates`` others, ``given_up`` lie below it; of the ``accepted`` among
    these others, ``lost`` do.
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
    """The highest cut, in [0, 1], below which at most the share ``loss`` of the ``accepted`` probabilities lies; 0 if there are none."""
    ordered = np.sort(np.asarray(accepted, dtype=float))
    return float(ordered[int(loss * len(ordered))]) if len(ordered) else 0.0


def fit_cut(candidates: Sequence[Candidate], loss: float, after: int, steps: int) -> Cut:
    """Fit the cut on the candidates of even slots, and count what it does to those of odd ones."""
    chosen = [c.probability for c in candidates if c.accepted and c.slot % 2 == 0]
    cut, others = least_probability(chosen, loss), [c for c in candidates if c.slot % 2]
    below = [c for c in others if c.probability < cut]
    found = {"candidates": len(others), "given_up": len(below), "accepted": sum(c.accepted for c in others)}
    return Cut(cut, after, steps, len(chosen), **found, lost=sum(c.accepted for c in below))


def calibrate(
    attempts: Sequence[Attempt], draw: CandidateDrawer, gate: Gate, batch_size: int, on_candidate: Callable[[], None]
) -> list[Candidate]:
    """Draw attempts to the end, looking at each on the way. Broken images are left out."""
    found = []
    for start in range(0, len(attempts), batch_size):
        batch = attempts[start : start + batch_size]
        seen = gate.see(draw.look(batch))
        verdicts = gate(batch, draw(batch))
        found += [
            Candidate(a.slot.index, float(s.probabilities[a.slot.label]), v.accepted)
            for a, s, v in zip(batch, seen, verdicts, strict=True)
            if not isinstance(s, Verdict) and not v.failed
        ]
        for _ in batch:
            on_candidate()
    return found


class EarlyLook:
    """What the rejection sampler asks after some of the steps: the hopeless of a batch, with their predicted images."""

    def __init__(self, draw: CandidateDrawer, gate: Gate, cut: Cut) -> None:
        self._draw, self._gate, self._cut = draw, gate, cut

    def __call__(self, attempts: Sequence[Attempt]) -> list[Hopeless | None]:
        images = self._draw.look(attempts)
        return [self._given_up(a, i, s) for a, i, s in zip(attempts, images, self._gate.see(images), strict=True)]

    def _given_up(self, attempt: Attempt, image: np.ndarray | None, seen: Seen | Verdict) -> Hopeless | None:
        if isinstance(seen, Verdict):  # what is black may become an image yet, what is not finite will not
            return (None, seen) if image is None else None
        verdict = hopeless(seen, attempt.slot.label, self._cut.probability, self._cut.after)
        return (image, verdict) if verdict else None


def cut_told(cut: Cut, route: Route) -> str:
    """A line that says what is given up, and what that loses and saves on a ``route``, with 95% Wilson intervals."""
    if not cut.fitted:
        return "early rejection: no candidate was accepted where its cut is fitted, so none is given up"
    told = f"early rejection: after {cut.after} of {cut.steps} steps, what has a probability below {cut.probability:.3g} is given up"
    lost = _share(cut.lost, cut.accepted)
    saved = _share(cut.given_up, cut.candidates, sum(route.calls[cut.after :]) / sum(route.calls))
    return f"{told}; on candidates it was not fitted on: lost {lost} of the accepted, saved {saved} of the calls"


def _share(some: int, n: int, weight: float = 1.0) -> str:
    if not n:
        return "none (n = 0)"
    interval = binomtest(some, n).proportion_ci(0.95, "wilson")
    return f"{weight * some / n:.3f} [{weight * interval.low:.3f}, {weight * interval.high:.3f}] (n = {n})"


def write_cut(folder: Path, cut: Cut) -> None:
    """Write ``cut.json``."""
    write_json(folder / _CUT, asdict(cut))


def read_cut(folder: Path) -> Cut:
    """The cut in a folder.

    Raises:
        StageError: there is none, or it is damaged.
    """
    try:
        return Cut(**json.loads((folder / _CUT).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise StageError(f"the cut of early rejection in {folder} cannot be read ({error}); remove that folder, generate again") from error
