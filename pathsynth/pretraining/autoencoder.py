"""The embedded base's autoencoder: diffusers' AutoencoderTiny, set to hold a linear patch projection exactly.

Four by four pixels (48 numbers) become one latent of ``channels`` numbers: principal components fitted on natural
images, whitened to unit variance by the pipeline's own scaling factor. The encoder stays at that projection, so latents
never change under a denoiser. The decoder starts as its exact inverse map and is trained further from there.

Nearest-neighbour upsampling gives the four children of a cell the same values, so a convolution after it cannot tell
them apart by content. The decoder therefore carries a ramp (1, 2, 3, … along each axis, grown from the zero padding by
the convolutions of its first stage); the difference of neighbouring ramp values is the parity of a pixel in its cell,
and with it ReLU units pass one child's channels and block the others'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn

PATCH = 4
WIDTH = 64
SCALING_FACTOR = 4.0
"""Raw latents have a standard deviation of 1/4, where the decoder's soft clamp ``3·tanh(x/3)`` is all but linear."""

_RAMP_X, _RAMP_Y, _FREE = 49, 50, 51
_GATE = 2.0
"""Larger than any pixel value, so that a closed gate is closed."""


@dataclass(frozen=True)
class PatchProjection:
    """``components`` (channels, 48) orthonormal rows, ``mean`` (48,), ``std`` (channels,) of the projected training patches."""

    components: np.ndarray
    mean: np.ndarray
    std: np.ndarray


def fit_projection(images: Tensor, channels: int) -> PatchProjection:
    """Principal components of the 4×4 patches of float images (N, 3, H, W) in [0, 1]; H and W multiples of 4."""
    patches = _patches(images).numpy().astype(np.float64)
    mean = patches.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(patches - mean, rowvar=False))
    order = np.argsort(values)[::-1][:channels]
    return PatchProjection(vectors[:, order].T.copy(), mean, np.sqrt(values[order]))


def reconstruct_linearly(projection: PatchProjection, images: Tensor) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] through the projection and back: the mark a learned decoder has to beat."""
    n, _, h, w = images.shape
    mean = torch.from_numpy(projection.mean).to(images)
    components = torch.from_numpy(projection.components).to(images)
    patches = (_patches(images) - mean) @ components.T @ components + mean
    rows = patches.view(n, h // 4, w // 4, 2, 2, 2, 2, 3)
    return rows.permute(0, 7, 1, 3, 5, 2, 4, 6).reshape(n, 3, h, w).clamp(0, 1)


def _patches(images: Tensor) -> Tensor:
    """(N·cells, 48) in the decoder's order: outer child (row, column), inner child (row, column), colour."""
    n, c, h, w = images.shape
    split = images.view(n, c, h // 4, 2, 2, w // 4, 2, 2)
    return split.permute(0, 2, 5, 3, 6, 4, 7, 1).reshape(-1, 48)


def linear_autoencoder(projection: PatchProjection, decoder_blocks: tuple[int, int, int] = (3, 1, 1)) -> AutoencoderTiny:
    """An AutoencoderTiny that computes the projection (encoder) and its inverse (decoder) exactly, for images up to 40 px.

    ``decoder_blocks``: residual blocks at 8×8, 16×16 and 32×32; the first must be at least 3 for 32 px.
    """
    channels = projection.components.shape[0]
    vae = AutoencoderTiny(
        latent_channels=channels,
        encoder_block_out_channels=(48, 48, 48),
        decoder_block_out_channels=(WIDTH, WIDTH, WIDTH),
        num_encoder_blocks=(0, 0, 0),
        num_decoder_blocks=decoder_blocks,
        scaling_factor=SCALING_FACTOR,
    )
    with torch.no_grad():
        _set_encoder(vae.encoder.layers, projection)
        _set_decoder(vae.decoder.layers, projection, decoder_blocks)
    return vae


def _set_encoder(layers: nn.Sequential, projection: PatchProjection) -> None:
    first, halve, quarter, last = layers
    for conv in (first, halve, quarter, last):
        conv.weight.zero_()
    first.bias.zero_()
    for colour in range(3):
        first.weight[colour, colour, 1, 1] = 1
    for conv, width in ((halve, 3), (quarter, 12)):
        for child in range(4):
            row, column = divmod(child, 2)
            for c in range(width):
                conv.weight[child * width + c, c, 1 + row, 1 + column] = 1
    scale = (projection.std * SCALING_FACTOR)[:, None]
    weight = projection.components / scale
    last.weight[:, :, 1, 1] = torch.from_numpy(weight).float()
    last.bias.copy_(torch.from_numpy(-weight @ projection.mean).float())


def _set_decoder(layers: nn.Sequential, projection: PatchProjection, blocks: tuple[int, int, int]) -> None:
    modules = iter(layers)
    conv_in = next(modules)
    next(modules)  # ReLU
    unproject = projection.components.T * (projection.std * SCALING_FACTOR)[None, :]
    _clear(conv_in, [*range(48), _RAMP_X, _RAMP_Y])
    conv_in.weight[:48, :, 1, 1] = torch.from_numpy(unproject).float()
    conv_in.bias[:48] = torch.from_numpy(projection.mean).float()
    conv_in.bias[_RAMP_X] = conv_in.bias[_RAMP_Y] = 1
    for _ in range(blocks[0]):
        _grow_ramp(next(modules).conv)
    next(modules)  # upsample
    _keep(next(modules), {**{i: i for i in range(48)}, _RAMP_X: _RAMP_X, _RAMP_Y: _RAMP_Y}, silent=range(_FREE, WIDTH))
    _choose_children(next(modules).conv, width=12)
    for _ in range(blocks[1] - 1):
        _silence(next(modules).conv, [*range(_RAMP_X, WIDTH)])
    next(modules)  # upsample
    _keep(next(modules), {**{i: _FREE + i for i in range(12)}, _RAMP_X: _RAMP_X, _RAMP_Y: _RAMP_Y}, silent=range(_FREE, WIDTH))
    _choose_children(next(modules).conv, width=3)
    for _ in range(blocks[2] - 1):
        _silence(next(modules).conv, [*range(_FREE, _FREE + 3)])
    last = next(modules)
    _clear(last, range(3))
    for colour in range(3):
        last.weight[colour, _FREE + colour, 1, 1] = 1


def _clear(conv: nn.Conv2d, rows) -> None:
    rows = list(rows)
    conv.weight[rows] = 0
    if conv.bias is not None:
        conv.bias[rows] = 0


def _keep(conv: nn.Conv2d, moved: dict[int, int], silent) -> None:
    """Output channel ``k`` is input channel ``moved[k]``; the channels ``silent`` are zero; the rest is free to learn."""
    _clear(conv, [*moved, *silent])
    for out, source in moved.items():
        conv.weight[out, source, 1, 1] = 1


def _silence(convs: nn.Sequential, rows: list[int]) -> None:
    """A residual block that leaves the channels ``rows`` as they are."""
    _clear(convs[4], rows)


def _grow_ramp(convs: nn.Sequential) -> None:
    """A residual block that leaves the 48 values alone and lets both ramps climb by three more cells."""
    carry = {_RAMP_X: _FREE, _RAMP_Y: _FREE + 1}
    for index in (0, 2, 4):
        conv = convs[index]
        last = index == 4
        _clear(conv, [*range(48), *carry] if last else [*carry, *carry.values()])
        for ramp, share in carry.items():
            conv.bias[ramp] = 1
            conv.weight[ramp, ramp, *_previous(ramp)] = 1
            if last:
                conv.weight[ramp, share, 1, 1] = -1
            else:
                conv.weight[share, ramp if index == 0 else share, 1, 1] = 1


def _choose_children(convs: nn.Sequential, width: int) -> None:
    """A residual block that writes, at each pixel, its own child's ``width`` values to the free channels; both ramps double."""
    gates, add, out = convs[0], convs[2], convs[4]
    ramps = (_RAMP_Y, _RAMP_X)
    for conv, rows in ((gates, 4 * width), (add, width)):
        _clear(conv, [*range(rows), *ramps])
        for ramp in ramps:
            conv.weight[ramp, ramp, 1, 1] = 1
    for child in range(4):
        for ramp, odd in zip(ramps, divmod(child, 2), strict=True):
            rows = slice(child * width, (child + 1) * width)
            # parity = 1 - ramp + previous ramp; each axis on which it does not match takes _GATE away
            sign = _GATE if odd else -_GATE
            gates.weight[rows, ramp, 1, 1] -= sign
            gates.weight[rows, ramp, *_previous(ramp)] += sign
            gates.bias[rows] -= 0.0 if odd else _GATE
        for c in range(width):
            gates.weight[child * width + c, child * width + c, 1, 1] = 1
            add.weight[c, child * width + c, 1, 1] = 1
    _clear(out, [*range(_FREE, _FREE + width), *ramps])
    for c in range(width):
        out.weight[_FREE + c, c, 1, 1] = 1
    for ramp in ramps:
        out.weight[ramp, ramp, *_previous(ramp)] = 1


def _previous(ramp: int) -> tuple[int, int]:
    """Kernel position of the cell before, along the ramp's axis."""
    return (1, 0) if ramp == _RAMP_X else (0, 1)
