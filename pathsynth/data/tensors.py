"""Images as tensors: conversion, padding to the base's canvas, and the eight orientations of a square."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def to_float(images: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) → float32 (N, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / 255


def to_uint8(images: Tensor) -> np.ndarray:
    """Images float (N, 3, H, W) → uint8 (N, H, W, 3), clipped to [0, 1] and rounded: the inverse of ``to_float``."""
    levels = (images.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(levels.permute(0, 2, 3, 1).numpy())


def pad_to(images: Tensor, size: int) -> Tensor:
    """Reflect-pad (N, C, H, W) to (N, C, size, size), the image in the middle (28 → 32: two pixels on each side).

    Raises:
        ValueError: the image is larger than ``size``, or too small to be reflected that far.
    """
    top, left = _margin(size, images.shape[2]), _margin(size, images.shape[3])
    bottom, right = size - images.shape[2] - top, size - images.shape[3] - left
    if min(top, left) < 0 or max(bottom, right) >= min(images.shape[2:]):
        raise ValueError(f"images of {images.shape[2]}×{images.shape[3]} pixels cannot be padded by reflection to {size}×{size}")
    return functional.pad(images, (left, right, top, bottom), mode="reflect")


def crop_to(images: Tensor, size: int) -> Tensor:
    """The middle ``size`` × ``size`` pixels of (N, C, H, W): the inverse of ``pad_to``.

    Raises:
        ValueError: the image is smaller than ``size``.
    """
    if min(images.shape[2:]) < size:
        raise ValueError(f"images of {images.shape[2]}×{images.shape[3]} pixels have no {size}×{size} middle")
    top, left = _margin(images.shape[2], size), _margin(images.shape[3], size)
    return images[:, :, top : top + size, left : left + size]


def dihedral(images: Tensor, index: Tensor) -> Tensor:
    """Turn each square image into one of its eight orientations (the group D4).

    Args:
        images: (N, C, S, S).
        index: int64 (N,) in 0..7: ``index % 4`` quarter turns counter-clockwise, after a left-right flip where ``index >= 4``.

    Raises:
        ValueError: images are not square, or an index lies outside 0..7.
    """
    if images.shape[2] != images.shape[3]:
        raise ValueError(f"only square images have eight orientations, not {images.shape[2]}×{images.shape[3]}")
    if index.shape != (len(images),) or bool(((index < 0) | (index > 7)).any()):
        raise ValueError("one index in 0..7 is needed for each image")
    turned = torch.empty_like(images)
    for k in range(8):
        rows = index == k
        if bool(rows.any()):
            chosen = images[rows].flip(3) if k >= 4 else images[rows]
            turned[rows] = torch.rot90(chosen, k % 4, dims=(2, 3))
    return turned


def _margin(outer: int, inner: int) -> int:
    return (outer - inner) // 2
