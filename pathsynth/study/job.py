"""The Hydra job: check what was composed, claim the trial's folder, supervise its process, return the objective. No torch."""

from __future__ import annotations

import math
import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from pathsynth.config import RunConfig, StudyConfig, from_hydra
from pathsynth.config.hydra_node import hydra_node_of
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.lease import Lease
from pathsynth.ledger.records import read_metric
from pathsynth.ledger.versions import cores
from pathsynth.study.capacity import BYTES_A_PIXEL, BYTES_AN_IMAGE
from pathsynth.study.gpus import own_gpu
from pathsynth.study.hydra_files import write_hydra_files
from pathsynth.study.image_check import check_images
from pathsynth.study.manifest import Manifest, claim, trial_folder, trial_name, write_manifest
from pathsynth.study.outcomes import Outcome, passes_over_busy, place_of, read_outcome, read_searched, write_outcome
from pathsynth.study.output import LINES_VARIABLE, drop_unread_output
from pathsynth.study.plan import Plan, planned_images
from pathsynth.study.preflight import planned
from pathsynth.study.prompt_check import word_notes
from pathsynth.study.state import DONE, FAILED, PRUNED, WAITING, TrialState, read_state, write_state
from pathsynth.study.stopping import ask_to_stop, in_command, raise_if_asked, stop_after_failure, stopped_by_failure
from pathsynth.study.supervise import ranks_here, supervise, trial_command, trial_environment
from pathsynth.study.trial import carry_out_here
from pathsynth.study.trial_fork import can_fork, forked_trials
from pathsynth.training import pruning
from pathsynth.vocabulary.labels import UnknownLabelError

_OF_TRAINING = ("gate", "lora", "optimizer", "schedule", "finetune", "objective", "trainer", "callbacks", "seed")


@dataclass(frozen=True)
class Checked:
    """A request that can be carried out."""

    config: RunConfig
    plan: Plan
    notes: tuple[str, ...] = ()
    """Lines on what will be done with the request's words and images, where that may surprise."""


def check(config: DictConfig, overrides: Iterable[str]) -> Checked:
    """Check a configuration composed with ``overrides``, without its ``hydra`` node or with it.

    Nothing is written but the note that images were found good.

    Raises:
        RequestError, UnknownLabelError: the request is wrong.
    """
    with hydra_node_of(config):
        settings = from_hydra(without_hydra(config))
        _refuse_inline(settings)
    _refuse_idle(settings, overrides)
    try:
        made = planned(settings)
    except RequestError as error:
        if settings.debug and settings.debug.name != "none" and "data.n_" in str(error):
            raise RequestError(f"{error} (debug={settings.debug.name} asks for so many)") from error
        raise
    return Checked(settings, made, tuple(dict.fromkeys((*word_notes(settings, made), *check_images(settings, made)))))


def without_hydra(config: DictConfig) -> DictConfig:
    """A composed configuration without Hydra's own node, and with the times that ``${now:…}`` has had in it."""
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    OmegaConf.copy_cache(from_config=config, to_config=own)
    return own


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
    raise_if_asked()
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
    _tell_change(read_outcome(place), folder)
    write_outcome(place, Outcome(folder.name, folder, ""))
    state = _carried_out(place, checked, folder, config, overrides, workers(hydra), wait=not passes_over_busy())
    if state is None:
        write_outcome(place, Outcome(folder.name, folder, "", busy=True))
        return math.nan
    if state.state == FAILED and checked.config.study.fail_fast:
        stop_after_failure()
    return objective(folder) if state.state == DONE else math.nan


def _tell_change(announced: Outcome | None, folder: Path) -> None:
    """Say so where data or base are not what they were when the sweep began: the job is another trial now."""
    if announced and announced.folder and announced.folder != folder.absolute():
        print(f"{folder.name}: announced as {announced.folder.name}; files of data or base have changed since", flush=True)


def _refuse_inline(config: RunConfig) -> None:
    """Refuse to run trials in one process that need several.

    Raises:
        RequestError: ``study.isolation=inline`` beside several trials at once, or a fine-tune on several devices.
    """
    if config.study.isolation != "inline":
        return
    line = "study.isolation=inline runs one trial at a time in the command's own process"
    if (config.trainer.devices or 1) > 1:
        raise RequestError(f"{line}, and trainer.devices={config.trainer.devices} needs one for each; set trainer.devices=1")
    if HydraConfig.initialized() and trials_at_once(HydraConfig.get()) > 1:
        raise RequestError(f"{line}, and the launcher starts several; set hydra/launcher=basic")


def _refuse_idle(config: RunConfig, overrides: Iterable[str]) -> None:
    """Refuse to be told how to train where nothing is trained.

    Raises:
        RequestError: an override sets a group of the training, or how many images it takes, and the data is a ready set.
    """
    if config.data is None or config.data.name != "ready":
        return
    for override in overrides:
        group = re.split(r"[.@=]", override.lstrip("+~"))[0]
        key = override.lstrip("+~").partition("=")[0]
        if (group in _OF_TRAINING and "threads" not in override and key != "gate._target_") or override.lstrip("+~").startswith("data.n_"):
            remedy = "leave it out, or choose other data, as in data=phantom"
            raise RequestError(f"{override} has no effect: data=ready trains nothing; {remedy}")


def trial_name_of(hydra: HydraConf) -> str:
    """What the job was asked for, where no trial could be made of it."""
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
            print(f"{folder.name}: another process holds it; waiting for its end, or for {silence}", flush=True)
            lease = claim(folder, study.lease_seconds, wait=True, check=raise_if_asked)
        assert lease
        with lease:
            before = read_state(folder)
            verdict = standing(before, checked.plan.identity, study)
            if verdict:
                print(f"{folder.name}: {verdict}", flush=True)
                return before
            write_outcome(place, Outcome(folder.name, folder, "", own=True))
            state = _supervised(checked, folder, composed, overrides, side_by_side, before, lease, read_searched(place))
            if lease.current:
                return state
        print(f"{folder.name}: taken over by another process", flush=True)


def standing(before: TrialState, identity: str, study: StudyConfig) -> str:
    """Why a trial that was begun before is not carried out (again); empty if it is."""
    if before.identity != identity or study.force:
        return ""
    if before.state == DONE:
        return "done already"
    if before.state == FAILED and before.tries > study.retry_failed:
        return f"has failed {before.tries} times and is left; study.force=true tries again"
    return ""


def _supervised(
    checked: Checked,
    folder: Path,
    composed: DictConfig,
    overrides: tuple[str, ...],
    side_by_side: int,
    before: TrialState,
    lease: Lease,
    searched: str | None,
) -> TrialState:
    identity = checked.plan.identity
    _warn_of_disk(checked, folder)
    # first, so that a trial that is done and carried out again by force is not done while what it has is replaced
    write_state(folder, TrialState(WAITING, identity, tries=before.tries if before.identity == identity else 0))
    write_manifest(folder, Manifest(trial_name(checked.config, overrides), checked.config, checked.plan, overrides))
    _write_hydra_files(folder, composed)
    print(f"{folder.name}: {', '.join(stage.name for stage in checked.plan.stages)}", flush=True)
    devices = checked.config.trainer.devices or 1
    with own_gpu(Path(checked.config.multirun), side_by_side, checked.config.study.lease_seconds, devices) as gpu:
        environment = trial_environment(checked.config.trainer.threads, side_by_side, gpu, devices)
        if searched:
            environment[pruning.VARIABLE] = searched
        if HydraConfig.get().mode == RunMode.MULTIRUN and (side_by_side > 1 or not sys.stdout.isatty()):
            environment[LINES_VARIABLE] = folder.name  # bars of several trials would overwrite each other
        if checked.config.study.isolation == "inline":
            state = carry_out_here(folder, lease, environment)
        else:
            forks = forked_trials if one_of_several(devices) and can_fork() else None
            state = supervise(trial_command(folder), folder, environment, lease, checked.config.study.stop_seconds, forks)
    if state.state != FAILED:
        print(f"{folder.name}: {state.reason if state.state == PRUNED else state.state}", flush=True)
    return state


def one_of_several(devices: int) -> bool:
    """Whether this process carries out other trials like this one, for which a server is worth its memory; each a single process."""
    return HydraConfig.get().mode == RunMode.MULTIRUN and devices == 1


def _write_hydra_files(folder: Path, composed: DictConfig) -> None:
    """Unless the user wants no such files of any run (``hydra.output_subdir=null``)."""
    hydra = HydraConfig.instance().cfg
    if isinstance(hydra, DictConfig) and hydra.hydra.output_subdir is not None:
        write_hydra_files(folder, composed, hydra)


def objective(folder: Path) -> float:
    """What a sweeper maximises: macro-F1 before filtering, by the gate; NaN where the trial has no result."""
    try:
        found = read_metric(folder / "result.json", "macro_f1", "before filtering", "gate")
    except RequestError:
        return math.nan
    return found.value if found else math.nan


def workers(hydra: HydraConf) -> int:
    """How many trials run at once on this machine: what a launcher calls ``n_jobs`` (-1: one for each core), or processes of torchrun.

    Of a launcher that gives each trial ``num_cpus``, as Ray's, so many as have room.
    """
    jobs = hydra.launcher.get("n_jobs", 1) if hydra.mode == RunMode.MULTIRUN else ranks_here()
    return max(1, int(cores() / hydra.launcher.get("num_cpus", 1)) if jobs in (None, -1) else int(jobs))


def trials_at_once(hydra: HydraConf) -> int:
    """How many trials of a sweep run at once, here or on a cluster; where a launcher does not say, as many as :func:`workers`."""
    return int(hydra.launcher.get("array_parallelism") or workers(hydra)) if hydra.mode == RunMode.MULTIRUN else workers(hydra)


def bytes_needed(config: RunConfig, made: Plan) -> float:
    """What a trial's images may take on the disk, at most."""
    size = config.data.size if config.data else 0
    return planned_images(config, made) * (BYTES_AN_IMAGE + BYTES_A_PIXEL * size * size)


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
