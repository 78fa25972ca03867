"""How many trials run at once, by the launcher of a command. No torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from hydra.conf import HydraConf
from hydra.types import RunMode

from pathsynth.ledger.versions import cores


def workers(hydra: HydraConf) -> int:
    """How many trials run at once on this machine: what a launcher calls ``n_jobs`` (-1: one for each core), or processes of torchrun.

    Of a launcher that gives each trial ``num_cpus``, as Ray's, so many as have room.
    """
    jobs = hydra.launcher.get("n_jobs", 1) if hydra.mode == RunMode.MULTIRUN else ranks_here()
    return max(1, int(cores() / hydra.launcher.get("num_cpus", 1)) if jobs in (None, -1) else int(jobs))


def trials_at_once(hydra: HydraConf) -> int:
    """How many trials of a sweep run at once, here or on a cluster; where a launcher does not say, as many as :func:`workers`."""
    return int(hydra.launcher.get("array_parallelism") or workers(hydra)) if hydra.mode == RunMode.MULTIRUN else workers(hydra)


def on_cluster(launcher: Mapping[str, Any]) -> bool:
    """Whether trials have places on a cluster, and hold its GPUs while they wait: as jobs of Slurm, or as tasks of a Ray that is joined."""
    target = str(launcher.get("_target_"))
    return target.endswith(".SlurmLauncher") or (target.endswith(".RayLauncher") and bool(launcher.get("address")))


def ranks_here() -> int:
    """Processes that torchrun has started on this machine, this one among them; 1 without it."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
