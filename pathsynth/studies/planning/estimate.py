"""How long stages may take that are still to be built: what finished ones of their kind took, by the amount of work. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from pathsynth.ledger.atomic import read_json
from pathsynth.ledger.contents import RECORD
from pathsynth.ledger.stages import STAGES
from pathsynth.stages import finetune, generate
from pathsynth.stages.plan import known_stage
from pathsynth.stages.stage import Effort, StagePlan
from pathsynth.studies.trials.state import OPEN
from pathsynth.studies.trials.trial_table import MANIFEST, TrialRow
from pathsynth.vocabulary.durations import format_duration

_DRAWN_WITH = (generate.STAGE.name, finetune.STAGE.name)
"""Parents by which a stage comes to its base, the nearer first."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of work, one stage after another, and the stages whose duration is unknown."""

    seconds: float
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        if not self.unknown:
            return f"about {format_duration(self.seconds)}"
        known = f"about {format_duration(self.seconds)}, and " if self.seconds else ""
        return f"{known}an unknown time for {', '.join(self.unknown)}"

    def shared_among(self, workers: int, trials: int) -> Estimate:
        """The same work of so many trials by so many workers, of which each has one trial at a time."""
        return Estimate(self.seconds / max(1, min(workers, trials)), self.unknown)


def estimate(store: Path, stages: Iterable[StagePlan]) -> Estimate:
    """How long the stages take that are not in the store, each once however many trials need it.

    A stage takes as long for its work as the median of the finished ones of its kind: of the same name, and on the same data or base.
    """
    planned = {(stage.name, stage.identity): stage for stage in stages}
    missing = [stage for stage in planned.values() if not _is_built(store, stage)]
    rates = _Rates(store, planned)
    seconds = [(stage.name, rates.seconds(stage)) for stage in missing]
    unknown = dict.fromkeys(name for name, duration in seconds if duration is None)
    return Estimate(sum(duration or 0.0 for _, duration in seconds), tuple(unknown))


def seconds_left(folders: Sequence[Path], rows: Sequence[TrialRow]) -> list[float | None]:
    """How long the stages take that each open trial still needs; None for a trial that has ended, or if it is unknown.

    A stage that several trials need counts for the first of them. Of one that counts its steps, what is left at its rate counts.
    """
    plans = [_planned_stages(folder) if row.state in OPEN else [] for folder, row in zip(folders, rows, strict=True)]
    stages = {(stage.name, stage.identity): stage for plan in plans for stage in plan}
    rates = {store: _Rates(store, dict(stages)) for store in map(_store_of, folders)}
    left: list[float | None] = []
    for folder, row, plan in zip(folders, rows, plans, strict=True):
        store = _store_of(folder)
        missing = [stage for stage in plan if stages.pop((stage.name, stage.identity), None) and not _is_built(store, stage)]
        known = [seconds for stage in missing if (seconds := _stage_seconds(row, stage, rates[store])) is not None]
        left.append(sum(known) if plan and len(known) == len(missing) else None)
    return left


def _stage_seconds(row: TrialRow, stage: StagePlan, rates: _Rates) -> float | None:
    counted = row.stage_seconds_left if stage.name == row.stage else None
    return rates.seconds(stage) if counted is None else counted


def _planned_stages(folder: Path) -> list[StagePlan]:
    """The stages of a trial's plan; none where its manifest cannot be read."""
    try:
        return [StagePlan(**stage) for stage in read_json(folder / MANIFEST)["plan"]["stages"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _store_of(folder: Path) -> Path:
    return folder.absolute().parent.parent / STAGES


def _is_built(store: Path, stage: StagePlan) -> bool:
    return (store / stage.name / stage.identity / RECORD).is_file()


class _Rates:
    """Seconds of a unit of work, by the kind of stage."""

    def __init__(self, store: Path, planned: Mapping[tuple[str, str], StagePlan]) -> None:
        self._store, self._planned = store, planned
        self._known: dict[str, dict[tuple[str | None, ...], list[float]]] = {}

    def seconds(self, stage: StagePlan) -> float | None:
        """How long a stage may take; None if none like it has finished, or an earlier version planned it under a name of its own."""
        known = known_stage(stage.name)
        if known is None:
            return None
        if stage.name not in self._known:
            self._known[stage.name] = self._read(stage.name, known.effort)
        rates = self._known[stage.name].get(self._kind(known.effort, stage.settings, stage.parents))
        return median(rates) * known.effort.work(stage.settings) if rates else None

    def _read(self, name: str, effort: Effort) -> dict[tuple[str | None, ...], list[float]]:
        rates: dict[tuple[str | None, ...], list[float]] = {}
        for path in sorted((self._store / name).glob(f"*/{RECORD}")):
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
                settings, parents = record["settings"], record["settings"]["parents"]
                rate = float(record["seconds"]) / effort.work(settings)
            except (OSError, ValueError, KeyError, TypeError):  # a damaged record
                continue
            rates.setdefault(self._kind(effort, settings, parents), []).append(rate)
        return rates

    def _kind(self, effort: Effort, settings: Mapping[str, Any], parents: Mapping[str, str]) -> tuple[str | None, ...]:
        """What stages have in common whose times can be compared."""
        return (self._base(parents), effort.kind(settings))

    def _base(self, parents: Mapping[str, str]) -> str | None:
        """The base that a stage draws or trains with, its own parent or one of those above; else what it has in place of one."""
        if "base" in parents:
            return parents["base"]
        above = next(((name, parents[name]) for name in _DRAWN_WITH if name in parents), None)
        if above is None:
            return parents.get("data")
        return self._base(self._parents(*above) or {"data": above[1]})

    def _parents(self, name: str, identity: str) -> Mapping[str, str]:
        if (name, identity) in self._planned:
            return self._planned[name, identity].parents
        try:
            record = json.loads((self._store / name / identity / RECORD).read_text(encoding="utf-8"))
            return dict(record["settings"]["parents"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}
