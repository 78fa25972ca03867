"""Drawing in field-of-view units: counter-based random numbers, smooth random fields, and soft ellipses.

Everything is vectorised over images, and each image's values depend on its own key alone, never on the rest of the batch.
Coordinates run from -0.5 to 0.5 across the field of view, so the same drawing comes out at any number of pixels.
"""

from __future__ import annotations

import functools
import math
import zlib
from dataclasses import dataclass

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele et al. 2014), elementwise on uint64."""
    z = values ^ (values >> np.uint64(30))
    z *= _MIX_1
    z ^= z >> np.uint64(27)
    z *= _MIX_2
    z ^= z >> np.uint64(31)
    return z


def image_keys(base: int, indices: np.ndarray) -> np.ndarray:
    """uint64 (N,): one key for each image index under a 63-bit ``base``."""
    return mix((indices.astype(np.uint64) + np.uint64(1)) * _GOLDEN + np.uint64(base))


@dataclass(frozen=True)
class Draws:
    """Random numbers of N images, named by what they are for: the same name gives the same numbers again."""

    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    def uniform(self, name: str, *shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """float32 (N, *shape), uniform in [low, high)."""
        count = math.prod(shape)
        counters = mix((np.arange(count, dtype=np.uint64) + (np.uint64(zlib.crc32(name.encode())) << np.uint64(24))) * _GOLDEN)
        bits = mix(self.keys[:, None] ^ counters[None, :])
        unit = (bits >> np.uint64(40)).astype(np.float32) * 2.0**-24
        unit *= high - low
        unit += low
        return unit.reshape(len(self.keys), *shape)

    def normal(self, name: str, *shape: int) -> np.ndarray:
        """float32 (N, *shape), nearly normal with mean 0 and variance 1, within ±3 (the sum of three uniforms)."""
        unit = self.uniform(name, 3, *shape)
        return (unit[:, 0] + unit[:, 1] + unit[:, 2] - 1.5) * 2

    def chance(self, name: str, probability: float) -> np.ndarray:
        """float32 (N,): 1 with the probability, else 0."""
        return (self.uniform(name) < probability).astype(np.float32)

    def field(self, name: str, cells: int, size: int) -> np.ndarray:
        """float32 (N, size, size): a smooth random field of about unit variance whose bumps are ``1 / cells`` wide."""
        weights = _spline_weights(cells, size)
        lattice = self.normal(name, cells + 3, cells + 3)
        return np.matmul(np.matmul(weights, lattice), np.ascontiguousarray(weights.T))


@functools.lru_cache(maxsize=64)
def _spline_weights(cells: int, size: int) -> np.ndarray:
    """float32 (size, cells + 3): cubic B-spline weights of lattice points, averaged over each pixel, for unit variance."""
    samples = 8
    position = (np.arange(size * samples) + 0.5) / (size * samples) * cells
    knots = np.arange(cells + 3) - 1
    t = np.abs(position[:, None] - knots[None, :])
    inner = 2 / 3 - t**2 + t**3 / 2
    outer = np.maximum(2 - t, 0) ** 3 / 6
    mean_square = 151 / 315  # the integral of the squared cubic B-spline: the variance that averaging leaves, for each axis
    weights = np.where(t < 1, inner, outer) / math.sqrt(mean_square)
    return weights.reshape(size, samples, cells + 3).mean(axis=1).astype(np.float32)


def pixel_centres(size: int) -> np.ndarray:
    """float32 (size,): coordinates of the pixel centres, from -0.5 to 0.5."""
    return ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)


def each(values: np.ndarray) -> np.ndarray:
    """(N,) → (N, 1, 1), to meet fields of N images."""
    return values[:, None, None]


def ramp(distance: np.ndarray, width: np.ndarray | float) -> np.ndarray:
    """A soft step from 0 to 1 where ``distance`` crosses zero, ``width`` wide."""
    t = np.clip(distance / width + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class Ellipses:
    """K ellipses for each of N images, every array float32 (N, K): centre, semi-axes, angle of the long axis, weight, lobing."""

    x: np.ndarray
    y: np.ndarray
    long: np.ndarray
    short: np.ndarray
    angle: np.ndarray
    weight: np.ndarray
    lobes: np.ndarray | None = None

    def paint(self, size: int, edge: np.ndarray, reach: float) -> np.ndarray:
        """float32 (N, size, size): at each pixel the largest weight of the ellipses over it, with soft rims.

        ``edge`` (N,) is the width of a rim; no ellipse with its rim may be wider than ``reach`` from its centre.
        """
        visible = np.flatnonzero((self.weight > 0) & (np.abs(self.x) < 0.5 + reach) & (np.abs(self.y) < 0.5 + reach))
        image = visible // self.x.shape[1]
        half = math.ceil(reach * size)
        columns, dx = _window(self.x.ravel()[visible], size, half)
        rows, dy = _window(self.y.ravel()[visible], size, half)
        values = self._profile(visible, dx[:, None, :], dy[:, :, None], edge[image])
        margin = 2 * half + 1
        side = size + 2 * margin
        canvas = np.zeros(len(self.x) * side * side, dtype=np.float32)
        where = (image[:, None, None] * side + rows[:, :, None] + margin) * side + columns[:, None, :] + margin
        inside = values > 0
        np.maximum.at(canvas, where[inside], values[inside])
        return np.ascontiguousarray(canvas.reshape(-1, side, side)[:, margin : margin + size, margin : margin + size])

    def _profile(self, visible: np.ndarray, dx: np.ndarray, dy: np.ndarray, edge: np.ndarray) -> np.ndarray:
        """Weighted masks (M, rows, columns) of the M ellipses ``seen`` over their windows; ``edge`` (M,)."""
        long, short, angle = (values.ravel()[visible] for values in (self.long, self.short, self.angle))
        cos, sin = np.cos(angle), np.sin(angle)
        along = dx * each(cos / long) + dy * each(sin / long)
        across = dx * each(-sin / short) + dy * each(cos / short)
        square = along * along + across * across
        radius = np.sqrt(square)
        if self.lobes is not None:
            threefold = along * (along * along - 3 * across * across) / (square * radius + 1e-3)
            radius = radius * (1 + each(self.lobes.ravel()[visible]) * threefold)
        mask = np.clip((1 - radius) * each(short / edge) + 0.5, 0, 1)
        return mask * mask * (3 - 2 * mask) * each(self.weight.ravel()[visible])


def _window(centre: np.ndarray, size: int, half: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel rows (or columns) (M, 2 half + 1) about each centre (M,), and their distances from it."""
    nearest = np.floor((centre + 0.5) * size).astype(np.int64)
    pixels = np.clip(nearest, -half - 1, size + half)[:, None] + np.arange(-half, half + 1)
    return pixels, ((pixels + 0.5) / size - 0.5).astype(np.float32) - centre[:, None]
