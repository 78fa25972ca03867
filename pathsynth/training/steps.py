"""Batches as pure functions of (seed, step): what makes a resumed training the same as an undisturbed one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from pathsynth.ledger.seeds import derive_seed


def step_generator(seed: int, stream: str, step: int) -> torch.Generator:
    """A generator that depends on nothing but its arguments."""
    return torch.Generator().manual_seed(derive_seed(seed, stream, step))


class StepDataset(Dataset):
    """Item ``step`` is the whole batch of that step."""

    def __init__(self, batch_of_step: Callable[[int], object], steps: int) -> None:
        self._batch_of_step = batch_of_step
        self._steps = steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> object:
        return self._batch_of_step(step)


class StepSampler(Sampler[int]):
    """Steps ``first`` … ``last - 1``. Its length is ``last``: Lightning counts the steps done before a resume as fetched."""

    def __init__(self, first: int, last: int) -> None:
        self._first, self._last = first, last

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._first, self._last))

    def __len__(self) -> int:
        return self._last


def step_loader(batch_of_step: Callable[[int], object], first: int, last: int) -> DataLoader:
    """A loader of the batches of steps ``first`` … ``last - 1``, in order."""
    steps = StepSampler(first, last)
    return DataLoader(StepDataset(batch_of_step, last), batch_size=None, sampler=steps, collate_fn=lambda batch: batch)


def warmup_cosine(step: int, warmup: int, steps: int, floor: float) -> float:
    """Learning-rate factor: linear from 0 over ``warmup`` steps, then half a cosine down to ``floor`` at ``steps``."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def warmup_constant(step: int, warmup: int) -> float:
    """Learning-rate factor: linear from 0 over ``warmup`` steps, then 1."""
    return min(1.0, (step + 1) / max(1, warmup))


def warmup_restarts(step: int, warmup: int, first: int) -> float:
    """Learning-rate factor: linear from 0 over ``warmup`` steps, then cosines from 1 to 0, of ``first``, 2·``first``, … steps."""
    if step < warmup:
        return (step + 1) / warmup
    place, length = step - warmup, first
    while place >= length:
        place, length = place - length, 2 * length
    return 0.5 * (1 + math.cos(math.pi * place / length))
