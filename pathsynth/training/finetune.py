"""LoRA fine-tuning: a thin LightningModule over the diffusion core. Only the adapter is trained and saved."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import hydra.utils
import pytorch_lightning as pl
import torch
from diffusers.training_utils import EMAModel
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, SimpleProfiler
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from pathsynth.config import LightningConfig, LoraConfig, ObjectiveConfig, SamplingConfig, TrainerConfig, ValidationConfig
from pathsynth.data.cache import LatentCache
from pathsynth.data.dataset import DataSet
from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.ledger.seeds import derive_seed
from pathsynth.models.base import Base
from pathsynth.models.diffusion import denoising_loss
from pathsynth.models.lora import AdapterCard, AdapterDesign, adapter_state, attach, restore, save_adapter, start_from
from pathsynth.sampling.draw import drawer
from pathsynth.sampling.rejection import Judge
from pathsynth.sampling.slots import Stream, slots_of
from pathsynth.training.overfit import FallingLoss
from pathsynth.training.regeneration import RegenerationCallback
from pathsynth.training.resume import AtomicCheckpoints, ResumePoints
from pathsynth.training.steps import step_generator, step_loader, warmup_constant, warmup_cosine, warmup_restarts


class LatentBatch(NamedTuple):
    """``latents`` and ``noise`` float (N, C, h, w), ``text`` float (N, T, D), ``timesteps`` int64 (N,)."""

    latents: Tensor
    noise: Tensor
    text: Tensor
    timesteps: Tensor


@dataclass(frozen=True)
class BatchPlan:
    """Batches as pure functions of (seed, step): sample order, orientation, caption, noise and timestep of every image."""

    cache: LatentCache
    objective: ObjectiveConfig
    batch_size: int
    seed: int
    timesteps: int

    def train(self, step: int) -> LatentBatch:
        """The batch of one (micro-)step; each epoch is a permutation of the training images."""
        cache, generator = self.cache, step_generator(self.seed, "finetune", step)
        rows = self._rows(step)
        turn = torch.randint(cache.latents.shape[1], (self.batch_size,), generator=generator)
        orientation = turn if self.objective.augment else torch.zeros_like(turn)
        text = self._text(cache.labels[rows], generator)
        latents = cache.latents[rows, orientation].float()
        return LatentBatch(latents, self._noise(latents.shape, generator), text, self._times(generator))

    def val(self, step: int) -> LatentBatch:
        """Held-out images with the same noise and timesteps at every validation, captioned canonically."""
        cache, generator = self.cache, step_generator(0, "held-out", step)
        rows = torch.arange(step * self.batch_size, (step + 1) * self.batch_size) % len(cache.val_labels)
        captions = torch.tensor([c[0] for c in cache.captions])[cache.val_labels[rows]]
        latents = cache.val_latents[rows].float()
        return LatentBatch(latents, torch.randn(latents.shape, generator=generator), cache.embeddings[captions], self._times(generator))

    def _rows(self, step: int) -> Tensor:
        n = len(self.cache.labels)
        flat = torch.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = {int(e): self._permutation(int(e), n) for e in (flat // n).unique()}
        return torch.stack([epochs[int(f) // n][int(f) % n] for f in flat])

    def _permutation(self, epoch: int, n: int) -> Tensor:
        return torch.randperm(n, generator=torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch)))

    def _text(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Caption embeddings; a share is the empty prompt's, so that guidance has something to guide away from."""
        draw = torch.rand(self.batch_size, generator=generator)
        dropped = torch.rand(self.batch_size, generator=generator) < self.objective.caption_dropout
        choices = [self.cache.captions[int(label)] for label in labels]
        picked = [own[int(d * len(own))] if self.objective.paraphrases else own[0] for own, d in zip(choices, draw, strict=True)]
        return self.cache.embeddings[torch.where(dropped, torch.zeros(self.batch_size, dtype=torch.int64), torch.tensor(picked))]

    def _noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        noise = torch.randn(shape, generator=generator)
        shift = torch.randn((*shape[:2], 1, 1), generator=generator)
        return noise + self.objective.noise_offset * shift

    def _times(self, generator: torch.Generator) -> Tensor:
        return torch.randint(self.timesteps, (self.batch_size,), generator=generator)


class LoraFinetuning(pl.LightningModule):
    """Trains the adapter's parameters; EMA weights, where they are on, are what is validated and exported."""

    strict_loading = False

    def __init__(
        self,
        base: Base,
        parameters: list[nn.Parameter],
        plan: BatchPlan,
        trainer_config: TrainerConfig,
        optimizer: dict,
    ) -> None:
        super().__init__()
        self.unet = base.unet
        self._noise_scheduler = base.scheduler
        self._adapter = parameters
        self._plan, self._config, self._optimizer = plan, trainer_config, optimizer
        decay = trainer_config.ema_decay
        self._ema = EMAModel(parameters, decay=decay, use_ema_warmup=True, power=0.75) if decay else None

    def train_dataloader(self):
        micro = self._config.max_steps * self._config.accumulate
        return step_loader(self._plan.train, self.global_step * self._config.accumulate, micro)

    def val_dataloader(self):
        batches = -(-len(self._plan.cache.val_labels) // self._plan.batch_size)
        return step_loader(self._plan.val, 0, min(batches, 8))

    def training_step(self, batch: LatentBatch, batch_index: int) -> Tensor:
        torch.manual_seed(derive_seed(self._plan.seed, "dropout", batch_index))
        loss = self._loss(batch, self._plan.objective.min_snr_gamma)
        if not torch.isfinite(loss):
            remedy = "lower optimizer.lr or set trainer.gradient_clip_val"
            raise StageError(f"the loss became {float(loss)} at step {self.global_step + 1}; {remedy}")
        self.log("finetune/loss", loss, prog_bar=True, batch_size=len(batch.latents))
        return loss

    def validation_step(self, batch: LatentBatch, batch_index: int) -> None:
        self.log("finetune/held_out_loss", self._loss(batch, None), batch_size=len(batch.latents))

    def _loss(self, batch: LatentBatch, gamma: float | None) -> Tensor:
        return denoising_loss(self.unet, self._noise_scheduler, batch.latents, batch.text, batch.noise, batch.timesteps, gamma).mean()

    def configure_optimizers(self):
        optimizer = hydra.utils.instantiate(self._optimizer, self._adapter)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate(self, step: int) -> float:
        config = self._config
        if config.schedule == "constant":
            return warmup_constant(step, config.warmup_steps)
        if config.restart_steps:
            return warmup_restarts(step, config.warmup_steps, config.restart_steps)
        return warmup_cosine(step, config.warmup_steps, config.max_steps, floor=0.0)

    @torch.no_grad()
    def training_loss(self, batches: int = 8) -> float:
        """Mean loss over the first batches, without dropout; the same noise and times whenever it is asked for."""
        was_training = self.unet.training
        self.unet.eval()
        losses = [self._loss(self.transfer_batch_to_device(self._plan.train(i), self.device, 0), None) for i in range(batches)]
        self.unet.train(was_training)
        return float(torch.stack(losses).mean())

    def optimizer_step(self, *args, **kwargs) -> None:
        super().optimizer_step(*args, **kwargs)
        if self._ema:
            self._ema.step(self._adapter)

    def use_ema_weights(self) -> None:
        """Put the averaged weights in place; :meth:`use_trained_weights` takes them off again."""
        if self._ema:
            self._ema.store(self._adapter)
            self._ema.copy_to(self._adapter)

    def use_trained_weights(self) -> None:
        if self._ema:
            self._ema.restore(self._adapter)

    def on_validation_start(self) -> None:
        self.use_ema_weights()

    def on_validation_end(self) -> None:
        self.use_trained_weights()

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """The base never enters a checkpoint."""
        trained = {name for name, p in self.named_parameters() if p.requires_grad}
        checkpoint["state_dict"] = {name: t for name, t in checkpoint["state_dict"].items() if name in trained}
        if self._ema:
            checkpoint["ema"] = self._ema.state_dict()

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        if self._ema:
            self._ema.load_state_dict(checkpoint["ema"])
            self._ema.to(self._adapter[0].device)  # Lightning reads checkpoints to the CPU


@dataclass(frozen=True)
class FinetuneSettings:
    """The groups of a configuration that a fine-tune reads; ``seed`` is the training seed. ``must_learn``: the loss has to fall."""

    seed: int
    lora: LoraConfig
    optimizer: dict[str, Any]
    trainer: TrainerConfig
    objective: ObjectiveConfig
    validation: ValidationConfig
    sampling: SamplingConfig
    must_learn: bool = False


@dataclass(frozen=True)
class FinetuneJob:
    """Everything a fine-tune needs: the frozen base, the cache made with it, the gate, and the settings."""

    base: Base
    cache: LatentCache
    data: DataSet
    gate: Judge
    settings: FinetuneSettings


def finetune(job: FinetuneJob, folder: Path, work: Path, callbacks: list[pl.Callback], logger: Logger | None) -> None:
    """Train an adapter and write the best of it to ``folder/adapter``, with ``history.csv`` and the validation sheets.

    Best is highest before-filter macro-F1 by the gate on the validation slots; with validation off, the last step's.
    ``work`` keeps the checkpoint and the sheets of a training that was cut off; it goes on from there to the same adapter.

    Raises:
        RequestError: Lightning refuses what ``trainer.*`` or the callbacks ask for, or the base what ``lora.*`` does.
        StageError: the loss stopped being finite or (where it must) did not fall, or the checkpoint cannot be read.
    """
    config, base, lora = job.settings, job.base, job.settings.lora
    alpha = lora.alpha or lora.rank
    best, points = BestAdapter(base), ResumePoints(work, config.trainer.checkpoint_every)
    regeneration = [_regeneration(job, work / "validation", best.keep)] if config.validation.every else []
    learning = [FallingLoss(LoraFinetuning.training_loss)] if config.must_learn else []
    trainer = _trainer(config, [*callbacks, *regeneration, *learning, best, points], logger, folder)
    home = base.unet.device
    base.pipeline.to(trainer.strategy.root_device)
    design = AdapterDesign(lora.rank, alpha, lora.dropout, lora.targets, lora.dora, lora.rslora, lora.init)
    parameters = attach(base, design, derive_seed(config.seed, "adapter"))
    if lora.start:
        start_from(base, Path(lora.start))
    if config.trainer.gradient_checkpointing:
        base.unet.enable_gradient_checkpointing()
    timesteps = base.scheduler.config.num_train_timesteps
    plan = BatchPlan(job.cache, config.objective, config.trainer.batch_size, config.seed, timesteps)
    module = LoraFinetuning(base, parameters, plan, config.trainer, config.optimizer)
    trainer.fit(module, ckpt_path=points.checkpoint, weights_only=True)
    base.unet.disable_gradient_checkpointing()
    base.pipeline.to(home)  # Lightning leaves what it trained on the CPU
    if best.state is None:
        module.use_ema_weights()
        best.keep(trainer.global_step)
    best.put_back()
    base.unet.eval()
    card = AdapterCard(
        base=base.identity,
        label_space=job.data.space.name,
        classes=job.data.space.slugs,
        data=job.data.name,
        rank=lora.rank,
        alpha=alpha,
        targets=lora.targets,
        seed=config.seed,
        step=best.step,
    )
    save_adapter(folder / "adapter", base, card)
    if regeneration:
        shutil.copytree(work / "validation", folder, dirs_exist_ok=True)


class BestAdapter(pl.Callback):
    """Holds the tensors of the best adapter so far and the step they come from."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self.state: dict[str, Tensor] | None = None
        self.step = 0

    def keep(self, step: int) -> None:
        self.state, self.step = adapter_state(self._base), step

    def state_dict(self) -> dict[str, Any]:
        return {"state": self.state, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.state, self.step = state_dict["state"], state_dict["step"]

    def put_back(self) -> None:
        """Give the adapter the kept tensors again."""
        assert self.state is not None, "no adapter was kept"
        restore(self._base, self.state)


def _regeneration(job: FinetuneJob, folder: Path, keep_best: Callable[[int], None]) -> RegenerationCallback:
    sampling, space = job.settings.sampling, job.data.space
    prompts = {c.index: job.data.prompts.canonical(c.index) for c in space.classes}
    return RegenerationCallback(
        slots=slots_of(Stream.VAL, prompts, job.settings.validation.n),
        draw=drawer(job.base, job.data.size, sampling),
        judge=job.gate,
        sampling=sampling,
        space=space,
        folder=folder,
        keep_best=keep_best,
    )


def _trainer(config: FinetuneSettings, callbacks: list[pl.Callback], logger: Logger | None, folder: Path) -> pl.Trainer:
    settings = config.trainer
    every = config.validation.every * settings.accumulate
    try:
        return pl.Trainer(
            default_root_dir=str(folder),
            max_steps=settings.max_steps,
            accumulate_grad_batches=settings.accumulate,
            precision=settings.precision,
            gradient_clip_val=settings.gradient_clip_val or None,
            val_check_interval=every or None,
            check_val_every_n_epoch=None,
            limit_val_batches=1.0 if every else 0,
            num_sanity_val_steps=0,
            callbacks=callbacks,
            plugins=[AtomicCheckpoints()],
            logger=logger or False,
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
    asked = {key: value for key in LightningConfig.model_fields if (value := getattr(settings, key)) is not None}
    if settings.profiler:
        asked["profiler"] = _PROFILERS[settings.profiler](folder)
    return {**proposed, **asked}
