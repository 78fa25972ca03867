"""A launcher whose jobs are tasks of Ray, on this machine or on a cluster. ``hydra/launcher=ray``; docs/how-to/ray.md."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, configure_log, filter_overrides, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from typing_extensions import override

from hydra_plugins.pathsynth.prepared import PreparedLauncher

if TYPE_CHECKING:
    from pathsynth.config.ray import RayConfig
    from pathsynth.studies.execution.ray_cluster import RayCluster

_log = logging.getLogger(__name__)


class RayLauncher(PreparedLauncher):
    """Each job is a task that asks Ray for what a trial needs, and supervises its trial there as any launcher's worker does.

    The cluster is started or joined when the first job is to run, and left when this process ends: by then all trials have ended.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._connected: RayCluster | None = None
        self._prepared = False

    @override
    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.hydra_context, self.task_function = config, hydra_context, task_function

    def check(self) -> None:
        """Raise RequestError without Ray, or where this machine has too little room for one trial. Join no cluster."""

        from pathsynth.studies.execution.ray_cluster import require_ray, this_machine

        config = self._ray
        require_ray()
        if not config.address:
            config.require_room([this_machine()])

    def prepare(self) -> None:
        """Connect to the cluster; raise RequestError where it has too little room or does not share the study's folder."""
        if self._prepared:
            return
        self.check()
        cluster = self._cluster()
        if cluster.joined:
            cluster.require_shared(Path(self.config.multirun).expanduser().absolute())
            self._ray.require_room(cluster.nodes())
        self._prepared = True

    def at_once(self) -> int:
        """Number of trials that the cluster has room for; of a cluster that is not started yet, those of this machine."""

        from pathsynth.studies.execution.ray_cluster import this_machine

        known = self._connected or self._ray.address
        return self._ray.at_once(self._cluster().nodes() if known else [this_machine()])

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run each job as a task of Ray, and return when all of them have ended."""
        self.prepare()
        from pathsynth.studies.execution.ray_jobs import Job, RayJobs

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        folder = Path(str(self.config.hydra.sweep.dir)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        _log.info(f"Launching {len(job_overrides)} jobs on Ray, {self.at_once()} at once")
        jobs = [Job(number, job, folder / str(number)) for number, job in enumerate(job_overrides, start=initial_job_idx)]
        for job in jobs:
            _log.info(f"\t#{job.number} : {' '.join(filter_overrides(job.overrides))}")
        return RayJobs(self._cluster(), self._ray, self.task_function, self._composed).results(jobs)

    def _composed(self, job: Any) -> DictConfig:
        return self.hydra_context.config_loader.load_sweep_config(self.config, list(job.overrides))

    def _cluster(self) -> RayCluster:
        from pathsynth.studies.execution.ray_cluster import RayCluster

        if self._connected is None:
            self._connected = RayCluster(self._ray, verbose=self.config.hydra.verbose is not False)
            atexit.register(self._connected.leave)
        return self._connected

    @property
    def _ray(self) -> RayConfig:
        """Raises RequestError where a setting is wrong."""
        from pathsynth.config.ray import ray_config

        return ray_config(self._settings)
