"""The runner of a trial's stages (``pathsynth/stages/``), with what they share in memory: data, base, gate, loggers. Torch is loaded here.

Each stage is built once under its identity and found again by every trial that needs it; the trial's own folder gets
copies of what people want to look at.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger

from pathsynth.config import AnyClassifier, RunConfig
from pathsynth.config.groups import require_group
from pathsynth.data.catalogue import Decoded, open_data, ready_set
from pathsynth.data.dataset import DataSet
from pathsynth.evaluation.classifier_scores import named_class, placed
from pathsynth.evaluation.trial_scores import named_metrics
from pathsynth.ledger.atomic import copy_file, sync, sync_names, sync_tree, write_text
from pathsynth.ledger.records import read_optimizer
from pathsynth.ledger.stages import StageStore
from pathsynth.ledger.versions import Provenance, processor, provenance
from pathsynth.models.base import Base, load_base
from pathsynth.models.image_classifier import load_classifier
from pathsynth.sampling.gate import Gate
from pathsynth.sampling.generation import retry_strategy
from pathsynth.stages.classifier import trains_classifier
from pathsynth.stages.finetune import finetune_job
from pathsynth.stages.fingerprints import BaseSource
from pathsynth.stages.plan import Plan, listed_stages, next_stage
from pathsynth.stages.stage import Stage, StagePlan
from pathsynth.studies.execution.trial_rules import acceptance_rules, custom_rules, format_limits
from pathsynth.studies.trials.manifest import add_optimizer
from pathsynth.studies.trials.run_metadata import artifact_metadata, artifact_names, classifier_metadata, trial_metadata
from pathsynth.studies.trials.state import ADDRESS
from pathsynth.studies.trials.trial_table import RESULT
from pathsynth.terminal.stage_display import StageDisplay, hidden
from pathsynth.tracking.loggers import close, end_stopped, online_address, open_loggers, require_loggers
from pathsynth.tracking.media import keep_artifact, use_artifacts
from pathsynth.training.callbacks import named_callbacks
from pathsynth.training.distributed import local_rank
from pathsynth.training.finetune import finetune
from pathsynth.training.latent_cache import DamagedCache, LatentCache, load_cache
from pathsynth.training.optimizer import check_optimizer
from pathsynth.training.progress import Advance, SamplingProgress, training_progress


class Progress(Protocol):
    """Called with a stage's name and what it is doing; while it counts, with step, steps and rate (a second) too."""

    def __call__(self, stage: str, detail: str, step: int | None = None, steps: int | None = None, rate: float | None = None) -> None:
        """``rate`` is steps in a second; None until it is known."""
        ...


def run(config: RunConfig, plan: Plan, store: StageStore, folder: Path, progress: Progress, display: StageDisplay) -> None:
    """Build or find every stage of the plan, then show the results in the trial's folder.

    Raises:
        RequestError: data, base or adapter do not fit the request.
        StageError: a stage failed for a reason that has a name.
    """
    with _begun(config, plan, store, folder, progress, display) as trial:
        _build_all(trial)
        trial.show()


def build_stages(config: RunConfig, plan: Plan, store: StageStore, folder: Path, progress: Progress, display: StageDisplay) -> None:
    """Build or find the stages of the plan, which are not all that the trial has; errors as in :func:`run`.

    Where one of them logged to the trial's own run, that run ends here, and continues with the trial.
    """
    with _begun(config, plan, store, folder, progress, display) as trial:
        _build_all(trial)
        close(trial.open_loggers)


@contextmanager
def _begun(config: RunConfig, plan: Plan, store: StageStore, folder: Path, progress: Progress, display: StageDisplay) -> Iterator[Trial]:
    """The trial, whose objects of the user's can be made; where it ends with an error, its runs end, too."""
    torch.set_float32_matmul_precision("high")
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(lambda record: "litlogger" not in record.getMessage())
    require_loggers(config.tracking, folder)
    _quiet_lightning()
    trial = Trial(config, plan, store, folder, progress, display=display)
    named_callbacks(config.other_callbacks, has_logger=False)  # a wrong one is reported before gate and judge are trained
    if config.sampling:
        custom_rules(config.sampling)
        retry_strategy(config.sampling)
    if config.evaluate:
        named_metrics(config.evaluate)
    if config.lora and any(stage.name == "finetune" for stage in plan.stages):
        check_optimizer(config.optimizer, magnitudes=config.lora.dora, text_encoder=config.lora.text_encoder)
    try:
        yield trial
    except BaseException as error:
        end_stopped(trial.open_loggers, error)
        raise


def _build_all(trial: Trial) -> None:
    waiting, store = list(trial.plan.stages), trial.store
    while waiting:
        stage = next_stage(waiting, lambda stage: store.busy(stage.name, stage.identity))
        waiting.remove(stage)
        trial.progress(stage.name, "reused" if store.find(stage.name, stage.identity) else "building")
        trial.build(stage)


def _quiet_lightning() -> None:
    """Lightning's lines on devices and on the end of a training stand in the trial's log alone; warnings are still seen."""
    for handler in logging.getLogger("pytorch_lightning").handlers:
        handler.setLevel(logging.WARNING)


def help_to_train(config: RunConfig, plan: Plan, store: StageStore, folder: Path) -> None:
    """Take part in a trial's fine-tune as one of its further ranks, of which Lightning started each as the trial was started.

    Cache and gate are there: the trial's own process made them before it came to the fine-tune.
    """
    torch.set_float32_matmul_precision("high")
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank())
    results = {stage.name: store.find(stage.name, stage.identity) for stage in plan.stages}
    trial = Trial(config, plan, store, folder, lambda *_: None, {name: place for name, place in results.items() if place})
    work = trial.work("finetune")
    finetune(finetune_job(trial), work, work, named_callbacks(config.other_callbacks, has_logger=False), ())


@dataclass
class Trial:
    """One trial while it runs: its settings, the stages built so far, and what they share in memory."""

    config: RunConfig
    plan: Plan
    store: StageStore
    folder: Path
    progress: Progress
    built: dict[str, Path] = field(default_factory=dict)
    trained: dict[str, list[Logger]] = field(default_factory=dict)
    """The open runs of classifiers that were trained here and are not in their place yet."""
    built_here: set[str] = field(default_factory=set)
    """Stages that this process built; others were found. The trial's logger saw the curves of a fine-tune that was trained here."""
    display: StageDisplay = field(default_factory=hidden)

    def build(self, stage: StagePlan) -> None:
        """Find the stage under its identity, or build it there."""

        def make(folder: Path) -> None:
            self._definition(stage.name).build(self, folder)
            self.built_here.add(stage.name)

        record = {**stage.settings, "parents": stage.parents}
        self.built[stage.name] = self.store.build(stage.name, stage.identity, record, make, self.provenance(stage.name))
        self.keep(stage)

    def _definition(self, name: str) -> Stage:
        """How the stage ``name`` is built and what is shown of it, with this trial's settings."""
        return next(stage for stage, _ in listed_stages(self.config) if stage.name == name)

    def provenance(self, stage: str) -> Provenance:
        """What computes a stage here: the GPU, unless there is none or the stage is configured without it."""
        on_gpu = torch.cuda.is_available() and self._definition(stage).on_gpu(self.config)
        return provenance(torch.cuda.get_device_name() if on_gpu else processor())

    def keep(self, stage: StagePlan) -> None:
        """Log what a finished stage made, and as an artifact: a classifier by its own run (if it was trained here), else by the trial's."""
        metadata = artifact_metadata(stage, self.built[stage.name])
        if metadata and trains_classifier(stage.name):
            classifier_loggers = self.trained.pop(stage.name, [])
            keep_artifact(classifier_loggers, metadata)
            close(classifier_loggers)
        elif metadata:
            keep_artifact(self.loggers, metadata)
        self._definition(stage.name).log(self, self.built[stage.name])

    @property
    def base_source(self) -> BaseSource | None:
        """Where the base is loaded from; None for a trial without one."""
        return self.plan.base

    @property
    def identity(self) -> str:
        """Identity of the trial, by which its result is kept."""
        return self.plan.identity

    @cached_property
    def data(self) -> DataSet:
        """Images and labels, from decoded files where the stage ``decode`` made some."""
        decoded = self.built.get("decode")
        images = Decoded(decoded, self.stage("decode").parents["data"]) if decoded else None
        return open_data(require_group(self.config.data, "data"), images)

    @cached_property
    def base(self) -> Base:
        """The base on this process's device, without an adapter."""
        source, config = require_group(self.plan.base, "base"), require_group(self.config.base, "base")
        return load_base(source.path_or_hub, source.revision, source.identity, config.canvas, self.data.size)

    @cached_property
    def gate(self) -> Gate:
        """The trained gate with its acceptance rules, whose limits are printed."""
        sampling = require_group(self.config.sampling, "sampling")
        classifier = load_classifier(self.folder_of("gate"), self.data.space, named_class(self.config.gate))
        placed(classifier)
        rules = acceptance_rules(classifier, self.data, sampling)
        for line in format_limits(rules, self.data.space):
            print(line, flush=True)
        return Gate(classifier, rules, sampling.deterministic)

    @cached_property
    def loggers(self) -> list[Logger]:
        """The trial's own run in each tracker; it begins once the classifiers exist, and records that it uses them."""
        loggers = open_loggers(self.config.tracking, self.folder, trial_metadata(self.config, self.plan, self.folder.name))
        use_artifacts(loggers, artifact_names({s.name: s.identity for s in self.plan.stages if trains_classifier(s.name)}))
        address = online_address(loggers)
        if address:
            write_text(self.folder / ADDRESS, f"{address}\n")
        return loggers

    @property
    def open_loggers(self) -> list[Logger]:
        """The loggers of all runs that have begun and not ended."""
        return [*self.__dict__.get("loggers", []), *(logger for runs in self.trained.values() for logger in runs)]

    def classifier_runs(self, role: str, config: AnyClassifier) -> list[Logger]:
        """Open the run that a classifier has of its own in each tracker, or continue with it."""
        return open_loggers(self.config.tracking, self.folder, classifier_metadata(self.config, self.stage(role), config))

    def keep_open(self, role: str, runs: list[Logger]) -> None:
        """Leave a classifier's runs open until what it trained is in its place, and can be logged as an artifact."""
        self.trained[role] = runs

    def work(self, name: str) -> Path:
        """Where an unfinished stage of this trial keeps what it continues from."""
        return self.store.work(name, self.stage(name).identity)

    def stage(self, name: str) -> StagePlan:
        """The plan of the stage ``name``; StopIteration where the trial has none."""
        return next(s for s in self.plan.stages if s.name == name)

    def folder_of(self, stage: str) -> Path:
        """The folder of a finished stage; a ready set has one for those that a trial on it lacks."""
        data = require_group(self.config.data, "data")
        if data.name != "ready":
            return self.built[stage]
        ready = ready_set(data)
        return ready.gate if stage == "gate" else ready.folder

    @property
    def judge(self) -> Path | None:
        """The folder of the classifier that confirms what the gate accepted, where there is one."""
        data = require_group(self.config.data, "data")
        return ready_set(data).judge if data.name == "ready" else self.built.get("judge")

    def advance(self, stage: str, detail: str) -> Advance:
        """Tells the trial's state how far a stage's count came."""
        return lambda step, steps, rate: self.progress(stage, detail, step, steps, rate)

    def shown(self, stage: str, part: str = "") -> list[pl.Callback]:
        """What shows the progress of a stage's training, or of a part of it."""
        return training_progress(part or stage, self.advance(stage, f"{part} steps".strip()), self.display)

    def counted(self, stage: str, total: int, unit: str) -> SamplingProgress:
        """What shows the progress of a stage that draws images, of so many units."""
        return SamplingProgress(self.display, stage, total, unit, self.advance(stage, unit))

    def cache(self) -> LatentCache:
        """The finished cache; one that was damaged since is built again."""
        stage = self.stage("cache")
        stamp = self.store.stamp(stage.name, stage.identity)
        try:
            return load_cache(self.built["cache"], self.data, self.base)
        except DamagedCache as error:
            print(f"{error}; building it again", flush=True)
        self.store.discard(stage.name, stage.identity, stamp)
        self.build(stage)
        return load_cache(self.built["cache"], self.data, self.base)

    def show(self) -> None:
        """Give the trial's folder its adapter, images, sheets, history and, last, its result."""
        shown = {name: self._definition(name) for name in self.built}
        files = [(self.built[name] / file, self.folder / file) for name, stage in shown.items() for file in stage.shown]
        for source, target in files:
            if target.name != RESULT:
                _show(source, target)
        for name, stage in shown.items():
            _show_some(stage.chosen(self, self.built[name]), self.built[name], self.folder)
        if "finetune" in self.built:
            add_optimizer(self.folder, read_optimizer(self.built["finetune"]))
        close(self.open_loggers)
        for source, target in files:
            if target.name == RESULT:
                _show(source, target)
        sync_names(self.folder)
        for line in filter(None, (stage.summary(self, self.built[name]) for name, stage in shown.items())):
            print(line, flush=True)


def _show_some(names: Sequence[str], source: Path, target: Path) -> None:
    """:func:`_show` files of a stage's folder, each under the path that it has there."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        _show(source / name, target / name)
    for folder in {(target / name).parent for name in names}:
        sync_names(folder)


def _show(source: Path, target: Path) -> None:
    """Copy ``source`` to ``target``, and have it on the disk: whoever changes the copy leaves the store as it is."""
    if not source.exists():
        return
    if target.is_dir():
        shutil.rmtree(target)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=copy_file)
        sync_tree(target)
    else:
        partial = target.with_name(f".{target.name}.partial")
        copy_file(source, partial)
        sync(partial)
        os.replace(partial, target)
    sync(target.parent)
