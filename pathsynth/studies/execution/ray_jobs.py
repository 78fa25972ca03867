"""A command's Hydra jobs as tasks of Ray: submitted, waited for, submitted again where a worker or node died. Ray is loaded already."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayError, RayTaskError, TaskCancelledError

from pathsynth.config.ray import RayConfig
from pathsynth.studies.execution.ray_cluster import RayCluster
from pathsynth.studies.execution.ray_worker import OUTPUT, NotSharedError, PackedJob, carry_out
from pathsynth.studies.trials.outcomes import place_of, read_outcome
from pathsynth.studies.trials.stopping import Urgency, urgency

_POLL_SECONDS = 0.2
_AHEAD = 100
"""Jobs that wait in Ray, and not here: as many as a cluster that grows by demand needs to see."""


@dataclass
class Job:
    """A job, numbered as Hydra does; ``output`` is its folder of the command's, ``tries`` how often it was submitted."""

    number: int
    overrides: Sequence[str]
    output: Path
    tries: int = 0
    _printed: int = field(default=0, repr=False)

    @property
    def name(self) -> str:
        """Of its trial, as soon as that is known."""
        outcome = read_outcome(place_of(self.number))
        return outcome.name if outcome else ",".join(self.overrides) or f"#{self.number}"

    def print_output(self) -> None:
        """Print the whole lines that its worker has written since the last time, each with the name of its trial."""
        try:
            with (self.output / OUTPUT).open("rb") as file:
                file.seek(self._printed)
                whole, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return
        self._printed += len(whole) + len(newline)
        lines = [line for line in whole.decode(errors="replace").splitlines() if line.strip()]
        name = self.name if lines else ""
        for line in lines:
            print(line if line.startswith(name) else f"{name}: {line}", flush=True)


class RayJobs:
    """``compose`` gives a job's configuration when its turn comes; ``function`` is Hydra's task function."""

    def __init__(
        self, cluster: RayCluster, config: RayConfig, function: Callable[[DictConfig], Any], compose: Callable[[Job], DictConfig]
    ) -> None:
        self._place, self._config, self._function, self._compose = cluster.place.on_copy(), config, function, compose
        nodes = cluster.nodes()
        demand = config.demand(nodes)
        self._task = ray.remote(
            num_cpus=demand.pop("CPU"), num_gpus=demand.pop("GPU", 0), resources=demand, max_retries=0, scheduling_strategy="SPREAD"
        )(carry_out)
        self._side_by_side = config.n_jobs if config.n_jobs and config.n_jobs > 0 else config.at_once(nodes) + _AHEAD

    def results(self, jobs: Sequence[Job]) -> list[JobReturn]:
        """Carry all jobs out, in their order as far as there is room; what each returned, in their order.

        A job that was not begun, for the command stops, or that was lost with its worker too often, returns NaN as a failed trial does.

        Raises:
            KeyboardInterrupt: the command was asked a second time.
        """
        self._waiting, self._running = deque(jobs), dict[Any, Job]()
        ended: dict[int, JobReturn] = {}
        stopping = False
        while self._waiting or self._running:
            if not stopping and urgency() is not Urgency.NONE:
                stopping = True
                ended |= {job.number: _returned(job, math.nan) for job in self._waiting}
                self._waiting.clear()
                for task in self._running:
                    ray.cancel(task, force=False)  # drops what waits; what runs is asked to stop, as by the command's mark
            self._submit()
            done, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=_POLL_SECONDS) if self._running else ([], [])
            for job in self._running.values():
                job.print_output()
            for task in done:
                job = self._running.pop(task)
                result = self._result(task, job, stopping)
                if result:
                    ended[job.number] = result
        return [ended[job.number] for job in jobs]

    def _submit(self) -> None:
        while self._waiting and len(self._running) < self._side_by_side:
            job = self._waiting.popleft()
            job.tries += 1
            packed = PackedJob.of(job.number, self._compose(job))
            task = self._task.options(name=job.name).remote(self._function, packed, self._place, str(job.output))
            self._running[task] = job

    def _result(self, task: Any, job: Job, stopping: bool) -> JobReturn | None:
        """None: the job waits again."""
        try:
            completed, value = ray.get(task)
        except TaskCancelledError:
            return _returned(job, math.nan)
        except RayError as error:
            if isinstance(error, RayTaskError) and not isinstance(error.cause, NotSharedError):
                return _returned(job, error.cause, JobStatus.FAILED)
            if not stopping and job.tries <= self._config.retries:
                print(f"{job.name}: {_reason(error)}; submitted again ({job.tries} of {self._config.retries})", flush=True)
                self._waiting.appendleft(job)
                return None
            print(f"{job.name}: {_reason(error)}; the same command continues it", flush=True)
            return _returned(job, math.nan)
        return _returned(job, value, JobStatus.COMPLETED if completed else JobStatus.FAILED)


def _returned(job: Job, value: Any, status: JobStatus = JobStatus.COMPLETED) -> JobReturn:
    return JobReturn(overrides=list(job.overrides), status=status, _return_value=value)


def _reason(error: RayError) -> str:
    if isinstance(error, RayTaskError):
        return f"a node that has joined since cannot see {error.cause}"
    if isinstance(error, NodeDiedError):
        return "its node died"
    return "its node ran out of memory, and Ray ended its worker" if isinstance(error, OutOfMemoryError) else "its worker died"
