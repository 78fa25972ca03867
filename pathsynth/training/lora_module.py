"""The LightningModule of the fine-tune: a thin layer over the diffusion core. Only the adapter is trained and saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pathsynth.config import TrainingConfig
from pathsynth.ledger.seeds import derive_seed
from pathsynth.models.base import Base
from pathsynth.models.diffusion import denoising_loss, encode_prompts, training_scheduler
from pathsynth.tracking.metric_names import HELD_OUT_LOSS, LOSS
from pathsynth.training.averaging import AveragedModule
from pathsynth.training.batches import BatchPlan, LatentBatch
from pathsynth.training.distributed import mean_over_ranks, share
from pathsynth.training.divergence import LossWatch
from pathsynth.training.optimizer import adapter_groups, build_optimizer
from pathsynth.training.schedules import build_schedule, step_schedule
from pathsynth.training.steps import step_loader


@dataclass(frozen=True)
class FinetuneParts:
    """What the program gives the module of a fine-tune.

    ``parameters``: the adapter's tensors, attached to the modules of ``base``. ``plan``: the batches, functions of seed and step, and
    the objective. ``training``, ``optimizer`` and ``schedule``: those groups of the configuration. ``slowed``: factor of the learning
    rate, after a training that diverged.
    """

    base: Base
    parameters: list[nn.Parameter]
    plan: BatchPlan
    training: TrainingConfig
    optimizer: Mapping[str, Any]
    schedule: Mapping[str, Any]
    slowed: float = 1.0


class LoraFinetuning(AveragedModule):
    """Trains the adapter's parameters; averaged weights, where they are on, are validated and exported.

    A class made from this one may have a :meth:`loss` of its own, from :meth:`denoising_errors` or from the batch itself; it passes
    ``parts`` on.
    """

    strict_loading = False
    embeddings: Tensor

    def __init__(self, parts: FinetuneParts) -> None:
        super().__init__()
        base, plan, config = parts.base, parts.plan, parts.training
        self.unet = base.unet
        self.text_encoder = base.text_encoder if base.learns_text else None
        self.register_buffer("embeddings", plan.cache.embeddings, persistent=False)
        self.noise_scheduler = training_scheduler(base.scheduler)
        self._tokenizer = base.pipeline.tokenizer
        self._predict = torch.compile(base.unet.forward) if config.compile else base.unet.forward
        self._adapter = parts.parameters
        self._plan = plan
        self._optimizer, self._schedule, self._slowed = parts.optimizer, parts.schedule, parts.slowed
        self._watch = LossWatch(config.explosion)
        self.average(parts.parameters, config.ema_decay)

    def train_dataloader(self):
        """This rank's share of each micro-batch, from the current step on."""
        accumulated = self.trainer.accumulate_grad_batches
        micro, done = self.trainer.max_steps * accumulated, self.global_step * accumulated
        return step_loader(lambda step: self._embedded(self._share(self._plan.train(step))), done, micro)

    def val_dataloader(self):
        """At most eight batches, the same at each validation."""
        batches = -(-len(self._plan.cache.val_labels) // self._plan.batch_size)
        return step_loader(lambda step: self._share(self._plan.val(step)), 0, min(batches, 8))

    def _share(self, batch: LatentBatch) -> LatentBatch:
        return LatentBatch(*(share(tensor, self.trainer) for tensor in batch))

    def _embedded(self, batch: LatentBatch) -> LatentBatch:
        """The batch with its captions' embeddings, where images have captions of their own: all of them may be too many for the device."""
        cache = self._plan.cache
        return batch._replace(captions=cache.text(batch.captions)) if cache.caption_table and self.text_encoder is None else batch

    def training_step(self, batch: LatentBatch, batch_index: int) -> Tensor:
        """Loss of this rank's share; follows the mean over ranks for divergence."""
        rank = (self.global_rank,) if self.global_rank else ()
        torch.manual_seed(derive_seed(self._plan.seed, "dropout", batch_index, *rank))
        loss = self.loss(batch)
        mean_loss = mean_over_ranks(loss, self.trainer)
        self._watch.add(mean_loss, self.global_step + 1)
        self.log(LOSS, mean_loss, prog_bar=True, batch_size=len(batch.latents))
        return loss

    def validation_step(self, batch: LatentBatch, batch_index: int) -> None:
        """The held-out loss is always the plain one, so that trainings with different losses can be compared."""
        self.log(HELD_OUT_LOSS, self.denoising_errors(batch).mean(), batch_size=len(batch.latents), sync_dist=self.trainer.world_size > 1)

    def loss(self, batch: LatentBatch) -> Tensor:
        """What a training step minimises, of this device's share of the batch: float ()."""
        return self.denoising_errors(batch, self._plan.objective.min_snr_gamma).mean()

    def denoising_errors(self, batch: LatentBatch, min_snr_gamma: float | None = None) -> Tensor:
        """The mean squared error of each image's prediction, weighted as min-SNR says where that is on: float (N,)."""
        text = self._text_of(batch.captions)
        return denoising_loss(self._predict, self.noise_scheduler, batch.latents, text, batch.noise, batch.timesteps, min_snr_gamma)

    def _text_of(self, captions: Tensor) -> Tensor:
        """The text that the UNet gets with each image, float (N, T, D): computed in each step where the text encoder learns, else known."""
        if captions.is_floating_point():
            return captions
        if self.text_encoder is None:
            return self.embeddings[captions]
        rows, place = captions.unique(return_inverse=True)
        prompts = [self._plan.cache.prompts[row] for row in rows.tolist()]
        return encode_prompts(self._tokenizer, self.text_encoder, prompts)[place]

    def build_optimizer(self) -> Optimizer:
        """A new optimizer over the adapter's tensors, in named groups."""
        return build_optimizer(self._optimizer, adapter_groups(self.named_parameters()))

    def configure_optimizers(self):
        """The configured optimizer and learning-rate schedule."""
        optimizer = self.build_optimizer()
        schedule = build_schedule(self._schedule, optimizer, self._slowed)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """After each optimizer step."""
        if not step_schedule(scheduler, self.global_step):
            super().lr_scheduler_step(scheduler, metric)

    def on_train_start(self) -> None:
        """A checkpoint brings the rate at which it was written; a training that continues from it more slowly sets its own."""
        optimizer, schedule = self.optimizers(use_pl_optimizer=False), self.lr_schedulers()
        assert isinstance(optimizer, Optimizer)
        if isinstance(schedule, LambdaLR):  # others are never slowed
            for group, first, factor in zip(optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True):
                group["lr"] = first * factor(self.global_step)

    @torch.no_grad()
    def training_loss(self, batches: int = 8) -> float:
        """Mean loss over the first batches, without dropout; the same noise and times at every call."""
        was_training = self.unet.training
        self.unet.eval()
        first = [self._embedded(self._plan.train(i)) for i in range(batches)]
        losses = [self.denoising_errors(self.transfer_batch_to_device(batch, self.device, 0)).mean() for batch in first]
        self.unet.train(was_training)
        return float(torch.stack(losses).mean())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The base never enters a checkpoint."""
        super().on_save_checkpoint(checkpoint)
        trained = {name for name, p in self.named_parameters() if p.requires_grad}
        checkpoint["state_dict"] = {name: t for name, t in checkpoint["state_dict"].items() if name in trained}
        checkpoint[LossWatch.KEY] = self._watch.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the averaged weights and the running mean of the loss."""
        super().on_load_checkpoint(checkpoint)
        self._watch.load_state_dict(checkpoint[LossWatch.KEY])
