"""The shipped base was made for 32 px. What is larger is decoded in tiles, else a border runs through its middle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pathsynth.config.shipped import assets_folder
from pathsynth.data.phantom.images import phantom_data
from pathsynth.models.base import Base, load_base, reconstructed
from pathsynth.models.decoder_tiles import decoder_tile


def shipped(size: int) -> Base:
    return load_base(str(assets_folder() / "tiny"), None, "base", None, size)


def psnr(images: np.ndarray, others: np.ndarray) -> float:
    return float(-10 * np.log10((((images.astype(float) - others) / 255) ** 2).mean()))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return phantom_data(96, 9, 9, 9, seed=0).split("train").images


@pytest.mark.parametrize("size", [36, 64, 96])
def test_large_images_lose_no_more_in_the_autoencoder_than_small_ones(images, size):
    small, large, base = images[:, :32, :32], images[:, :size, :size], shipped(size)
    in_tiles = psnr(large, reconstructed(base, large))
    assert in_tiles > psnr(small, reconstructed(shipped(32), small)) - 4
    assert psnr(large, reconstructed(replace(base, tile=None), large)) < in_tiles - 10, "in one piece"


def test_an_image_as_large_as_those_of_the_training_is_decoded_whole():
    base = shipped(32)
    assert base.tile is None and shipped(28).tile is None and shipped(33).tile == 32
    assert not base.pipeline.vae.use_tiling


@pytest.mark.parametrize(
    "vae, sample_size, canvas, tile",
    [
        ("AutoencoderTiny", 64, 512, None),
        ("AutoencoderTiny", 64, 768, 512),
        ("AutoencoderKL", 64, 768, None),
        ("AutoencoderTiny", None, 768, None),
    ],
)
def test_tiles_are_for_small_decoders_beyond_their_size(vae, sample_size, canvas, tile):
    assert decoder_tile({"_class_name": vae, "block_out_channels": [1] * 4}, {"sample_size": sample_size}, canvas) == tile
