"""The denoising steps of a batch, which may pause after one of them and continue in another batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pathsynth.ledger.interruption import check

Predict = Callable[[Tensor, Tensor], Tensor]
"""What the denoiser says of latents (N, C, h, w) at a time step."""
OnEvaluation = Callable[[int, Callable[[], Tensor]], None]
"""Called with how many evaluations lie behind, and a function that gives the clean latents (N, C, h, w) as the last one saw them."""
_Memory = dict[str, Tensor | list[Tensor | None]]


@dataclass(frozen=True)
class Paused:
    """One candidate between two steps: its latents (C, h, w), and what a scheduler of several steps remembers of it.

    ``scheduler`` is what it has in common with the others of its batch.
    """

    latents: Tensor
    scheduler: Any
    memory: _Memory


class Trajectory:
    """A batch of latents on its way through a scheduler's steps.

    ``latents`` are (N, C, h, w); ``predicted`` are the clean ones as the last evaluation of the denoiser saw them, None before one that
    stops on the way. ``evaluations`` lie behind: one for each of the scheduler's ``timesteps``, of which a step may take several.
    """

    def __init__(self, scheduler: Any, latents: Tensor, evaluations: int) -> None:
        self._scheduler, self.latents, self.evaluations = scheduler, latents, evaluations
        self.predicted: Tensor | None = None

    @classmethod
    def from_noise(cls, scheduler: Any, noise: Tensor) -> Trajectory:
        """From the first step; ``noise`` is standard normal, (N, C, h, w)."""
        return cls(scheduler, noise * scheduler.init_noise_sigma, 0)

    @classmethod
    def from_image(cls, scheduler: Any, clean: Tensor, noise: Tensor, evaluations: int) -> Trajectory:
        """From a later step: ``clean`` latents (N, C, h, w) with as much ``noise`` as there would be (Meng et al., arXiv 2108.01073)."""
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(evaluations)
        time = scheduler.timesteps[evaluations]
        return cls(scheduler, scheduler.add_noise(clean, noise, time.expand(len(clean))), evaluations)

    @classmethod
    def resumed(cls, paused: Sequence[Paused], evaluations: int) -> Trajectory:
        """From where candidates were left after the same step, together or not."""
        scheduler = copy.copy(paused[0].scheduler)
        for name in paused[0].memory:
            setattr(scheduler, name, _together([p.memory[name] for p in paused]))
        return cls(scheduler, torch.stack([p.latents for p in paused]), evaluations)

    def advance(self, predict: Predict, stop: int, on_evaluation: OnEvaluation | None = None) -> None:
        """Take the steps up to the one that ends with the ``stop``-th evaluation. What ``on_evaluation`` raises ends it.

        Raises:
            Interrupted: the process was asked to stop.
        """
        scheduler = self._scheduler
        for number, t in enumerate(scheduler.timesteps[self.evaluations : stop], start=self.evaluations + 1):
            check()
            shown = scheduler.scale_model_input(self.latents, t)
            clean = predict(shown, t)
            if stop < len(scheduler.timesteps):
                self.predicted = _clean(scheduler, shown, clean, t)
            if on_evaluation:
                on_evaluation(number, partial(_clean, scheduler, shown, clean, t))
            self.latents = scheduler.step(clean, t, self.latents, return_dict=False)[0]
        self.evaluations = stop

    def paused(self) -> list[Paused]:
        """Each candidate by itself."""
        scheduler, n = copy.copy(self._scheduler), len(self.latents)
        names = [name for name, value in vars(scheduler).items() if _of_each(value, n)]
        apart = {name: _apart(getattr(scheduler, name), n) for name in names}
        return [Paused(self.latents[i].clone(), scheduler, {name: apart[name][i] for name in names}) for i in range(n)]


def _clean(scheduler: Any, shown: Tensor, predicted: Tensor, t: Tensor) -> Tensor:
    """The clean latents that a prediction amounts to (Salimans and Ho, arXiv 2202.00512, appendix D)."""
    signal = scheduler.alphas_cumprod[int(t)].to(shown)
    kind = scheduler.config.prediction_type
    if kind == "v_prediction":
        return signal.sqrt() * shown - (1 - signal).sqrt() * predicted
    if kind == "sample":
        return predicted
    return (shown - (1 - signal).sqrt() * predicted) / signal.sqrt().clamp(min=1e-4)


def _of_each(value: Any, n: int) -> bool:
    """Whether a scheduler's attribute holds latents, a row for each candidate."""
    if isinstance(value, Tensor):
        return value.ndim == 4 and len(value) == n
    return isinstance(value, list) and any(isinstance(v, Tensor) and v.ndim == 4 and len(v) == n for v in value)


def _apart(value: Any, n: int) -> list[Any]:
    if isinstance(value, Tensor):
        return [row.clone() for row in value]
    return [[None if v is None else v[i].clone() for v in value] for i in range(n)]


def _together(values: Sequence[Any]) -> Any:
    if isinstance(values[0], Tensor):
        return torch.stack(list(values))
    return [None if parts[0] is None else torch.stack(list(parts)) for parts in zip(*values, strict=True)]
