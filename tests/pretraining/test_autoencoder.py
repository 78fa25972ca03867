"""The linear autoencoder inside AutoencoderTiny: exact, of unit variance, and a start that training can leave."""

from __future__ import annotations

import pytest
import torch

from pathsynth.models.diffusion import decode_latents, encode_images
from pathsynth.pretraining.autoencoder import SCALING_FACTOR, fit_projection, linear_autoencoder, reconstruct_linearly


def smooth_images(n: int, size: int, seed: int) -> torch.Tensor:
    """Float (n, 3, size, size) in [0.1, 0.9] with detail at every scale."""
    generator = torch.Generator().manual_seed(seed)
    layers = [
        torch.nn.functional.interpolate(torch.rand(n, 3, s, s, generator=generator), size=size, mode="bilinear") for s in (4, 8, size)
    ]
    return (0.1 + 0.8 * (0.5 * layers[0] + 0.35 * layers[1] + 0.15 * layers[2])).clamp(0, 1)


@pytest.fixture(scope="module")
def projection():
    return fit_projection(smooth_images(64, 32, seed=0), channels=16)


def test_latents_are_the_whitened_projection(projection):
    images = smooth_images(64, 32, seed=0)
    latents = encode_images(linear_autoencoder(projection), images)
    assert latents.shape == (64, 16, 8, 8)
    assert torch.allclose(latents.std(dim=(0, 2, 3)), torch.ones(16), atol=0.01)
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 0.01


@pytest.mark.parametrize("size", [32, 28, 40])
def test_decoder_starts_as_the_exact_inverse(projection, size):
    """Up to the soft clamp 3·tanh(x/3) at the decoder's entrance, every child pixel of every cell comes out right."""
    images = smooth_images(8, size, seed=1)
    vae = linear_autoencoder(projection)
    with torch.no_grad():
        raw = vae.encode(images * 2 - 1).latents
        unclamped = 3 * torch.atanh((raw / 3).clamp(-0.99, 0.99))
        decoded = (vae.decode(unclamped).sample / 2 + 0.5).clamp(0, 1)
    assert (decoded - reconstruct_linearly(projection, images)).abs().max() < 2e-3


def test_more_decoder_blocks_keep_the_exact_start(projection):
    torch.manual_seed(3)
    images = smooth_images(4, 32, seed=2)
    short, long = (linear_autoencoder(projection, blocks) for blocks in ((3, 1, 1), (4, 2, 2)))
    with torch.no_grad():
        outputs = [decode_latents(vae, encode_images(vae, images)) for vae in (short, long)]
    assert (outputs[0] - outputs[1]).abs().max() < 1e-4


def test_every_decoder_layer_has_a_gradient(projection):
    vae = linear_autoencoder(projection)
    images = smooth_images(4, 32, seed=4)
    loss = (vae.decode(vae.encode(images * 2 - 1).latents).sample / 2 + 0.5 - images).pow(2).mean()
    loss.backward()
    still = [name for name, p in vae.decoder.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    # first-layer weights of the ramp rows are constants of the architecture, yet every tensor as a whole must move
    assert still == []


def test_scaling_factor_is_the_pipelines(projection):
    assert linear_autoencoder(projection).config.scaling_factor == SCALING_FACTOR


def test_a_mixed_training_leaves_the_autoencoder_its_precision(projection):
    vae, images = linear_autoencoder(projection), smooth_images(4, 32, seed=0)
    latents = encode_images(vae, images)
    decoded = decode_latents(vae, latents)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encode_images(vae, images), latents)
        assert torch.equal(decode_latents(vae, latents), decoded)
