"""Hematoxylin and eosin in optical density: separation, and random re-staining as augmentation."""

from __future__ import annotations

import torch
from torch import Tensor

from pathsynth.data.phantom.exposure import EOSIN, HEMATOXYLIN

_DARKEST = 1 / 255
"""Added before the logarithm, so that black has a finite density, and taken off again afterwards."""

SCALE = 0.4
SHIFT = 0.08
HUE = 0.12
"""Standard deviations at strength 1: of the log of a stain's scale, of its shift in density, of an absorption coefficient."""


def stain_matrix() -> Tensor:
    """float32 (3, 3): absorption of hematoxylin, eosin and a residual (their normal) in R, G, B; rows of unit length.

    Ruifrok & Johnston, Quantification of histochemical staining by color deconvolution, 2001.
    """
    return _with_residual(torch.tensor([HEMATOXYLIN, EOSIN]))


def separate(images: Tensor) -> Tensor:
    """Stain densities (N, 3, H, W) (hematoxylin, eosin, residual) of images (N, 3, H, W) in [0, 1]."""
    return torch.einsum("nchw,cs->nshw", _density(images), torch.linalg.inv(stain_matrix()))


def stain_jitter(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Stain each image again: random scale and shift of each stain's density and a small change of its hue.

    Args:
        images: float (N, 3, H, W) in [0, 1].
        strength: 0 leaves the images as they are; 1 is as wide as the differences between laboratories.
        generator: the source of every random number (CPU).

    Returns:
        float (N, 3, H, W) in [0, 1].
    """
    n = len(images)
    scale = torch.exp(strength * SCALE * torch.randn(n, 2, 1, 1, generator=generator))
    shift = strength * SHIFT * torch.randn(n, 2, 1, 1, generator=generator)
    hue = strength * HUE * torch.randn(n, 2, 3, generator=generator)
    stains, residual = separate(images).split((2, 1), dim=1)
    changed = torch.cat((stains * scale + shift, residual), dim=1)
    matrices = _with_residual(torch.tensor([HEMATOXYLIN, EOSIN]) + hue)
    density = torch.einsum("nshw,nsc->nchw", changed, matrices)
    return ((1 + _DARKEST) * torch.exp(-density) - _DARKEST).clamp(0, 1)


def _density(images: Tensor) -> Tensor:
    return -torch.log((images + _DARKEST) / (1 + _DARKEST))


def _with_residual(stains: Tensor) -> Tensor:
    """(..., 2, 3) absorption rows → (..., 3, 3) unit rows, the third normal to both."""
    unit = torch.nn.functional.normalize(stains, dim=-1)
    residual = torch.nn.functional.normalize(torch.linalg.cross(unit[..., 0, :], unit[..., 1, :]), dim=-1)
    return torch.cat((unit, residual.unsqueeze(-2)), dim=-2)
