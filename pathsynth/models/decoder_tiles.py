"""Which bases decode a large image in tiles. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def decoder_tile(vae: Mapping[str, Any], unet: Mapping[str, Any], canvas: int) -> int | None:
    """Pixels of a side of the tiles in which an image of ``canvas`` pixels is decoded; None: it is decoded whole.

    The small decoder of an AutoencoderTiny knows how far a place is from the border of the images that it was trained on. Beyond that
    distance it draws a border in the middle of the image, and blocks behind it. So it gets tiles of the size that it knows.

    Args:
        vae: the autoencoder's configuration in diffusers layout.
        unet: the denoiser's, whose ``sample_size`` says for which latents the base was made.
        canvas: pixels at which images are drawn.
    """
    if vae.get("_class_name") != "AutoencoderTiny" or not isinstance(unet.get("sample_size"), int):
        return None
    known = unet["sample_size"] * latent_stride(vae)
    return known if canvas > known else None


def latent_stride(vae: Mapping[str, Any]) -> int:
    """Pixels of an image for one of its latent, along a side."""
    return int(2 ** (len(vae["block_out_channels"]) - 1))


def canvas_of(size: int, stride: int) -> int:
    """Pixels at which images of ``size`` pixels are drawn: the next multiple of the latents' stride."""
    return -(-size // stride) * stride
