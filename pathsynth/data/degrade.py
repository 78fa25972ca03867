"""Slight loss of focus and sensor noise: what a classifier must not mistake for tissue, and an autoencoder always adds or removes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def degrade(images: Tensor, blur: float, noise: float, generator: torch.Generator) -> Tensor:
    """Blend each image with its 3×3 mean, then add Gaussian noise, both as strong as drawn for that image.

    Args:
        images: float (N, C, H, W) in [0, 1].
        blur: largest share of the 3×3 mean, in [0, 1]; half of the images get none.
        noise: largest standard deviation, in units of the range.
        generator: the source of every random number.

    Returns:
        float (N, C, H, W) in [0, 1].
    """

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(len(images), 1, 1, 1, generator=generator) * (high - low) + low

    share = uniform(-blur, blur).clamp(min=0)
    mean = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    noisy = images + share * (mean - images) + uniform(0, noise) * torch.randn(images.shape, generator=generator)
    return noisy.clamp(0, 1)
