"""The diffusion core in plain torch: noise a latent, predict, and weigh the error. No Lightning here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from pathsynth.models.decoder_tiles import latent_stride

_OVERLAP = 0.25
"""Of two tiles that are decoded side by side, as a share of a tile: more of it costs more than it gains."""


def denoising_loss(
    unet: Callable[..., Any],
    scheduler,
    latents: Tensor,
    text: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    min_snr_gamma: float | None = None,
) -> Tensor:
    """Mean squared error of the UNet's prediction, one value an image.

    Args:
        unet: predicts what ``scheduler.config.prediction_type`` says (epsilon or v_prediction).
        scheduler: a diffusers noise scheduler with ``add_noise``, ``get_velocity`` and ``alphas_cumprod``.
        latents: float (N, C, H, W), unit variance.
        text: float (N, T, D), the text encoder's last hidden states.
        noise: float, shaped like ``latents``.
        timesteps: int64 (N,) in [0, num_train_timesteps).
        min_snr_gamma: weight of Hang et al., arXiv 2303.09556 (None: all timesteps weigh the same).

    Returns:
        float (N,).

    Raises:
        ValueError: the scheduler predicts something else.
    """
    noisy = scheduler.add_noise(latents, noise, timesteps)
    prediction = unet(noisy, timesteps, text).sample
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        target = noise
    elif kind == "v_prediction":
        target = scheduler.get_velocity(latents, noise, timesteps)
    else:
        raise ValueError(f"prediction type {kind} is not supported; use a base with epsilon or v_prediction")
    error = (prediction.float() - target.float()).pow(2).mean(dim=(1, 2, 3))
    if min_snr_gamma is None:
        return error
    return error * min_snr_weights(scheduler, timesteps, min_snr_gamma, kind)


def training_scheduler(scheduler: Any) -> DDPMScheduler:
    """What noises latents in training, on the noise schedule of a base's own ``scheduler``.

    Samplers that work with the standard deviation of the noise (Euler, Heun, LMS) add it to latents that they do not scale, and some
    cannot give a velocity; a base is trained on latents of unit variance (Ho et al., arXiv 2006.11239, equation 4), with every sampler.
    """
    return DDPMScheduler.from_config(scheduler.config)


def min_snr_weights(scheduler, timesteps: Tensor, gamma: float, kind: str) -> Tensor:
    """min(SNR, γ)/SNR for epsilon, min(SNR, γ)/(SNR + 1) for v-prediction: float (N,). SNR 0 (zero-terminal) is allowed."""
    alphas = scheduler.alphas_cumprod.to(timesteps.device)[timesteps].float()
    snr = alphas / (1 - alphas).clamp(min=1e-12)
    capped = snr.clamp(max=gamma)
    return capped / snr.clamp(min=1e-8) if kind == "epsilon" else capped / (snr + 1)


def encode_prompts(tokenizer, text_encoder: nn.Module, prompts: list[str]) -> Tensor:
    """Last hidden states (N, T, D) of the prompts, padded and cut to the tokenizer's length."""
    tokens = tokenizer(prompts, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt")
    ids = tokens.input_ids.to(next(text_encoder.parameters()).device)
    return text_encoder(ids)[0]


def _full_precision(tensor: Tensor) -> torch.autocast:
    """An autoencoder computes in the type of its weights, also in mixed precision: in fp16 some overflow."""
    return torch.autocast(tensor.device.type, enabled=False)


@contextmanager
def _tiled(vae: Any, tile: int) -> Iterator[None]:
    """Have diffusers decode in tiles meanwhile; its encoder would take latents of four channels for granted, and needs no tiles."""
    vae.spatial_scale_factor = latent_stride(vae.config)  # diffusers computes it from the number of an image's channels
    vae.tile_latent_min_size, vae.tile_overlap_factor = tile // vae.spatial_scale_factor, _OVERLAP
    vae.enable_tiling()
    try:
        yield
    finally:
        vae.disable_tiling()


@torch.no_grad()
def encode_images(vae: Any, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Latents (N, C, H/f, W/f) of unit variance from float images (N, 3, H, W) in [0, 1].

    ``vae`` is a diffusers autoencoder. A variational one's posterior is sampled with ``generator``; one without a posterior
    (AutoencoderTiny) is exact.
    """
    with _full_precision(images):
        encoded = vae.encode(images.to(next(vae.parameters()).dtype) * 2 - 1)
    latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.sample(generator)
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    return (latents - shift) * vae.config.scaling_factor


@torch.no_grad()
def decode_latents(vae: Any, latents: Tensor, tile: int | None = None) -> Tensor:
    """Float images (N, 3, H, W) in [0, 1] from latents of unit variance; NaN stays NaN.

    ``tile``: pixels of the tiles that an AutoencoderTiny decodes one by one; they overlap by a quarter. None: it decodes images whole.
    """
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    with _full_precision(latents), _tiled(vae, tile) if tile else nullcontext():
        decoded = vae.decode((latents / vae.config.scaling_factor + shift).to(next(vae.parameters()).dtype)).sample
    return (decoded.float() / 2 + 0.5).clamp(0, 1)
