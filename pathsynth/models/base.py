"""The base: a frozen text-to-image pipeline in diffusers layout, from a folder or from the hub's cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from pathsynth.data.images import Images
from pathsynth.data.tensors import crop_to, pad_to, to_float, to_uint8
from pathsynth.ledger.errors import RequestError
from pathsynth.models.decoder_tiles import canvas_of, decoder_tile
from pathsynth.models.diffusion import decode_latents, encode_images, encode_prompts

_BATCH = 64


@dataclass(frozen=True)
class Base:
    """A loaded base. ``canvas`` is the size in pixels at which it draws; ``identity`` is what an adapter belongs to.

    ``tile``: pixels of the tiles in which it decodes an image; None: it decodes images whole.
    """

    pipeline: StableDiffusionPipeline
    identity: str
    canvas: int
    tile: int | None = None

    @property
    def unet(self):
        """The denoiser."""
        return self.pipeline.unet

    @property
    def text_encoder(self):
        """The text encoder, which embeds prompts."""
        return self.pipeline.text_encoder

    @property
    def learns_text(self) -> bool:
        """Whether the text encoder has weights in training, so that a prompt's embedding changes."""
        return any(p.requires_grad for p in self.text_encoder.parameters())

    @property
    def scheduler(self):
        """The noise scheduler that the base was trained with."""
        return self.pipeline.scheduler

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image's latent."""
        side = self.canvas // self.pipeline.vae_scale_factor
        return (self.unet.config.in_channels, side, side)

    @torch.no_grad()
    def embed(self, prompts: list[str]) -> torch.Tensor:
        """Last hidden states (N, T, D) of the prompts."""
        return encode_prompts(self.pipeline.tokenizer, self.text_encoder, prompts)

    def encode(self, images: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Latents of unit variance from float images (N, 3, canvas, canvas) in [0, 1]."""
        return encode_images(self.pipeline.vae, images, generator)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Float images (N, 3, canvas, canvas) in [0, 1]."""
        return decode_latents(self.pipeline.vae, latents, self.tile)


@torch.no_grad()
def reconstructed(base: Base, images: Images) -> np.ndarray:
    """uint8 images (N, S, S, 3) through the autoencoder and back; what is smaller than the canvas is padded by reflection."""
    device, size = base.unet.device, images.shape[1]
    batches = (pad_to(to_float(images[i : i + _BATCH]), base.canvas).to(device) for i in range(0, len(images), _BATCH))
    return np.concatenate([to_uint8(crop_to(base.decode(base.encode(batch)).cpu(), size)) for batch in batches])


def load_base(source: str, revision: str | None, identity: str, canvas: int | None, image_size: int) -> Base:
    """Load a frozen base in fp32 on the CPU or, where there is one, on the GPU.

    Args:
        source: a folder in diffusers layout, or a hub id.
        revision: the hub commit; None for a folder.
        identity: hash or hub revision that adapters are tied to.
        canvas: pixels at which images are drawn; None rounds ``image_size`` up to a multiple of the latent stride.
        image_size: pixels of the data set's images.

    Raises:
        RequestError: the folder is incomplete, or the hub's files are neither cached nor reachable.
    """
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    is_folder = Path(source).is_dir()
    try:
        pipeline = StableDiffusionPipeline.from_pretrained(
            source,
            revision=revision,
            dtype=torch.float32,
            local_files_only=is_folder,
            use_safetensors=True,
            safety_checker=None,
            requires_safety_checker=False,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        what = "is incomplete or damaged" if is_folder else "is neither in the hub's cache nor reachable"
        raise RequestError(f"base {source} {what} ({reason}); set base.path to a complete diffusers folder") from error
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.eval().requires_grad_(False)
    pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
    drawn = canvas or canvas_of(image_size, pipeline.vae_scale_factor)
    vae = {**pipeline.vae.config, "_class_name": type(pipeline.vae).__name__}
    return Base(pipeline, identity, drawn, decoder_tile(vae, pipeline.unet.config, drawn))
