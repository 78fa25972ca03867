"""A fine-tune on several devices of one machine: which process is the first, and what the others get from it.

Lightning starts, from the trial's process (rank 0), one more process of the same command for each further device. All see the
same global batch and take each their share of it; rank 0 alone writes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor

RANK_VARIABLE = "LOCAL_RANK"
_OF_THE_LAUNCH = (RANK_VARIABLE, "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")


def local_rank() -> int:
    """This process's number among those of one fine-tune; 0 in the trial's own."""
    return int(os.environ.get(RANK_VARIABLE, "0"))


def strategy_for(devices: int) -> Any:
    """Lightning's strategy for a fine-tune on so many devices."""
    return DDPStrategy(broadcast_buffers=False) if devices > 1 else "auto"


def launcher_environment() -> LightningEnvironment:
    """Processes are started from here and nowhere else: not by Slurm, whose requeueing would also compete with our resuming."""
    return LightningEnvironment()


@contextlib.contextmanager
def launched() -> Iterator[None]:
    """Around a fit: what Lightning passed to the other processes, and the group of them, are gone afterwards; another can follow."""
    before = {name: os.environ.get(name) for name in _OF_THE_LAUNCH}
    try:
        yield
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def share(tensor: Tensor, trainer: pl.Trainer) -> Tensor:
    """This rank's rows of a global batch: every ``world_size``-th."""
    return tensor[trainer.global_rank :: trainer.world_size]


def mean_over_ranks(value: Tensor, trainer: pl.Trainer) -> float:
    """The mean of a scalar that each rank has of its own share."""
    return float(trainer.strategy.reduce(value.detach().clone(), reduce_op="mean"))


def any_rank(flag: bool, trainer: pl.Trainer) -> bool:
    """Whether any rank says so; all learn it at the same step."""
    return flag if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(flag, all=False)


def gathered(items: list[Any], trainer: pl.Trainer) -> list[Any]:
    """The items of all ranks, rank by rank, on every rank; they are pickled."""
    if trainer.world_size == 1:
        return items
    lists: list[list[Any]] = [[] for _ in range(trainer.world_size)]
    torch.distributed.all_gather_object(lists, items)
    return [item for one in lists for item in one]
