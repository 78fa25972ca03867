"""A model of the engine's interface that draws grey squares from seeds: no torch, microseconds an image."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from pathsynth.config import SamplingConfig
from pathsynth.sampling.acceptance_rules import AtLeast, Candidate, Leads, MostProbable, Rule, Verdict, judged_by
from pathsynth.sampling.denoising import Denoising, Watch
from pathsynth.sampling.scheduler import Scheduler
from pathsynth.sampling.slots import Attempt
from pathsynth.vocabulary.prompts import colorectal_prompts

STEPS = 6
SETTINGS = SamplingConfig(steps=STEPS, guidance=1.0, batch_size=8, seed=0, attempts=4, threshold=0.0)


class Gate:
    """Open at first. While it is closed every step waits, until it is opened or let through."""

    def __init__(self) -> None:
        self._changed, self._open, self._allowed = threading.Condition(), True, 0

    def clear(self) -> None:
        with self._changed:
            self._open = False

    def set(self) -> None:
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def let_through(self, steps: int) -> None:
        with self._changed:
            self._allowed += steps
            self._changed.notify_all()

    def wait(self) -> None:
        with self._changed:
            if self._changed.wait_for(lambda: self._open or self._allowed, 20) and not self._open:
                self._allowed -= 1


class CheapModel:
    """``steps`` that were taken in all; each waits at the ``gate``. ``fault``: raised in place of drawing."""

    book = colorectal_prompts()
    sampling = SETTINGS
    scheduler = Scheduler("DDIMScheduler", {}, {}, from_base=True)

    def __init__(self) -> None:
        self.gate = Gate()
        self.steps = 0
        self.fault: Exception | None = None

    def drawer(self, sampling: SamplingConfig, watch: Watch) -> Callable[[Sequence[Attempt]], list[np.ndarray | None]]:
        def draw(attempts: Sequence[Attempt]) -> list[np.ndarray | None]:
            if self.fault:
                raise self.fault
            for step in range(STEPS):
                self.steps += 1
                watch(Denoising(attempts, step + 1, STEPS, lambda: [grey(a.seed) for a in attempts]))
                self.gate.wait()
            return [grey(a.seed) for a in attempts]

        return draw

    def judge(self, sampling: SamplingConfig) -> Callable[[Sequence[Attempt], list[np.ndarray | None]], list[Verdict]]:
        rules = self.rules(sampling)
        return lambda attempts, images: [
            judged_by(rules, Candidate(probabilities(a)), a.slot.label) for a, _ in zip(attempts, images, strict=True)
        ]

    def notes(self, prompt: str) -> Sequence[str]:
        return [f"words that are not known: {word}" for word in prompt.split() if word.startswith("un")]

    def rules(self, sampling: SamplingConfig) -> Sequence[Rule]:
        return [MostProbable(), AtLeast(sampling.threshold), Leads(sampling.margin)]


def grey(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256, (8, 8, 3), dtype=np.uint8)


def probabilities(attempt: Attempt) -> np.ndarray:
    """Of its own class somewhere in [0, 1], as its seed has it; the next class has the rest."""
    own = np.random.default_rng(attempt.seed + 1).random()
    row = np.zeros(len(CheapModel.book.space))
    row[attempt.slot.label], row[(attempt.slot.label + 1) % len(row)] = own, 1 - own
    return row
