"""Stages that several trials of a sweep need, which jobs of their own build before the trials begin. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pathsynth.stages import decode
from pathsynth.stages.plan import known_stage
from pathsynth.stages.stage import StagePlan


@dataclass(frozen=True)
class SharedJob:
    """A job that builds stages for several trials: of trial ``number`` those called ``builds``, for which it takes up all of ``stages``."""

    number: int
    builds: tuple[str, ...]
    stages: tuple[str, ...]


def shared_jobs(trials: Mapping[int, Sequence[StagePlan]], finished: Callable[[StagePlan], bool]) -> list[SharedJob]:
    """The jobs that can build shared stages now, side by side; at most one of each trial, which has a number.

    Each long stage that two or more trials lack is built by one job, of a trial that needs it; a job builds several where there are
    more such stages than trials. A stage that is made from another of them comes when that is finished: ask again after these jobs.
    """
    builds: dict[int, list[str]] = {}
    for identity, sharers in _sharers(trials, finished).items():
        number = min(sharers, key=lambda sharer: len(builds.get(sharer, ())))
        stages = {stage.name: stage for stage in trials[number]}
        name = next(stage.name for stage in trials[number] if stage.identity == identity)
        if all(finished(stages[parent]) for parent in _made_from(stages, name) if _is_long(parent)):
            builds.setdefault(number, []).append(name)
    return [_job(number, names, trials[number]) for number, names in sorted(builds.items())]


def _job(number: int, builds: Sequence[str], plans: Sequence[StagePlan]) -> SharedJob:
    stages = {stage.name: stage for stage in plans}
    needed = set(builds).union(*(_made_from(stages, name) for name in builds))
    return SharedJob(number, tuple(builds), tuple(name for name in stages if name in needed))


def _sharers(trials: Mapping[int, Sequence[StagePlan]], finished: Callable[[StagePlan], bool]) -> dict[str, list[int]]:
    """Of each unfinished long stage that several trials need, by its identity, these trials."""
    sharers: dict[str, list[int]] = {}
    for number, stages in trials.items():
        for stage in stages:
            if _is_long(stage.name):
                sharers.setdefault(stage.identity, []).append(number)
    plans = {stage.identity: stage for stages in trials.values() for stage in stages}
    return {identity: numbers for identity, numbers in sharers.items() if len(numbers) > 1 and not finished(plans[identity])}


def _made_from(stages: Mapping[str, StagePlan], name: str) -> set[str]:
    """The stages of a trial that ``name`` needs, those that its parents need too."""
    parents = [parent for parent in (*stages[name].parents, *_loads(name), decode.STAGE.name) if parent in stages]
    return {parent for parent in parents if parent != name}.union(*(_made_from(stages, p) for p in parents if p != decode.STAGE.name))


def _loads(name: str) -> tuple[str, ...]:
    stage = known_stage(name)
    return stage.loads if stage else ()


def _is_long(name: str) -> bool:
    stage = known_stage(name)
    return stage is not None and stage.effort.long


def describe_jobs(jobs: Sequence[SharedJob]) -> str:
    """One line on what :func:`shared_jobs` found."""
    names = ", ".join(dict.fromkeys(name for job in jobs for name in job.builds))
    count = "one job builds" if len(jobs) == 1 else f"{len(jobs)} jobs build"
    return f"first {count} what several trials share: {names}"
