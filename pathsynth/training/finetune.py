"""LoRA fine-tuning: from the frozen base and the cache to the best adapter of a training."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import hydra.utils
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, SimpleProfiler
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from typing_extensions import override

from pathsynth.config import (
    LightningConfig,
    LoraConfig,
    ObjectiveConfig,
    RunConfig,
    SamplingConfig,
    TrainerConfig,
    TrainingConfig,
    ValidationConfig,
)
from pathsynth.config.groups import require_group
from pathsynth.config.objects import build_object
from pathsynth.config.schema import FINETUNE_TARGET, REGENERATION
from pathsynth.data.dataset import DataSet
from pathsynth.ledger.adapters import AdapterCard
from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.records import OPTIMIZER_FILE
from pathsynth.ledger.requests import REQUESTED_SHEETS, VALIDATION
from pathsynth.ledger.seeds import derive_seed
from pathsynth.ledger.versions import versions
from pathsynth.models.adapter_start import start_from
from pathsynth.models.base import Base
from pathsynth.models.design import design
from pathsynth.models.lora import adapted_parts, adapter_state, attach, restore, save_adapter, unload_adapter
from pathsynth.sampling.draw import drawer
from pathsynth.sampling.rejection import Judge
from pathsynth.sampling.slots import Stream, slots_of
from pathsynth.training.batches import BatchPlan
from pathsynth.training.distributed import launched, launcher_environment, local_rank, strategy_for
from pathsynth.training.divergence import Diverged, Tries
from pathsynth.training.latent_cache import LatentCache
from pathsynth.training.lora_module import FinetuneParts, LoraFinetuning
from pathsynth.training.optimizer import format_groups, optimizer_groups
from pathsynth.training.overfit import FallingLoss
from pathsynth.training.pruning import Pruning
from pathsynth.training.regeneration import RegenerationCallback, RequestedValidations, ValidationParts
from pathsynth.training.resume import AtomicCheckpoints, ResumePoints

_FEW_PLACES = 1024
"""Places of a latent up to which plain attention costs little memory: 32×32, an image of 256 px with Stable Diffusion."""


@dataclass(frozen=True)
class FinetuneSettings:
    """The groups of a configuration that a fine-tune reads; ``seed`` is the training seed. ``must_learn``: the loss has to fall.

    ``module``: the group ``finetune``.
    """

    seed: int
    lora: LoraConfig
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    trainer: TrainerConfig
    training: TrainingConfig
    objective: ObjectiveConfig
    validation: ValidationConfig
    sampling: SamplingConfig
    module: dict[str, Any] = field(default_factory=lambda: {"_target_": FINETUNE_TARGET})
    must_learn: bool = False

    @classmethod
    def of(cls, config: RunConfig) -> FinetuneSettings:
        """Those of a configuration whose command trains an adapter.

        Raises:
            RequestError: it lacks a group of such a command.
        """
        return cls(
            seed=config.seed,
            lora=require_group(config.lora, "lora"),
            optimizer=config.optimizer,
            schedule=config.schedule,
            trainer=config.trainer,
            training=config.training,
            objective=require_group(config.objective, "objective"),
            validation=config.validation,
            sampling=require_group(config.sampling, "sampling"),
            module=config.finetune,
            must_learn=config.debug is not None and config.debug.name == "overfit",
        )


@dataclass(frozen=True)
class FinetuneJob:
    """Everything a fine-tune needs: the frozen base, the cache made with it, the gate, and the settings."""

    base: Base
    cache: LatentCache
    data: DataSet
    gate: Judge
    settings: FinetuneSettings


def finetune(job: FinetuneJob, folder: Path, work: Path, callbacks: list[pl.Callback], loggers: Sequence[Logger]) -> None:
    """Train an adapter and write the best of it to ``folder/adapter``, with ``history.csv`` and the validation sheets.

    Best is highest before-filter macro-F1 by the gate on the validation slots; with validation off, the last step's.
    ``folder/optimizer.json`` says which rule and rate each tensor had.
    ``work`` keeps the checkpoints and the sheets of a training that was cut off; it continues from there to the same adapter.
    Who leaves the file ``work/validate`` has a validation beside the schedule, whose sheets are in ``work/requested`` until the end.
    A training that diverges continues from its last good checkpoint at a lower rate, as often as ``training.retries`` says.
    On several devices, the processes beside the trial's own (whose rank is 0) call this, too; they write nothing.

    Raises:
        RequestError: Lightning refuses what ``trainer.*`` or the callbacks ask for, or the base what ``lora.*`` does.
        StageError: the loss diverged or (where it must) did not fall, or no checkpoint can be read.
    """
    settings = job.settings.training
    tries = Tries(work, settings.retries, settings.retry_factor, settings.explosion)
    while True:
        points = tries.points(settings.checkpoint_every, settings.keep_checkpoints)
        try:
            with launched():
                best = _trained(job, folder, work, points, tries.slowed, callbacks, loggers)
            break
        except Diverged as error:
            if local_rank():
                return  # rank 0 starts other processes for the next try
            print(tries.step_back(error, points), flush=True)
            unload_adapter(job.base)
    if local_rank():
        return
    best.put_back()
    for module in adapted_parts(job.base).values():
        module.eval()
    save_adapter(folder / "adapter", job.base, _card(job, best.step, tries.count))
    if job.settings.validation.every:
        shutil.copytree(work / "validation", folder, dirs_exist_ok=True)


def _trained(
    job: FinetuneJob, folder: Path, work: Path, points: ResumePoints, slowed: float, callbacks: list[pl.Callback], loggers: Sequence[Logger]
) -> BestAdapter:
    """Attach an adapter, train it to the last step, and return the best it was.

    Raises:
        Diverged: the loss is not finite any more, or has run away.
    """
    config, base = job.settings, job.base
    best = BestAdapter(base)
    regeneration = [_regeneration(job, work, best.keep)] if config.validation.every else []
    learning = [FallingLoss(lambda module: module.training_loss())] if config.must_learn else []
    trainer = _trainer(config, [*callbacks, *regeneration, *learning, best, points], loggers, folder)
    home = base.unet.device
    base.pipeline.to(trainer.strategy.root_device)
    parameters = attach(base, design(config.lora), derive_seed(config.seed, "adapter"))
    if config.lora.start:
        start_from(base, Path(config.lora.start))
    timesteps = base.scheduler.config.num_train_timesteps
    plan = BatchPlan(job.cache, config.objective, config.training.batch_size, config.seed, timesteps)
    with _laid_out(base, config.training), fast_attention(base, config.trainer.precision):
        parts = FinetuneParts(base, parameters, plan, config.training, config.optimizer, config.schedule, slowed)
        module = build_object("finetune", config.module, LoraFinetuning, parts=parts)
        if not local_rank():
            _record_optimizer(module, folder)
        trainer.fit(module, ckpt_path=points.checkpoint, weights_only=True)
    base.pipeline.to(home)  # Lightning leaves what it trained on the CPU
    if best.state is None:
        module.use_averaged_weights()
        best.keep(trainer.global_step)
    return best


def _record_optimizer(module: LoraFinetuning, folder: Path) -> None:
    """Which rule and which rate each tensor gets, in the log and in ``optimizer.json``."""
    groups = optimizer_groups(module.build_optimizer())
    print(format_groups(groups), flush=True)
    write_json(folder / OPTIMIZER_FILE, [asdict(group) for group in groups])


def fast_attention(base: Base, precision: str) -> AbstractContextManager[None]:
    """PyTorch's plain attention where its fused one is slow: in bfloat16 on a CPU. For large images it would need too much memory."""
    _, height, width = base.latent_shape
    slow = precision == "bf16-mixed" and base.unet.device.type == "cpu" and height * width <= _FEW_PLACES
    return sdpa_kernel(SDPBackend.MATH) if slow else nullcontext()


@contextmanager
def _laid_out(base: Base, training: TrainingConfig) -> Iterator[None]:
    """The base's modules as they are trained fastest or in least memory; afterwards as they were.

    Raises:
        RequestError: ``training.compile`` lacks its compiler.
    """
    if training.compile and base.unet.device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        raise RequestError("training.compile=true needs a C++ compiler on a CPU, and there is none; install g++ or set it to false")
    if training.gradient_checkpointing:
        base.unet.enable_gradient_checkpointing()
        if base.learns_text:
            base.text_encoder.gradient_checkpointing_enable()
    if training.channels_last:
        base.unet.to(memory_format=torch.channels_last)
    try:
        yield
    finally:
        base.unet.to(memory_format=torch.contiguous_format)
        base.unet.disable_gradient_checkpointing()
        base.text_encoder.gradient_checkpointing_disable()


def _card(job: FinetuneJob, step: int, retries: int) -> AdapterCard:
    config, data, lora = job.settings, job.data, job.settings.lora
    return AdapterCard(
        base=job.base.identity,
        label_space=data.space.name,
        classes=data.space.slugs,
        data=data.name,
        data_identity=data.identity,
        prompts=tuple(data.prompts.canonical(c.index) for c in data.space.classes),
        rank=lora.rank,
        alpha=lora.alpha or lora.rank,
        targets=lora.targets,
        dora=lora.dora,
        rslora=lora.rslora,
        text_encoder=lora.text_encoder,
        seed=config.seed,
        step=step,
        steps=config.trainer.max_steps,
        retries=retries,
        version=versions()["pathsynth"],
    )


class BestAdapter(pl.Callback):
    """Holds the tensors of the best adapter so far and the step they come from."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self.state: dict[str, Tensor] | None = None
        self.step = 0

    def keep(self, step: int) -> None:
        """Copy the adapter's tensors, with the step they come from."""
        self.state, self.step = adapter_state(self._base), step

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"state": self.state, "step": self.step}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.state, self.step = state_dict["state"], state_dict["step"]

    def put_back(self) -> None:
        """Give the adapter the kept tensors again."""
        assert self.state is not None, "no adapter was kept"
        restore(self._base, self.state)


def _regeneration(job: FinetuneJob, work: Path, keep_best: Callable[[int], None]) -> RegenerationCallback:
    sampling, space = job.settings.sampling, job.data.space
    prompts = {c.index: job.data.prompts.canonical(c.index) for c in space.classes}
    draw = drawer(job.base, job.data.size, sampling)
    pruning = None if local_rank() else Pruning.of_this_process()
    parts = ValidationParts(
        slots=lambda n: slots_of(Stream.VAL, prompts, n),
        draw=draw,
        judge=job.gate,
        sampling=sampling,
        scheduler=draw.scheduler,
        space=space,
        folder=work / "validation",
        keep_best=keep_best,
        report=pruning.report if pruning else None,
        requested=RequestedValidations(work / VALIDATION, work / REQUESTED_SHEETS, _averaged_weights),
    )
    validation = job.settings.validation
    settings = {**validation.callback, "every": validation.every, "n": validation.n}
    return build_object(f"callbacks.{REGENERATION}", settings, RegenerationCallback, parts=parts)


def _averaged_weights(module: pl.LightningModule) -> AbstractContextManager[None]:
    assert isinstance(module, LoraFinetuning)
    return module.averaged_weights()


def _trainer(config: FinetuneSettings, callbacks: list[pl.Callback], loggers: Sequence[Logger], folder: Path) -> pl.Trainer:
    settings = config.trainer
    every = config.validation.every * settings.accumulate_grad_batches
    try:
        return hydra.utils.get_class(settings.target)(
            default_root_dir=str(folder),
            max_steps=settings.max_steps,
            accumulate_grad_batches=settings.accumulate_grad_batches,
            precision=settings.precision,
            gradient_clip_val=settings.gradient_clip_val or None,
            val_check_interval=every or None,
            check_val_every_n_epoch=None,
            limit_val_batches=1.0 if every else 0,
            num_sanity_val_steps=0,
            callbacks=callbacks,
            plugins=[AtomicCheckpoints(), launcher_environment()],
            strategy=strategy_for(settings.devices or 1),
            use_distributed_sampler=False,
            logger=loggers or False,
            enable_checkpointing=False,
            enable_progress_bar=any(isinstance(c, ProgressBar) for c in callbacks),
            **_of_lightning(settings, folder),
        )
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise RequestError(f"Lightning refuses the settings of trainer or callbacks: {' '.join(str(error).split())}") from error


_PROFILERS: dict[str, Callable[[Path], Profiler]] = {
    "simple": lambda folder: SimpleProfiler(folder, "profile"),
    "advanced": lambda folder: AdvancedProfiler(folder, "profile"),
}


def _of_lightning(settings: TrainerConfig, folder: Path) -> dict[str, Any]:
    """The arguments of Lightning's Trainer that people may set, over the program's own proposals for them."""
    proposed = {"devices": 1, "log_every_n_steps": 10, "enable_model_summary": False}
    chosen = {key: value for key in LightningConfig.model_fields if (value := getattr(settings, key)) is not None}
    if settings.profiler:
        chosen["profiler"] = _PROFILERS[settings.profiler](folder)
    return {**proposed, **chosen}
