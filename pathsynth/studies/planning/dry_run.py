"""What a request would do, as a table: its trials, what of them is done, the stages they share, time and disk. Nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from pathsynth.ledger.contents import RECORD
from pathsynth.ledger.stages import STAGES
from pathsynth.stages.stage import StagePlan
from pathsynth.studies.planning.estimate import estimate
from pathsynth.studies.planning.request_check import Checked, bytes_needed, standing
from pathsynth.studies.trials.manifest import trial_folder
from pathsynth.studies.trials.state import read_state
from pathsynth.terminal.tables import print_table

_LOG_COLUMNS = 1000
"""No row is folded in a log."""


def show_dry_run(jobs: Mapping[int, Sequence[str]], checked: Mapping[int, Checked], workers: int) -> None:
    """Print a row a trial, and what all of them take together."""
    first = next(iter(checked.values())).config
    store = Path(first.multirun) / STAGES
    used = Counter(stage.identity for one in checked.values() for stage in one.plan.stages)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("job", "trial", "identity", "state", "to build", "there or shared"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("trial", "identity"))
    to_do, planned_stages = [], set[str]()
    for number, one in checked.items():
        folder = trial_folder(one.config, one.plan, jobs[number])
        state = read_state(folder)
        settled = standing(state, one.plan.identity, one.config.study)
        to_build, other = _divided(one, store, planned_stages, used)
        if not settled:
            to_do.append(one)
            planned_stages |= {stage.identity for stage in one.plan.stages}
        state_text = settled or (state.state if state.identity == one.plan.identity else "new")
        cells = (str(number), escape(folder.name), one.plan.identity, state_text, "" if settled else to_build, "" if settled else other)
        table.add_row(*cells)
    print_table(table, log_columns=_LOG_COLUMNS)
    print(_totals(len(checked), to_do, store, workers))


def _divided(one: Checked, store: Path, planned_stages: set[str], used: Counter[str]) -> tuple[str, str]:
    """The stages that a trial would build, and those that it would find: in the store, or made by a trial before it."""
    to_build, other = [], []
    for stage in one.plan.stages:
        if _is_built(store, stage):
            other.append(f"{stage.name} there")
        elif stage.identity in planned_stages:
            other.append(f"{stage.name} shared")
        else:
            to_build.append(f"{stage.name} (for {used[stage.identity]})" if used[stage.identity] > 1 else stage.name)
    return ", ".join(to_build), ", ".join(other)


def _is_built(store: Path, stage: StagePlan) -> bool:
    return (store / stage.name / stage.identity / RECORD).is_file()


def _totals(count: int, to_do: Sequence[Checked], store: Path, workers: int) -> str:
    trials = "1 trial" if count == 1 else f"{count} trials"
    if not to_do:
        return f"{trials}, none to do; nothing was started or written"
    stages = {stage.identity: stage for one in to_do for stage in one.plan.stages}
    missing = sum(not _is_built(store, stage) for stage in stages.values())
    time = estimate(store, stages.values()).shared_among(workers, len(to_do))
    images = sum(bytes_needed(one.config, one.plan) for one in to_do) / 1e9
    built = f"{missing} of {len(stages)} stages to build"
    return f"{trials}, {len(to_do)} to do: {built}, {time}, up to {images:.1f} GB of images; nothing was started or written"
