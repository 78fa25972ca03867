"""The adapter, fine-tuned on the cache and watched by the gate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathsynth.config import RunConfig
from pathsynth.config.custom_classes import class_digests, targets
from pathsynth.config.groups import missing_group, require_group
from pathsynth.config.lightning import WATCHING, changing
from pathsynth.config.schema import FINETUNE_TARGET, REGENERATION, TRAINER_TARGET, ConstantConfig, CosineConfig, shipped_schedule
from pathsynth.ledger.records import OPTIMIZER_FILE
from pathsynth.stages.fingerprints import adapter_identity
from pathsynth.stages.sampling_settings import OF_FILLING, USUAL_CLASSES, denoiser_passes, first_attempts
from pathsynth.stages.stage import Artifact, BuildContext, Effort, PlanContext, Stage

if TYPE_CHECKING:
    from pathsynth.config import SamplingConfig
    from pathsynth.stages.fingerprints import BaseSource
    from pathsynth.tracking.outbox import Model
    from pathsynth.training.finetune import FinetuneJob

NEUTRAL = {
    "accumulate": 1,
    "dropout": 0.0,
    "dora": False,
    "rslora": False,
    "text_encoder": False,
    "channels_last": False,
    "compile": False,
    "init": "gaussian",
    "ema_decay": 0.0,
    "min_snr_gamma": None,
    "noise_offset": 0.0,
    "caption_dropout": 0.0,
    "schedule": "cosine",
    "restart_steps": None,
    "gradient_checkpointing": False,
    "deterministic": None,
    "benchmark": None,
    "gradient_clip_algorithm": None,
    "module": {},
    "trainer": TRAINER_TARGET,
    "callbacks": {},
    "classes": {},
    "debug": "none",
    "devices": 1,
}

_PASSES_A_STEP = 3
"""A training step of an image costs about as much as three passes of the denoiser: forwards, and twice that backwards."""

_OF_RETRIES = ("retries", "retry_factor", "explosion", "checkpoint_every", "keep_checkpoints")
"""Settings that decide how a fine-tune continues once it has diverged. Without retries it then fails: no result depends on them."""


def settings(context: PlanContext) -> dict[str, Any]:
    """What decides the adapter: objective, adapter, optimizer, schedule, trainer, callbacks that change a training, and validation.

    Raises:
        RequestError: a group of the configuration that it needs is missing.
    """
    config = context.config
    lora = require_group(config.lora, "lora")
    trainer, training = config.trainer, config.training
    objects = [config.optimizer, config.schedule, config.finetune, {"_target_": trainer.target}]
    callbacks = changing(config.other_callbacks)
    if config.validation.every and not config.validation.is_shipped:
        callbacks[REGENERATION] = config.validation.callback
    never_retried = () if training.retries else _OF_RETRIES
    unread = {"paraphrases"} if context.data.captions else set()  # of a class's prompts; images have captions of their own
    return {
        **trainer.model_dump(mode="json", exclude={"target", "accumulate_grad_batches", *WATCHING}),
        "accumulate": trainer.accumulate_grad_batches,
        **training.model_dump(mode="json", exclude={"threads", "warmup_steps", *never_retried}),
        **_schedule_settings(config),
        **require_group(config.objective, "objective").model_dump(mode="json", exclude=unread),
        **lora.model_dump(mode="json", exclude={"start"}),
        "alpha": lora.alpha or lora.rank,
        "optimizer": dict(config.optimizer),
        "seed": config.seed,
        "module": {} if config.finetune == {"_target_": FINETUNE_TARGET} else config.finetune,
        "trainer": trainer.target,
        "callbacks": callbacks,
        "classes": class_digests(targets([*objects, callbacks])),
        "debug": config.debug.name if config.debug else "none",
        "devices": (trainer.devices or 1) if lora.dropout else 1,  # each has masks of its own
        **(_validation_settings(context) if config.validation.every else {}),
    }


def _validation_settings(context: PlanContext) -> dict[str, Any]:
    return {
        "validation": context.config.validation.model_dump(mode="json", include={"every", "n"}),
        "sampling": first_attempts(context, OF_FILLING),
    }


def _schedule_settings(config: RunConfig) -> dict[str, Any]:
    """How the learning rate changes; the shipped schedules under the names that they had while ``trainer`` held them."""
    if not config.schedule:
        raise missing_group("schedule")
    shipped = shipped_schedule(config.schedule)
    if isinstance(shipped, ConstantConfig):
        return {"schedule": "constant", "restart_steps": None, "warmup_steps": shipped.warmup_steps}
    if isinstance(shipped, CosineConfig) and (shipped.restart_steps or shipped.steps == config.trainer.max_steps):
        return {"schedule": "cosine", "restart_steps": shipped.restart_steps, "warmup_steps": shipped.warmup_steps}
    return {"schedule": config.schedule}


def parents(context: PlanContext) -> dict[str, str]:
    """Cache and base; the adapter that it starts from and the gate that watches it, where there are such."""
    origins = {"cache": context.identities["cache"], "base": context.base.identity}
    start = require_group(context.config.lora, "lora").start
    if start:
        origins["start"] = adapter_identity(Path(start), context.base.identity)
    if context.config.validation.every:
        origins["gate"] = context.identities["gate"]
    return origins


def build(context: BuildContext, folder: Path) -> None:
    """Train the adapter into ``folder``; the base is left without one.

    Raises:
        RequestError, StageError: as :func:`pathsynth.training.finetune.finetune`.
    """
    from pathsynth.models.lora import unload_adapter
    from pathsynth.training.callbacks import named_callbacks
    from pathsynth.training.finetune import finetune

    built_callbacks = named_callbacks(context.config.other_callbacks, has_logger=bool(context.loggers))
    finetune(finetune_job(context), folder, context.work("finetune"), [*context.shown("finetune"), *built_callbacks], context.loggers)
    unload_adapter(context.base)


def finetune_job(context: BuildContext) -> FinetuneJob:
    """What every process of a fine-tune works with."""
    from pathsynth.training.finetune import FinetuneJob, FinetuneSettings

    return FinetuneJob(context.base, context.cache(), context.data, context.gate, FinetuneSettings.of(context.config))


def work(settings: Mapping[str, Any]) -> float:
    """Passes of the denoiser in training and in validations."""
    images = settings["max_steps"] * settings["batch_size"] * settings.get("accumulate", 1)
    return float(_PASSES_A_STEP * images + _validation_work(settings))


def _validation_work(settings: Mapping[str, Any]) -> float:
    validation: Mapping[str, Any] = settings.get("validation") or {}
    if not validation.get("every"):
        return 0.0
    times = settings["max_steps"] // validation["every"]
    return float(times * validation["n"] * USUAL_CLASSES * denoiser_passes(settings["sampling"]))


def log(context: BuildContext, folder: Path) -> None:
    """The adapter as a model that a tracker can serve; and the curves of one that was not trained here."""
    from pathsynth.tracking.media import keep_model
    from pathsynth.training.regeneration import log_history

    if context.config.sampling and context.base_source:
        keep_model(context.loggers, served_model(context, folder / "adapter", context.config.sampling, context.base_source))
    if "finetune" not in context.built_here:
        log_history(context.loggers, folder / "history.csv")


def served_model(context: BuildContext, adapter: Path, sampling: SamplingConfig, source: BaseSource) -> Model:
    """The adapter with what draws from it, without rules and retries: a model answers each prompt with one image."""
    from pathsynth.tracking.outbox import Model

    config, data = require_group(context.config.base, "base"), require_group(context.config.data, "data")
    early = sampling.early_rejection.model_copy(update={"after_step": None})
    drawn = sampling.model_copy(update={"rules": {}, "retry": {}, "image_to_image": 0.0, "early_rejection": early})
    base = (source.path_or_hub, source.revision, source.identity, config.canvas)
    return Model(str(adapter), f"adapter-{context.stage('finetune').identity}/model", *base, data.size, drawn.model_dump(mode="json"))


STAGE = Stage(
    "finetune",
    settings,
    parents,
    build,
    neutral=NEUTRAL,
    loads=("gate",),  # a parent only where it validates
    effort=Effort(work, long=True),
    on_gpu=lambda config: config.trainer.accelerator != "cpu",
    shown=("adapter", "history.csv", OPTIMIZER_FILE, "fit-profile.txt"),
    artifact=Artifact("adapter", "adapter", ("adapter", "history.csv")),
    log=log,
)
