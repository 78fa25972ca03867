"""The LightningModule of the fine-tune: a thin layer over the diffusion core. Only the adapter is trained and saved."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pathsynth.config import TrainerConfig
from pathsynth.ledger.seeds import derive_seed
from pathsynth.models.base import Base
from pathsynth.models.diffusion import denoising_loss, encode_prompts, training_scheduler
from pathsynth.training.batches import BatchPlan, LatentBatch
from pathsynth.training.divergence import LossWatch
from pathsynth.training.metric_names import HELD_OUT_LOSS, LOSS
from pathsynth.training.optimizer import adapter_groups, build_optimizer
from pathsynth.training.ranks import mean_over_ranks, share
from pathsynth.training.steps import step_loader, warmup_constant, warmup_cosine, warmup_restarts


class LoraFinetuning(pl.LightningModule):
    """Trains the adapter's parameters; EMA weights, where they are on, are what is validated and exported."""

    strict_loading = False
    embeddings: Tensor

    def __init__(
        self,
        base: Base,
        parameters: list[nn.Parameter],
        plan: BatchPlan,
        trainer_config: TrainerConfig,
        optimizer: dict[str, Any],
        slowed: float = 1.0,
    ) -> None:
        super().__init__()
        self.unet = base.unet
        self.text_encoder = base.text_encoder if base.learns_text else None
        self.register_buffer("embeddings", plan.cache.embeddings, persistent=False)
        self._tokenizer, self._noise_scheduler = base.pipeline.tokenizer, training_scheduler(base.scheduler)
        self._predict = torch.compile(base.unet.forward) if trainer_config.compile else base.unet.forward
        self._adapter = parameters
        self._plan, self._config, self._optimizer, self._slowed = plan, trainer_config, optimizer, slowed
        self._watch = LossWatch(trainer_config.explosion)
        decay = trainer_config.ema_decay
        self._ema = EMAModel(parameters, decay=decay, use_ema_warmup=True, power=0.75) if decay else None

    def train_dataloader(self):
        micro = self._config.max_steps * self._config.accumulate
        done = self.global_step * self._config.accumulate
        return step_loader(lambda step: self._embedded(self._share(self._plan.train(step))), done, micro)

    def val_dataloader(self):
        batches = -(-len(self._plan.cache.val_labels) // self._plan.batch_size)
        return step_loader(lambda step: self._share(self._plan.val(step)), 0, min(batches, 8))

    def _share(self, batch: LatentBatch) -> LatentBatch:
        return LatentBatch(*(share(tensor, self.trainer) for tensor in batch))

    def _embedded(self, batch: LatentBatch) -> LatentBatch:
        """The batch with its captions' embeddings, where images have captions of their own: all of them may be too many for the device."""
        cache = self._plan.cache
        return batch._replace(captions=cache.text(batch.captions)) if cache.own and self.text_encoder is None else batch

    def training_step(self, batch: LatentBatch, batch_index: int) -> Tensor:
        rank = (self.global_rank,) if self.global_rank else ()
        torch.manual_seed(derive_seed(self._plan.seed, "dropout", batch_index, *rank))
        loss = self._loss(batch, self._plan.objective.min_snr_gamma)
        told = mean_over_ranks(loss, self.trainer)
        self._watch.add(told, self.global_step + 1)
        self.log(LOSS, told, prog_bar=True, batch_size=len(batch.latents))
        return loss

    def validation_step(self, batch: LatentBatch, batch_index: int) -> None:
        self.log(HELD_OUT_LOSS, self._loss(batch, None), batch_size=len(batch.latents), sync_dist=self.trainer.world_size > 1)

    def _loss(self, batch: LatentBatch, gamma: float | None) -> Tensor:
        text = self._told(batch.captions)
        return denoising_loss(self._predict, self._noise_scheduler, batch.latents, text, batch.noise, batch.timesteps, gamma).mean()

    def _told(self, captions: Tensor) -> Tensor:
        """What the UNet is told of each image, float (N, T, D): computed in each step where the text encoder learns, else known."""
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
        optimizer = self.build_optimizer()
        schedule = LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate(self, step: int) -> float:
        return self._slowed * _scheduled(self._config, step)

    def on_train_start(self) -> None:
        """A checkpoint brings the rate at which it was written; a training that goes on from it more slowly sets its own."""
        optimizer, schedule = self.optimizers(use_pl_optimizer=False), self.lr_schedulers()
        assert isinstance(optimizer, Optimizer)
        assert isinstance(schedule, LambdaLR)
        for group, first in zip(optimizer.param_groups, schedule.base_lrs, strict=True):
            group["lr"] = first * self._rate(self.global_step)

    @torch.no_grad()
    def training_loss(self, batches: int = 8) -> float:
        """Mean loss over the first batches, without dropout; the same noise and times whenever it is asked for."""
        was_training = self.unet.training
        self.unet.eval()
        first = [self._embedded(self._plan.train(i)) for i in range(batches)]
        losses = [self._loss(self.transfer_batch_to_device(batch, self.device, 0), None) for batch in first]
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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The base never enters a checkpoint."""
        trained = {name for name, p in self.named_parameters() if p.requires_grad}
        checkpoint["state_dict"] = {name: t for name, t in checkpoint["state_dict"].items() if name in trained}
        checkpoint[LossWatch.KEY] = self._watch.state_dict()
        if self._ema:
            checkpoint["ema"] = self._ema.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._watch.load_state_dict(checkpoint[LossWatch.KEY])
        if self._ema:
            self._ema.load_state_dict(checkpoint["ema"])
            self._ema.to(self._adapter[0].device)  # Lightning reads checkpoints to the CPU


def _scheduled(config: TrainerConfig, step: int) -> float:
    """Factor of the learning rate that the schedule gives at a step."""
    if config.schedule == "constant":
        return warmup_constant(step, config.warmup_steps)
    if config.restart_steps:
        return warmup_restarts(step, config.warmup_steps, config.restart_steps)
    return warmup_cosine(step, config.warmup_steps, config.max_steps, floor=0.0)
