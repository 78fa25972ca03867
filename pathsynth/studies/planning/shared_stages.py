"""Stages that several trials of a sweep need, which jobs of their own build before the trials begin. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pathsynth.stages import cache, decode, finetune, generate
from pathsynth.stages.classifier import trains_classifier
from pathsynth.stages.stage import StagePlan

_LONG = (cache.STAGE.name, finetune.STAGE.name, generate.STAGE.name)
"""With all that train a classifier. The others take seconds: whichever trial comes first builds them."""

_LOADED_TOO = {finetune.STAGE.name: ("gate",)}
"""A fine-tune loads the gate, which is its parent only where it validates."""


def shared_jobs(trials: Mapping[int, Sequence[StagePlan]], finished: Callable[[StagePlan], bool]) -> dict[int, tuple[str, ...]]:
    """The jobs that can build shared stages now, side by side: of some trials, by number, the names of the stages to build.

    Each long stage that two or more trials lack has one job, of a trial that needs it; a trial has several where there are more such
    stages than trials. A stage that is made from another of them is not among them before that is finished: ask again after these jobs.
    """
    jobs: dict[int, set[str]] = {}
    for identity, sharers in _sharers(trials, finished).items():
        number = min(sharers, key=lambda sharer: len(jobs.get(sharer, ())))
        stages = {stage.name: stage for stage in trials[number]}
        name = next(stage.name for stage in trials[number] if stage.identity == identity)
        before = _made_from(stages, name)
        if all(finished(stages[parent]) for parent in before if _is_long(parent)):
            jobs.setdefault(number, set()).update((*before, name))
    return {number: tuple(stage.name for stage in trials[number] if stage.name in jobs[number]) for number in sorted(jobs)}


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
    parents = [parent for parent in (*stages[name].parents, *_LOADED_TOO.get(name, ()), decode.STAGE.name) if parent in stages]
    return {parent for parent in parents if parent != name}.union(*(_made_from(stages, p) for p in parents if p != decode.STAGE.name))


def _is_long(name: str) -> bool:
    return trains_classifier(name) or name in _LONG


def describe_jobs(jobs: Mapping[int, Sequence[str]]) -> str:
    """One line on what :func:`shared_jobs` found."""
    names = ", ".join(dict.fromkeys(name for names in jobs.values() for name in names if _is_long(name)))
    count = "one job builds" if len(jobs) == 1 else f"{len(jobs)} jobs build"
    return f"first {count} what several trials share: {names}"
