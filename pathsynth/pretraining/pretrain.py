"""Pretraining of the embedded base: the decoder on recoloured natural images, then the denoiser on their captions."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from pathsynth.config import PretrainConfig
from pathsynth.data.phantom import phantom_data
from pathsynth.data.tensors import to_float
from pathsynth.ledger.records import Metric
from pathsynth.ledger.seeds import derive_seed
from pathsynth.models.diffusion import denoising_loss, encode_images, encode_prompts
from pathsynth.pretraining.autoencoder import fit_projection, linear_autoencoder
from pathsynth.pretraining.captions import CAPTION_WORDS, compose, measure
from pathsynth.pretraining.cifar import NaturalImages, read_cifar
from pathsynth.pretraining.recolour import recolour, sharpen
from pathsynth.pretraining.stylise import stylise
from pathsynth.pretraining.text_encoder import text_encoder, word_tokenizer
from pathsynth.pretraining.tiny_base import TEXT_WIDTH, save_pipeline, tiny_scheduler, tiny_unet
from pathsynth.training.averaging import AveragedModule
from pathsynth.training.distributed import launcher_environment
from pathsynth.training.resume import AtomicCheckpoints, ResumePoints
from pathsynth.training.steps import step_generator, step_loader, warmup_cosine
from pathsynth.vocabulary.words import whole_words

STYLISED = 0.6
"""Share of the natural images that go through a graphic filter (:mod:`pathsynth.pretraining.stylise`)."""


class CaptionedBatch(NamedTuple):
    """``images`` float (N, 3, 32, 32) in [0, 1], their ``captions``, and the ``step`` they belong to."""

    images: Tensor
    captions: list[str]
    step: int


def captioned_batch(natural: NaturalImages, seed: int, step: int, size: int) -> CaptionedBatch:
    """The batch of one step: random images, flipped, recoloured and filtered at random, captioned by what they look like then."""
    generator = step_generator(seed, "pretrain", step)
    rows = torch.randint(len(natural.images), (size,), generator=generator).numpy()
    images = to_float(natural.images[rows])
    flipped = (torch.rand(size, generator=generator) < 0.5).view(-1, 1, 1, 1)
    images = recolour(torch.where(flipped, images.flip(3), images), 0.6, generator)
    sharp = torch.rand(size, generator=generator) * 3 - 2
    styled = stylise(sharpen(images, sharp.clamp(min=0)), STYLISED, generator)
    rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    captions = compose(measure(styled.images), styled.phrases, natural.labels[rows], rng, empty_share=0.1)
    return CaptionedBatch(styled.images, captions, step)


class DenoiserPretraining(AveragedModule):
    """UNet and text encoder learn together to denoise captioned natural images; EMA weights are what is shipped."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        vae: AutoencoderTiny,
        train: NaturalImages,
        held_out: NaturalImages,
        *,
        seed: int,
        batch_size: int,
        steps: int,
        learning_rate: float,
        ema_decay: float,
    ) -> None:
        super().__init__()
        self.unet, self.encoder = unet, encoder
        self._fixed = (tokenizer, vae.eval().requires_grad_(False))
        self._data = (train, held_out)
        self.seed, self.batch_size, self.steps, self.learning_rate = seed, batch_size, steps, learning_rate
        self.noise_scheduler = tiny_scheduler()
        self.average(self._trained(), ema_decay)

    def _trained(self) -> list[torch.nn.Parameter]:
        return [p for p in (*self.unet.parameters(), *self.encoder.parameters()) if p.requires_grad]

    def train_dataloader(self):
        """Batches from the current step on."""
        return step_loader(lambda step: captioned_batch(self._data[0], self.seed, step, self.batch_size), self.global_step, self.steps)

    def val_dataloader(self):
        """Four batches of 128 images; the same at each validation."""
        return step_loader(lambda step: captioned_batch(self._data[1], self.seed, step, 128), 0, 4)

    def training_step(self, batch: CaptionedBatch, _: int) -> Tensor:
        """Loss of a batch, with noise that depends on the step alone."""
        loss = self._loss(batch, "noise")
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: CaptionedBatch, _: int) -> None:
        """Log the loss of a held-out batch, always with the same noise."""
        self.log("val/loss", self._loss(batch, "held-out noise"), prog_bar=True, batch_size=len(batch.captions))

    def _loss(self, batch: CaptionedBatch, stream: str) -> Tensor:
        tokenizer, vae = self._fixed
        generator = step_generator(self.seed, stream, batch.step)
        latents = encode_images(vae, batch.images)
        noise = torch.randn(latents.shape, generator=generator)
        timesteps = torch.randint(self.noise_scheduler.config.num_train_timesteps, (len(latents),), generator=generator)
        text = encode_prompts(tokenizer, self.encoder, batch.captions)
        return denoising_loss(self.unet, self.noise_scheduler, latents, text, noise, timesteps).mean()

    def configure_optimizers(self):
        """AdamW with warm-up and cosine."""
        optimizer = torch.optim.AdamW(self._trained(), lr=self.learning_rate, weight_decay=0.01, betas=(0.9, 0.99))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, 200, self.steps, 0.02))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class DecoderPretraining(AveragedModule):
    """The decoder learns to beat the linear map it starts from; the encoder, and so every latent, stays as it is."""

    def __init__(
        self,
        vae: AutoencoderTiny,
        images_of_step: Callable[[int], Tensor],
        held_out: dict[str, Tensor],
        seed: int,
        steps: int,
        learning_rate: float,
        latent_noise: float,
    ) -> None:
        super().__init__()
        self.vae = vae
        self.vae.encoder.requires_grad_(False)
        self._images_of_step, self._held_out = images_of_step, held_out
        self.seed, self.steps, self.learning_rate, self.latent_noise = seed, steps, learning_rate, latent_noise
        self.average(list(self.vae.decoder.parameters()), 0.995)

    def train_dataloader(self):
        """Batches from the current step on, each with its step."""
        return step_loader(lambda step: (step, self._images_of_step(step)), self.global_step, self.steps)

    def val_dataloader(self):
        """One batch for each set of held-out images, with its name."""
        return step_loader(lambda step: list(self._held_out.items())[step], 0, len(self._held_out))

    def training_step(self, batch: tuple[int, Tensor], _: int) -> Tensor:
        """L1 plus squared error in [0, 1] units; a little latent noise, as a denoiser leaves some."""
        step, images = batch
        generator = step_generator(self.seed, "decoder", step)
        with torch.no_grad():
            latents = self.vae.encode(images * 2 - 1).latents
        level = torch.rand(len(images), 1, 1, 1, generator=generator) * self.latent_noise / self.vae.config.scaling_factor
        latents = latents + level * torch.randn(latents.shape, generator=generator)
        error = self.vae.decode(latents).sample / 2 + 0.5 - images
        loss = error.abs().mean() + 10 * error.pow(2).mean()
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[str, Tensor], _: int) -> None:
        """Log the PSNR of the decoded images in dB."""
        name, images = batch
        decoded = (self.vae.decode(self.vae.encode(images * 2 - 1).latents).sample / 2 + 0.5).clamp(0, 1)
        psnr = -10 * torch.log10((decoded - images).pow(2).mean())
        self.log(f"val/psnr_{name}", psnr, prog_bar=True, batch_size=len(images))

    def configure_optimizers(self):
        """AdamW on the decoder alone, with warm-up and cosine."""
        optimizer = torch.optim.AdamW(self.vae.decoder.parameters(), lr=self.learning_rate, weight_decay=0.0, betas=(0.9, 0.99))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, 50, self.steps, 0.02))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@dataclass(frozen=True)
class BaseParts:
    """The pieces of the embedded base, freshly made from a seed."""

    vae: AutoencoderTiny
    tokenizer: CLIPTokenizer
    encoder: CLIPTextModel
    unet: UNet2DConditionModel


def fresh_parts(train: NaturalImages, phantoms: Tensor, config: PretrainConfig) -> BaseParts:
    """Fit the patch projection on recoloured natural images and half as many phantoms, and initialise the rest from the seed.

    Filtered images stay out: their hard edges would cost natural images two decibels.
    """
    torch.manual_seed(config.seed)
    natural = recolour(to_float(train.images[::5]), 0.6, step_generator(config.seed, "projection", 0))
    images = torch.cat([natural, phantoms[: len(natural) // 2]])
    vae = linear_autoencoder(fit_projection(images, config.latent_channels))
    tokenizer = word_tokenizer(whole_words(CAPTION_WORDS))
    encoder = text_encoder(tokenizer, TEXT_WIDTH, config.seed)
    return BaseParts(vae, tokenizer, encoder, tiny_unet(config.latent_channels, config.channels))


def decoder_images(train: NaturalImages, phantoms: Tensor, seed: int, step: int, size: int = 32) -> Tensor:
    """The autoencoder's images of one step: float (size, 3, 32, 32) in [0, 1].

    A quarter are phantoms; the rest are natural, recoloured and sharpened more than the denoiser's, some filtered.
    """
    generator = step_generator(seed, "decoder images", step)
    rows = torch.randint(len(train.images), (size - size // 4,), generator=generator).numpy()
    images = recolour(to_float(train.images[rows]), 0.7, generator)
    images = sharpen(images, (torch.rand(len(images), generator=generator) * 4 - 1.5).clamp(min=0))
    natural = stylise(images, 0.4, generator).images
    drawn = phantoms[torch.randint(len(phantoms), (size // 4,), generator=generator)]
    return torch.cat([natural, recolour(drawn, 0.3, generator)])


def autoencoder_phantoms(seed: int, split: str, n: int) -> Tensor:
    """Phantoms of a seed of their own, so that none of them is in a phantom data set: float (n, 3, 32, 32) in [0, 1]."""
    phantom_seed = derive_seed(seed, "autoencoder phantoms") % 2**31
    return to_float(phantom_data(32, n, n, n, phantom_seed).split(split).images[:])


def denoiser_of(parts: BaseParts, train: NaturalImages, held_out: NaturalImages, config: PretrainConfig) -> DenoiserPretraining:
    """The training of the base's UNet and text encoder on the latents of its autoencoder."""
    return DenoiserPretraining(
        parts.unet,
        parts.encoder,
        parts.tokenizer,
        parts.vae,
        train,
        held_out,
        seed=config.seed,
        batch_size=config.batch_size,
        steps=config.steps,
        learning_rate=config.lr,
        ema_decay=0.999,
    )


def pretrain_base(config: PretrainConfig, archive: Path, folder: Path, work: Path, progress: Callable[[str], list[pl.Callback]]) -> None:
    """Train decoder and denoiser and write the base to ``folder/base``; checkpoints lie in ``work`` and are resumed from.

    Raises:
        RequestError: the archive of natural images is missing or damaged.
    """
    train, held_out = read_cifar(archive, "train"), read_cifar(archive, "test")
    phantoms = autoencoder_phantoms(config.seed, "train", 9000)
    parts = fresh_parts(train, phantoms, config)
    decoder = DecoderPretraining(
        parts.vae,
        lambda step: decoder_images(train, phantoms, config.seed, step),
        {"cifar": to_float(held_out.images[:500]), "phantom": autoencoder_phantoms(config.seed, "test", 450)},
        config.seed,
        config.decoder_steps,
        config.decoder_lr,
        latent_noise=0.1,
    )
    fit_averaged("decoder", decoder, config.decoder_steps, work / "decoder", folder, progress("decoder"))
    denoiser = denoiser_of(parts, train, held_out, config)
    fit_averaged("denoiser", denoiser, config.steps, work / "denoiser", folder, progress("denoiser"))
    save_pipeline(folder / "base", parts.unet, parts.vae, parts.encoder, parts.tokenizer)


def pretrain_metrics(folder: Path, seed: int) -> list[Metric]:
    """The last validation of decoder (PSNR in dB) and denoiser (mean squared error of v) in ``folder``'s logs, on held-out images."""
    measured = (
        ("decoder", "val/psnr_cifar", "psnr", 500, "CIFAR-10"),
        ("decoder", "val/psnr_phantom", "psnr", 450, "phantom 32 px"),
        ("denoiser", "val/loss", "held_out_loss", 512, "CIFAR-10"),
    )
    return [
        Metric(metric=metric, value=_last(folder / log / "metrics.csv", key), n=n, unit="image", split="test", data=data, seed=seed)
        for log, key, metric, n, data in measured
    ]


def _last(log: Path, key: str) -> float:
    """The last value of a column of a CSV log."""
    with log.open(newline="") as handle:
        values = [row[key] for row in csv.DictReader(handle) if row.get(key)]
    return float(values[-1])


def fit_averaged(name: str, module: AveragedModule, steps: int, work: Path, folder: Path, progress: list[pl.Callback]) -> None:
    """Train to ``steps``, from the last checkpoint in ``work`` if there is one, and leave the averaged weights in place.

    Losses go to ``folder/<name>/metrics.csv``.
    """
    points = ResumePoints(work, every=100)
    trainer = pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        callbacks=[*progress, points],
        plugins=[AtomicCheckpoints(), launcher_environment()],
        enable_checkpointing=False,
        logger=CSVLogger(str(folder), name=name, version=""),
        val_check_interval=min(250, steps),
        check_val_every_n_epoch=None,
        gradient_clip_val=1.0,
        num_sanity_val_steps=0,
        log_every_n_steps=50,
        enable_model_summary=False,
    )
    trainer.fit(module, ckpt_path=points.checkpoint, weights_only=True)
    module.use_averaged_weights()
