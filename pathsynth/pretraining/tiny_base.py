"""The embedded base's own architecture: a small UNet on 8×8 latents, its schedule, and the pipeline around it."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

TEXT_WIDTH = 128


def tiny_unet(latent_channels: int, channels: tuple[int, ...]) -> UNet2DConditionModel:
    """Two layers a block, cross-attention at every level, heads of 32 channels."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=channels,
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D",) * len(channels),
        up_block_types=("CrossAttnUpBlock2D",) * len(channels),
        cross_attention_dim=TEXT_WIDTH,
        # diffusers reads this argument as the number of heads
        attention_head_dim=tuple(c // 32 for c in channels),
        norm_num_groups=16,
    )


def tiny_scheduler() -> DDIMScheduler:
    """v-prediction on betas rescaled to zero terminal SNR, sampled at trailing timesteps (Lin et al., arXiv 2305.08891).

    With the usual betas the last step still lets the latent's mean through, and on 8×8 latents the mean of the initial
    noise then sets the colour, and the prompt does not.
    """
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def save_pipeline(
    folder: Path,
    unet: UNet2DConditionModel,
    vae: AutoencoderTiny,
    encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
) -> None:
    """Write the base in diffusers layout as safetensors, the UNet in fp16.

    The autoencoder stays in fp32: its decoder tells a pixel's place in its cell by differences that fp16 rounds away, at a
    cost of two decibels. The small text encoder does too: transformers loads what the file holds, diffusers always fp32, and
    a plain ``from_pretrained`` would otherwise mix the two.
    """
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=tiny_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    unet.to(torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
