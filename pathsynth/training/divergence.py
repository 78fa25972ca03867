"""A training whose loss leaves the finite numbers or runs away: when that is so, and how it continues from before."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.errors import StageError
from pathsynth.training.resume import ResumePoints

_MEMORY = 0.95
"""Of the running mean: it looks back about twenty steps."""

_SETTLED = 20
"""Losses before the running mean is compared with its lowest."""


class Diverged(StageError):
    """The loss is not finite, or far above what it had been."""

    def __init__(self, reason: str, step: int) -> None:
        super().__init__(f"{reason} at step {step}")


class LossWatch:
    """Follows the running mean of a training's loss, of which a single batch says little.

    Args:
        explosion: the training has diverged once the mean is so many times its lowest; None: only when it is not finite.
    """

    KEY = "loss_watch"
    """Where a checkpoint holds the state."""

    def __init__(self, explosion: float | None) -> None:
        self._explosion = explosion
        self._sum, self._weight, self._seen, self._lowest = 0.0, 0.0, 0, math.inf

    def add(self, loss: float, step: int) -> None:
        """Take in the loss of a step.

        Raises:
            Diverged: the training should not continue from here.
        """
        if not math.isfinite(loss):
            raise Diverged(f"the loss became {loss}", step)
        self._sum, self._weight, self._seen = _MEMORY * self._sum + loss, _MEMORY * self._weight + 1, self._seen + 1
        if self._explosion and self._mean > self._explosion * self._lowest:
            raise Diverged(f"the loss rose to {self._mean:.3g}, over {self._explosion:g} times its lowest ({self._lowest:.3g}),", step)
        if self._seen >= _SETTLED:
            self._lowest = min(self._lowest, self._mean)

    @property
    def _mean(self) -> float:
        return self._sum / self._weight

    @property
    def calm(self) -> bool:
        """Whether the loss is nearer to its lowest than to where the training would be given up."""
        return self._explosion is None or self._seen == 0 or self._mean <= (1 + self._explosion) / 2 * self._lowest

    def state_dict(self) -> dict[str, float]:
        """The running mean, as a checkpoint keeps it."""
        return {"sum": self._sum, "weight": self._weight, "seen": self._seen, "lowest": self._lowest}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue from what :meth:`state_dict` gave."""
        self._sum, self._weight, self._seen, self._lowest = state["sum"], state["weight"], int(state["seen"]), state["lowest"]


@dataclass(frozen=True)
class _Retreat:
    """Why a try ended, and the checkpoint that the next one starts from (a path below the work folder; None: from nothing)."""

    reason: str
    start: str | None


class Tries:
    """The tries of one training, each at a lower rate than the last, remembered in ``work/tries.json``.

    A try keeps its checkpoints in a folder of its own, so that the line in which the next one is written down is all that
    divides the two: a kill before it repeats the end of the old try, a kill after it continues with the new one.

    Args:
        work: where the training keeps what it continues from.
        allowed: tries after the first.
        factor: of the rate, from each try to the next.
        explosion: as in :class:`LossWatch`.
    """

    def __init__(self, work: Path, allowed: int, factor: float, explosion: float | None) -> None:
        self._work, self._allowed, self._factor, self._explosion = work, allowed, factor, explosion
        self._file = work / "tries.json"
        self._past = [_Retreat(**record) for record in json.loads(self._file.read_text())] if self._file.is_file() else []

    @property
    def count(self) -> int:
        """Attempts that diverged."""
        return len(self._past)

    @property
    def slowed(self) -> float:
        """Factor of the learning rate in this try."""
        return float(self._factor**self.count)

    def points(self, every: int, keep: int) -> ResumePoints:
        """The resume points of this try."""
        start = self._past[-1].start if self._past else None
        folder = self._work / f"try-{self.count + 1}" if self._past else self._work
        return ResumePoints(folder, every, keep, self._work / start if start else None)

    def step_back(self, error: Diverged, points: ResumePoints) -> str:
        """Write down the next try and tell of it in a line.

        Raises:
            StageError: no try is left; it says where the training was still good.
        """
        good = next((path for path in points.checkpoints() if self._calm(path)), None)
        where = f"the last good checkpoint ({good.name})" if good else "the start"
        if self.count >= self._allowed:
            remedy = "lower optimizer.lr or set trainer.gradient_clip_val"
            raise StageError(f"{error}; {remedy}, or training.retries to continue from {where} at a lower rate") from error
        self._past.append(_Retreat(str(error), str(good.relative_to(self._work)) if good else None))
        self._work.mkdir(parents=True, exist_ok=True)
        write_json(self._file, [asdict(retreat) for retreat in self._past])
        return f"{error}; continuing from {where} at {self.slowed:g} times optimizer.lr"

    def _calm(self, checkpoint: Path) -> bool:
        watch = LossWatch(self._explosion)
        content: dict[str, Any] = torch.load(checkpoint, weights_only=True, map_location="cpu", mmap=True)
        watch.load_state_dict(content[LossWatch.KEY])
        return watch.calm
