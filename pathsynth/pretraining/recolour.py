"""Random recolouring of natural images, so that colour is a matter of the caption and not of the object."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def recolour(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Turn hue, saturation, contrast, brightness and tint of a random share of the images.

    Args:
        images: float (N, 3, H, W) in [0, 1].
        share: probability that an image is changed, in [0, 1].
        generator: the source of every random number.

    Returns:
        float (N, 3, H, W) in [0, 1].
    """
    n = images.shape[0]

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=generator) * (high - low) + low

    turned = torch.einsum("nij,njhw->nihw", _hue_matrices(uniform(-math.pi, math.pi), uniform(0.2, 1.8)), images)
    mean = turned.mean(dim=(1, 2, 3), keepdim=True)
    contrast = torch.exp(uniform(-1.0, 0.6)).view(n, 1, 1, 1)
    brightness = uniform(-0.25, 0.3).view(n, 1, 1, 1)
    turned = ((turned - mean) * contrast + mean + brightness).clamp(0, 1)
    tint = torch.rand(n, 3, 1, 1, generator=generator)
    strength = (uniform(-0.5, 0.7).clamp(min=0)).view(n, 1, 1, 1)
    turned = turned * (1 - strength) + strength * tint * (0.4 + 0.6 * turned.mean(dim=1, keepdim=True))
    chosen = (torch.rand(n, generator=generator) < share).view(n, 1, 1, 1)
    return torch.where(chosen, turned.clamp(0, 1), images)


def sharpen(images: Tensor, amount: Tensor) -> Tensor:
    """Unsharp masking with a 3×3 box: ``amount`` (N,) scales what the box takes away. Float (N, 3, H, W) in [0, 1]."""
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="reflect")
    blurred = torch.nn.functional.avg_pool2d(padded, 3, stride=1)
    return (images + amount.view(-1, 1, 1, 1) * (images - blurred)).clamp(0, 1)


def _hue_matrices(angles: Tensor, saturation: Tensor) -> Tensor:
    """(N, 3, 3): rotation about the grey axis (Rodrigues), then scaling of the distance from it."""
    axis = 1 / math.sqrt(3)
    cross = torch.tensor([[0.0, -axis, axis], [axis, 0.0, -axis], [-axis, axis, 0.0]])
    grey = torch.full((3, 3), 1 / 3)
    cos, sin = torch.cos(angles).view(-1, 1, 1), torch.sin(angles).view(-1, 1, 1)
    rotation = cos * torch.eye(3) + sin * cross + (1 - cos) * grey
    s = saturation.view(-1, 1, 1)
    return s * rotation + (1 - s) * grey
