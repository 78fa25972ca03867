"""The stages of a trial, in order: decode, cache, gate, judge, finetune, generate, reference, evaluate. Torch lives below this line.

Each stage is built once under its identity and found again by every trial that needs it; the trial's own folder gets
copies of what people want to look at.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger

from pathsynth.config import AnyClassifier, RunConfig
from pathsynth.data.catalogue import Decoded, captions_of, open_data, ready_set
from pathsynth.data.dataset import DataSet
from pathsynth.ledger.atomic import copy_file, sync, sync_names, sync_tree, write_text
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.records import OPTIMIZER_FILE, Result, read_optimizer, read_result, write_result
from pathsynth.ledger.stages import StageStore
from pathsynth.ledger.versions import Provenance, processor, provenance, versions
from pathsynth.models.base import Base, load_base
from pathsynth.models.classifier import load_classifier
from pathsynth.models.lora import load_adapter, unload_adapter
from pathsynth.sampling.draw import drawer
from pathsynth.sampling.early_rejection import Cut, EarlyLook, calibrate, cut_told, fit_cut, read_cut, write_cut
from pathsynth.sampling.gate import Gate
from pathsynth.sampling.generation import generate_set, retry_strategy, route_of
from pathsynth.sampling.image_set import class_counts, unreachable_told
from pathsynth.sampling.rejection import Route
from pathsynth.sampling.request import requested_prompts
from pathsynth.sampling.slots import Slot, Stream, attempt_at, slots_of
from pathsynth.study.acceptance import acceptance_rules, own_rules
from pathsynth.study.evaluation import (
    ImageSet,
    confirmed_told,
    first_rejected,
    format_scores,
    log_classifier,
    log_result,
    named_class,
    named_metrics,
    placed,
    write_evaluation,
    write_reference,
    write_sheet,
    write_sheets,
    write_test_scores,
)
from pathsynth.study.image_check import decode_into
from pathsynth.study.manifest import add_optimizer
from pathsynth.study.panel import panel_evaluation, panel_of, write_panel_scores
from pathsynth.study.plan import Plan, StagePlan, next_stage, trains_classifier
from pathsynth.study.run_metadata import artifact_card, artifact_names, classifier_card, trial_card
from pathsynth.study.state import ADDRESS
from pathsynth.training.callbacks import named_callbacks
from pathsynth.training.classifier import SCORES, train_classifier
from pathsynth.training.distributed import local_rank
from pathsynth.training.finetune import FinetuneJob, FinetuneSettings, finetune
from pathsynth.training.latent_cache import DamagedCache, LatentCache, build_cache, load_cache
from pathsynth.training.loggers import close, online_address, open_logger, require_logger
from pathsynth.training.media import keep_artifact, show_numbers, use_artifacts
from pathsynth.training.optimizer import check_optimizer
from pathsynth.training.pretrain import pretrain_base, pretrain_metrics
from pathsynth.training.progress import Advance, sampling_progress, training_progress
from pathsynth.training.regeneration import log_history


class Progress(Protocol):
    """Called with a stage's name and what it is doing; while it counts, with step, steps and rate (a second) too."""

    def __call__(self, stage: str, detail: str, step: int | None = None, steps: int | None = None, rate: float | None = None) -> None: ...


_SHOWN = {
    "finetune": ("adapter", "history.csv", OPTIMIZER_FILE, "fit-profile.txt"),
    "look": ("cut.json",),
    "generate": ("images", "attempts.parquet", "sheet.png"),
    "evaluate": ("grids",),
    "classifier": ("classifier.safetensors", "classifier.json", SCORES),
    "classifier_test": (SCORES,),
    "pretrain": ("base", "result.json"),
}
"""What of each stage the trial's folder shows."""


def run(config: RunConfig, plan: Plan, store: StageStore, folder: Path, progress: Progress) -> None:
    """Build or find every stage of the plan, then show the results in the trial's folder.

    Raises:
        RequestError: data, base or adapter do not fit the request.
        StageError: a stage failed for a reason that has a name.
    """
    torch.set_float32_matmul_precision("high")
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(lambda record: "litlogger" not in record.getMessage())
    require_logger(config.tracking, folder)
    trial = Trial(config, plan, store, folder, progress)
    named_callbacks(config.other_callbacks, has_logger=False)  # a wrong one is told before gate and judge are trained
    if config.sampling:
        own_rules(config.sampling)
        retry_strategy(config.sampling)
    if config.evaluate:
        named_metrics(config.evaluate)
    if config.lora and any(stage.name == "finetune" for stage in plan.stages):
        check_optimizer(config.optimizer, magnitudes=config.lora.dora, text_encoder=config.lora.text_encoder)
    waiting = list(plan.stages)
    while waiting:
        stage = next_stage(waiting, lambda stage: store.busy(stage.name, stage.identity))
        waiting.remove(stage)
        progress(stage.name, "reused" if store.find(stage.name, stage.identity) else "building")
        trial.build(stage)
    trial.show()


def help_to_train(config: RunConfig, plan: Plan, store: StageStore, folder: Path) -> None:
    """Take part in a trial's fine-tune as one of its further ranks, of which Lightning started each as the trial was started.

    Cache and gate are there: the trial's own process made them before it came to the fine-tune.
    """
    torch.set_float32_matmul_precision("high")
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank())
    found = {stage.name: store.find(stage.name, stage.identity) for stage in plan.stages}
    trial = Trial(config, plan, store, folder, lambda *_: None, {name: place for name, place in found.items() if place})
    work = trial.work("finetune")
    finetune(trial.finetune_job(), work, work, named_callbacks(config.other_callbacks, has_logger=False), None)


@dataclass
class Trial:
    """One trial while it runs: its settings, the stages built so far, and what they share in memory."""

    config: RunConfig
    plan: Plan
    store: StageStore
    folder: Path
    progress: Progress
    built: dict[str, Path] = field(default_factory=dict)
    trained: dict[str, Logger] = field(default_factory=dict)
    """The open runs of classifiers that were trained here and are not in their place yet."""
    logged_training: bool = False
    """Whether the fine-tune was trained here, so that the trial's logger saw its curves."""

    def build(self, stage: StagePlan) -> None:
        """Find the stage under its identity, or build it there."""
        makers: dict[str, Callable[[Path], None]] = {
            "decode": self.decode_images,
            "cache": self.make_cache,
            "gate": lambda folder: self.make_classifier(folder, "gate", self.config.gate),
            "judge": lambda folder: self.make_classifier(folder, "judge", self.config.judge),
            "classifier": lambda folder: self.make_classifier(folder, "classifier", self.config.classifier),
            "gate_test": lambda folder: self.make_test_scores(folder, "gate", self.config.gate),
            "judge_test": lambda folder: self.make_test_scores(folder, "judge", self.config.judge),
            "classifier_test": lambda folder: self.make_test_scores(folder, "classifier", self.config.classifier),
            "finetune": self.make_adapter,
            "look": self.make_cut,
            "generate": self.make_images,
            "reference": self.make_reference,
            "panel": lambda folder: write_panel_scores(folder, self.built, self.data, self.config),
            "evaluate": self.make_evaluation,
            "pretrain": self.make_base,
            **{role: partial(self.make_classifier, role=role, config=judge) for role, judge in panel_of(self.config).items()},
        }
        record = {**stage.settings, "parents": stage.parents}
        self.built[stage.name] = self.store.build(stage.name, stage.identity, record, makers[stage.name], self.provenance(stage.name))
        self.keep(stage)

    def provenance(self, stage: str) -> Provenance:
        """What computes a stage here: the GPU, unless there is none or a fine-tune is told to pass it over."""
        on_cpu = stage == "finetune" and self.config.trainer.accelerator == "cpu"
        return provenance(torch.cuda.get_device_name() if torch.cuda.is_available() and not on_cpu else processor())

    def keep(self, stage: StagePlan) -> None:
        """Log what a finished stage made as an artifact: a classifier by its own run (if it was trained here), else by the trial's."""
        card = artifact_card(stage, self.built[stage.name])
        if card and trains_classifier(stage.name):
            own = self.trained.pop(stage.name, None)
            keep_artifact([own] if own else [], card)
            close(own)
        elif card:
            keep_artifact(self.loggers, card)
        if stage.name == "finetune" and not self.logged_training:
            log_history(self.loggers, self.built[stage.name] / "history.csv")

    @cached_property
    def data(self) -> DataSet:
        assert self.config.data
        decoded = self.built.get("decode")
        return open_data(self.config.data, Decoded(decoded, self.stage("decode").parents["data"]) if decoded else None)

    @cached_property
    def base(self) -> Base:
        source = self.plan.base
        assert source and self.config.base
        return load_base(source.path_or_hub, source.revision, source.identity, self.config.base.canvas, self.data.size)

    @cached_property
    def gate(self) -> Gate:
        assert self.config.sampling
        classifier = load_classifier(self.made("gate"), self.data.space, named_class(self.config.gate))
        return Gate(placed(classifier), acceptance_rules(classifier, self.data, self.config.sampling), self.config.sampling.deterministic)

    @cached_property
    def logger(self) -> Logger | None:
        """The trial's own run; it begins when the classifiers are there, and is told that it uses them."""
        logger = open_logger(self.config.tracking, self.folder, trial_card(self.config, self.plan, self.folder.name))
        if logger:
            use_artifacts([logger], artifact_names({s.name: s.identity for s in self.plan.stages if trains_classifier(s.name)}))
        address = online_address(logger)
        if address:
            write_text(self.folder / ADDRESS, f"{address}\n")
        return logger

    @property
    def loggers(self) -> list[Logger]:
        return [self.logger] if self.logger else []

    def work(self, name: str) -> Path:
        """Where an unfinished stage of this trial keeps what it goes on from."""
        return self.store.work(name, self.stage(name).identity)

    def stage(self, name: str) -> StagePlan:
        return next(s for s in self.plan.stages if s.name == name)

    def made(self, stage: str) -> Path:
        """The folder of a finished stage; a ready set has one for those that a trial on it lacks."""
        assert self.config.data
        if self.config.data.name != "ready":
            return self.built[stage]
        ready = ready_set(self.config.data)
        return ready.gate if stage == "gate" else ready.folder

    @property
    def judge(self) -> Path | None:
        """The folder of the classifier that confirms what the gate accepted, where there is one."""
        assert self.config.data
        return ready_set(self.config.data).judge if self.config.data.name == "ready" else self.built.get("judge")

    def advance(self, stage: str, detail: str) -> Advance:
        """Tells the trial's state how far a stage's count came."""
        return lambda step, steps, rate: self.progress(stage, detail, step, steps, rate)

    def shown(self, stage: str, part: str = "") -> list[pl.Callback]:
        """What shows the progress of a stage's training, or of a part of it."""
        return training_progress(part or stage, self.advance(stage, f"{part} steps".strip()))

    def decode_images(self, folder: Path) -> None:
        """Only where what was decoded before the trial began was damaged or removed since."""
        decode_into(folder, self.config, self.stage("decode"), self.work("decode"))

    def make_cache(self, folder: Path) -> None:
        assert self.config.objective
        build_cache(folder, self.data, self.base, self.config.objective.augment, self.captions())

    def captions(self) -> tuple[str, ...] | None:
        """What training images are learned with, where they have captions of their own.

        Raises:
            RequestError: they are others than those that were planned.
        """
        assert self.config.data
        found = captions_of(self.config.data)
        if found and found.digest != self.stage("cache").settings["captions"]:
            raise RequestError(f"captions of images in {self.config.data.root} have changed since the trial was planned; run it again")
        return found.texts if found else None

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

    def make_classifier(self, folder: Path, role: str, config: AnyClassifier | None) -> None:
        assert config
        stage = self.stage(role)
        logger = open_logger(self.config.tracking, self.folder, classifier_card(self.config, stage, config))
        revision = stage.settings.get("weights", {}).get("revision")
        try:
            scores = train_classifier(config, self.data, folder, self.shown(role), logger, work=self.work(role), revision=revision)
        except BaseException:
            close(logger, failed=True)
            raise
        if logger:
            log_classifier([logger], scores, role, self.data, config.seed)
            self.trained[role] = logger

    def make_test_scores(self, folder: Path, role: str, config: AnyClassifier | None) -> None:
        """The run of the classifier goes on with its scores on the test split."""
        assert config
        scores = write_test_scores(folder, self.built[role], self.data, config)
        logger = open_logger(self.config.tracking, self.folder, classifier_card(self.config, self.stage(role), config))
        if logger:
            log_classifier([logger], [scores], role, self.data, config.seed)
            close(logger)

    def make_adapter(self, folder: Path) -> None:
        callbacks = [*self.shown("finetune"), *named_callbacks(self.config.other_callbacks, has_logger=self.logger is not None)]
        finetune(self.finetune_job(), folder, self.work("finetune"), callbacks, self.logger)
        self.logged_training = True
        unload_adapter(self.base)

    def finetune_job(self) -> FinetuneJob:
        return FinetuneJob(self.base, self.cache(), self.data, self.gate, FinetuneSettings.of(self.config))

    def make_cut(self, folder: Path) -> None:
        """Decide, on slots of their own, which candidates early rejection gives up."""
        sampling = self.config.sampling
        assert sampling and sampling.look_after
        prompts = {c.index: self.data.prompts.canonical(c.index) for c in self.data.space.classes}
        attempts = [attempt_at(slot, 0, sampling.seed) for slot in slots_of(Stream.CALIBRATE, prompts, sampling.look_n)]
        load_adapter(self.made("finetune") / "adapter", self.base)
        with sampling_progress("look", len(attempts), self.advance("look", "candidates")) as shown:
            draw = drawer(self.base, self.data.size, sampling)
            found = calibrate(attempts, draw, self.gate, sampling.batch_size, lambda: shown.count(True))
        unload_adapter(self.base)
        write_cut(folder, fit_cut(found, sampling.look_loss, sampling.look_after, sampling.steps))

    def make_images(self, folder: Path) -> None:
        """Fill the slots of the request (or, for an evaluation, n slots of every class) from the finished adapter."""
        sampling = self.config.sampling
        assert sampling
        load_adapter(self.made("finetune") / "adapter", self.base)
        slots = self.slots()
        draw = drawer(self.base, self.data.size, sampling)
        look = EarlyLook(draw, self.gate, self.cut(route_of(sampling, draw.scheduler))) if sampling.look_after else None
        with sampling_progress("generate", len(slots), self.advance("generate", "slots")) as shown:
            generate_set(
                folder,
                self.work("generate"),
                slots,
                draw,
                self.gate,
                sampling,
                draw.scheduler,
                self.data.space,
                keep_rejected=slots[0].stream is Stream.EVAL,
                on_attempt=lambda j: shown.count(j.verdict.accepted or j.attempt.number + 1 == sampling.attempts),
                look=look,
            )
        unload_adapter(self.base)
        images = ImageSet.read(folder)
        write_sheet(folder / "sheet.png", images, self.data.space, self.data.size)
        for line in unreachable_told(class_counts(images.rows)):
            print(line, flush=True)
        if self.judge and slots[0].stream is Stream.GENERATE:
            print(self.confirmation(self.judge, images), flush=True)

    def confirmation(self, judge: Path, images: ImageSet) -> str:
        """What the judge says of the accepted images; of a ready set's that the configuration does not name, why it is not asked."""
        try:
            return confirmed_told(placed(load_classifier(judge, self.data.space, named_class(self.config.judge))), images)
        except RequestError as error:
            return f"judge: not asked, for {error}"

    def cut(self, route: Route) -> Cut:
        """Early rejection's cut, told with what it cost and saved on candidates that it was not fitted on."""
        cut = read_cut(self.built["look"])
        print(cut_told(cut, route), flush=True)
        return cut

    def slots(self) -> list[Slot]:
        """What the trial draws: the request of ``generate``, or every class for an evaluation, on seeds of its own."""
        request, book = self.config.generate, self.data.prompts
        if request:
            return slots_of(Stream.GENERATE, requested_prompts(request, book), request.n)[request.shard :: request.shards]
        evaluate = self.config.evaluate
        assert evaluate
        return slots_of(Stream.EVAL, {c.index: book.wordings(c.index, evaluate.prompts) for c in book.space.classes}, evaluate.n)

    def make_reference(self, folder: Path) -> None:
        write_reference(folder, self.built["gate"], self.built["judge"], self.data, self.base, self.config)

    def make_evaluation(self, folder: Path) -> None:
        assert self.config.evaluate
        images = ImageSet.read(self.built["generate"])
        write_sheets(folder / "grids", images, self.data, self.config.evaluate.split)
        panel = panel_evaluation(images, self.built, self.data, self.config)
        write_evaluation(folder, images, self.data, self.config, self.plan.identity, self.built, panel)

    def make_base(self, folder: Path) -> None:
        assert self.config.pretrain
        root = self.config.pretrain.root or os.environ.get("PATHSYNTH_DATA", ".")
        archive = Path(root) / "cifar10.tar"
        pretrain_base(self.config.pretrain, archive, folder, self.work("pretrain"), partial(self.shown, "pretrain"))
        result = Result(
            identity=self.plan.identity,
            versions=versions(),
            settings=self.config.model_dump(mode="json", exclude={"multirun"}),
            metrics=tuple(pretrain_metrics(folder, self.config.pretrain.seed)),
            missing=(),
        )
        write_result(folder / "result.json", result)

    def show(self) -> None:
        """Give the trial's folder its adapter, images, sheets, history and, last, its result."""
        for stage, names in _SHOWN.items():
            for name in names if stage in self.built else ():
                _show(self.built[stage] / name, self.folder / name)
        if "evaluate" in self.built:
            _show_some(first_rejected(ImageSet.read(self.built["generate"])), self.built["generate"], self.folder)
        if "finetune" in self.built:
            add_optimizer(self.folder, read_optimizer(self.built["finetune"]))
        self.log()
        if "evaluate" in self.built:
            _show(self.built["evaluate"] / "result.json", self.folder / "result.json")
        sync_names(self.folder)
        if "generate" in self.built and "evaluate" not in self.built:
            print(self._format_images(), flush=True)
        for stage in ("classifier", "classifier_test"):
            if stage in self.built:
                print(format_scores(self.built[stage] / SCORES), flush=True)

    def _format_images(self) -> str:
        """Where the accepted images are; without one there is no sheet."""
        sheet = self.folder / "sheet.png"
        if sheet.exists():
            return f"images: {self.folder / 'images'}; on one sheet: {sheet}"
        return f"no image was accepted; every attempt is in {self.folder / 'attempts.parquet'}"

    def log(self) -> None:
        """Show the result in the trial's run, if it has one, and end the run."""
        if "evaluate" in self.built:
            log_result(self.loggers, self.built["evaluate"], self.data.space)
        elif "pretrain" in self.built:
            show_numbers(self.loggers, read_result(self.built["pretrain"] / "result.json").metrics)
        if "classifier" not in self.built:
            close(self.logger)


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
