"""The Hydra job: check what was composed, claim the trial's folder, supervise its process, return the objective. No torch."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.lease import Lease
from pathsynth.ledger.records import read_metric
from pathsynth.stages.plan import planned_images
from pathsynth.studies.execution.gpus import assigned_gpu
from pathsynth.studies.execution.output import LINES_VARIABLE, drop_unread_output
from pathsynth.studies.execution.supervise import supervise, trial_command, trial_environment
from pathsynth.studies.execution.trial import carry_out_here
from pathsynth.studies.execution.trial_fork import can_fork, forked_trials
from pathsynth.studies.planning.request_check import Checked, bytes_needed, check, standing
from pathsynth.studies.planning.workers import workers
from pathsynth.studies.trials.hydra_files import FOLDER as HYDRA_FOLDER
from pathsynth.studies.trials.hydra_files import hide_secrets, write_hydra_files
from pathsynth.studies.trials.manifest import Manifest, claim, trial_folder, trial_name, write_manifest
from pathsynth.studies.trials.outcomes import (
    SHARED_STAGES_VARIABLE,
    Outcome,
    passes_over_busy,
    place_of,
    read_outcome,
    read_searched,
    read_shared_stages,
    write_outcome,
)
from pathsynth.studies.trials.state import DONE, FAILED, PRUNED, WAITING, TrialState, read_state, write_state
from pathsynth.studies.trials.stopping import ask_to_stop, in_command, raise_if_stop_requested, stop_after_failure, stopped_by_failure
from pathsynth.training import pruning
from pathsynth.vocabulary.labels import UnknownLabelError


def run_trial(config: DictConfig) -> float:
    """Hydra's task function: the trial's macro-F1 before filtering by the gate; NaN where it failed or measures none.

    Raises:
        KeyboardInterrupt: the command was asked to stop. In a launcher's worker NaN is returned instead, for an exception
            would make the launcher kill its other workers; a signal to a worker (a time limit, scancel) stops its own trial only.
    """
    if not in_command():  # a worker has streams of its own
        drop_unread_output()
    try:
        return _run_trial(config)
    except KeyboardInterrupt:
        if not in_command():
            return math.nan
        ask_to_stop()
        raise


def _run_trial(config: DictConfig) -> float:
    if (node := _hydra_node()) is not None:
        hide_secrets(config, node)
    raise_if_stop_requested()
    if stopped_by_failure():
        return math.nan
    hydra = HydraConfig.get()
    place = place_of(int(hydra.job.num)) if hydra.mode == RunMode.MULTIRUN else 0
    overrides = tuple(str(override) for override in hydra.overrides.task)
    try:
        checked = check(config, overrides)
    except (RequestError, UnknownLabelError) as error:
        write_outcome(place, Outcome(trial_name_of(hydra), None, str(error)))
        if hydra.mode == RunMode.MULTIRUN:
            return math.nan
        raise
    if checked.config.study.dry_run:  # one value among several of a sweep, which has looked at another
        write_outcome(place, Outcome(trial_name_of(hydra), None, "study.dry_run is for a whole command; give it one value"))
        return math.nan
    folder = trial_folder(checked.config, checked.plan, overrides)
    _print_change(read_outcome(place), folder)
    write_outcome(place, Outcome(folder.name, folder, ""))
    state = _carried_out(place, checked, folder, config, overrides, workers(hydra), wait=not passes_over_busy())
    if state is None:
        write_outcome(place, Outcome(folder.name, folder, "", busy=True))
        return math.nan
    if state.state == FAILED and checked.config.study.fail_fast:
        stop_after_failure()
    return objective(folder) if state.state == DONE else math.nan


def _print_change(announced: Outcome | None, folder: Path) -> None:
    """Say so where data or base are not what they were when the sweep began: the job is another trial now."""
    if announced and announced.folder and announced.folder != folder.absolute():
        print(f"{folder.name}: planned as {announced.folder.name}; files of data or base have changed since", flush=True)


def trial_name_of(hydra: HydraConf) -> str:
    """The request of a job, where no trial could be made of it."""
    return ",".join(str(override) for override in hydra.overrides.task)


def _carried_out(
    place: int, checked: Checked, folder: Path, composed: DictConfig, overrides: tuple[str, ...], side_by_side: int, wait: bool
) -> TrialState | None:
    """The state in which the trial ended; None if another process is carrying it out and ``wait`` is false.

    Raises:
        KeyboardInterrupt: this process was asked to stop, or the command was while this job waited for another.
    """
    study = checked.config.study
    while True:
        lease = claim(folder, study.lease_seconds, wait=False)
        if lease is None and not wait:
            return None
        if lease is None:
            silence = f"{study.lease_seconds:.0f} s without a sign of it"
            print(f"{folder.name}: another process is running it; waiting for its end, or for {silence}", flush=True)
            lease = claim(folder, study.lease_seconds, wait=True, check=raise_if_stop_requested)
        assert lease
        with lease:
            before = read_state(folder)
            verdict = standing(before, checked.plan.identity, study)
            if verdict:
                print(f"{folder.name}: {verdict}", flush=True)
                return before
            write_outcome(place, Outcome(folder.name, folder, "", own=True))
            state = _supervised(checked, folder, composed, overrides, side_by_side, before, lease, place)
            if lease.current:
                return state
        print(f"{folder.name}: taken over by another process", flush=True)


def _supervised(
    checked: Checked,
    folder: Path,
    composed: DictConfig,
    overrides: tuple[str, ...],
    side_by_side: int,
    before: TrialState,
    lease: Lease,
    place: int,
) -> TrialState:
    identity, searched, shared = checked.plan.identity, read_searched(place), read_shared_stages(place)
    _warn_of_disk(checked, folder)
    # first, so that a trial that is done and carried out again by force is not done while what it has is replaced
    write_state(folder, TrialState(WAITING, identity, tries=before.tries if before.identity == identity else 0))
    write_manifest(folder, Manifest(trial_name(checked.config, overrides), checked.config, checked.plan, overrides))
    _write_hydra_files(folder, composed)
    print(f"{folder.name}: {', '.join(shared or [stage.name for stage in checked.plan.stages])}", flush=True)
    devices = checked.config.trainer.devices or 1
    with assigned_gpu(Path(checked.config.multirun), side_by_side, checked.config.study.lease_seconds, devices) as gpu:
        environment = trial_environment(checked.config.training.threads, side_by_side, gpu, devices)
        if searched:
            environment[pruning.VARIABLE] = searched
        if shared:
            environment[SHARED_STAGES_VARIABLE] = ",".join(shared)
        if side_by_side > 1 or not sys.stdout.isatty():
            environment[LINES_VARIABLE] = folder.name  # bars of several trials would overwrite each other, and a log may hold several
        if checked.config.study.isolation == "inline":
            state = carry_out_here(folder, lease, environment)
        else:
            forks = forked_trials if one_of_several(devices) and can_fork() else None
            state = supervise(trial_command(folder), folder, environment, lease, checked.config.study.stop_seconds, forks)
    if state.state != FAILED:
        print(f"{folder.name}: {state.reason if state.state in (PRUNED, WAITING) else state.state}", flush=True)
    return state


def one_of_several(devices: int) -> bool:
    """Whether this process carries out other trials like this one, for which a server is worth its memory; each a single process."""
    return HydraConfig.get().mode == RunMode.MULTIRUN and devices == 1


def _write_hydra_files(folder: Path, composed: DictConfig) -> None:
    """Unless the user wants no such files of any run (``hydra.output_subdir=null``)."""
    node = _hydra_node()
    if node is not None and node.hydra.output_subdir is not None:
        write_hydra_files(folder / HYDRA_FOLDER, composed, node)


def _hydra_node() -> DictConfig | None:
    """The configuration that holds Hydra's node; None outside a job."""
    node = HydraConfig.instance().cfg
    return node if isinstance(node, DictConfig) else None


def objective(folder: Path) -> float:
    """What a sweeper maximises: macro-F1 before filtering, by the gate; NaN where the trial has no result."""
    try:
        metric = read_metric(folder / "result.json", "macro_f1", "before filtering", "gate")
    except RequestError:
        return math.nan
    return metric.value if metric else math.nan


def _warn_of_disk(checked: Checked, folder: Path) -> None:
    """Say so before a trial starts whose images may not fit."""
    needed = bytes_needed(checked.config, checked.plan)
    free = shutil.disk_usage(folder).free
    if needed > free:
        print(
            f"warning: up to {planned_images(checked.config, checked.plan):,} images may need {needed / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} GB are free in {folder.parent}; lower n or sampling.attempts",
            flush=True,
        )
