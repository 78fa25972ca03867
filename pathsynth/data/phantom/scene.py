"""What a tissue is drawn with: random numbers, turned coordinates, sharpness, and points in the field of view."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pathsynth.data.phantom.drawing import Draws, Ellipses, each, pixel_centres


@dataclass(frozen=True)
class Scene:
    """What the tissues of N images are drawn with: random numbers, the turned coordinates and the sharpness.

    ``u`` and ``v`` (N, S, S) are coordinates turned by ``turn`` (N,); ``edge`` (N,) is how wide a contour is.
    """

    draws: Draws
    size: int
    edge: np.ndarray
    turn: np.ndarray
    u: np.ndarray
    v: np.ndarray

    def field(self, name: str, cells: int) -> np.ndarray:
        """Smooth noise (N, S, S) with ``cells`` cells a side; ``name`` tells it from other fields of the scene."""
        return self.draws.field(name, cells, self.size)

    def detail(self, name: str, cells: int) -> np.ndarray | float:
        """A field too fine to be worth its time where pixels are larger than its bumps: 0 there."""
        return self.field(name, cells) if self.size >= cells else 0.0

    def strands(self, name: str, u: np.ndarray, v: np.ndarray, along: float, across: float) -> np.ndarray:
        """A random field (N, S, S) of about unit variance at the points ``u``, ``v`` (N, S, S), stretched along ``u``.

        ``along`` and ``across`` are bumps in a field of view; beyond ±0.9 the field continues as at its margin.
        """
        a, b = (np.clip((w + 0.9) * cells, 0, 1.8 * cells) for w, cells in ((u, along), (v, across)))
        rows, columns = math.ceil(1.8 * along) + 2, math.ceil(1.8 * across) + 2
        lattice = self.draws.normal(name, rows * columns)
        i, j = a.astype(np.int32), b.astype(np.int32)
        s, t = a - i, b - j
        s, t = s * s * (3 - 2 * s), t * t * (3 - 2 * t)
        flat = (i * columns + j + (np.arange(len(a), dtype=np.int32) * rows * columns)[:, None, None]).ravel()
        corners = [lattice.ravel().take(flat + step).reshape(a.shape) for step in (0, 1, columns, columns + 1)]
        near = corners[0] + (corners[1] - corners[0]) * t
        far = corners[2] + (corners[3] - corners[2]) * t
        return (near + (far - near) * s) * np.float32(1.35)

    def along(self, name: str) -> np.ndarray:
        """Distance (N, S, S) from the middle in a random direction of its own."""
        angle = each(self.draws.uniform(name, high=2 * math.pi))
        return self.u * np.cos(angle) + self.v * np.sin(angle)

    def rim(self) -> np.ndarray:
        """Width of a contour (N, 1, 1), to be broadcast over the pixels."""
        return each(self.edge)

    def nuclei(self, ellipses: Ellipses, reach: float) -> np.ndarray:
        """Paint ellipses given in image coordinates."""
        return ellipses.paint(self.size, self.edge, reach + 0.025 + 0.5 / self.size)

    def turned(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Image coordinates of points (N, K) given in turned coordinates."""
        cos, sin = np.cos(self.turn)[:, None], np.sin(self.turn)[:, None]
        return u * cos - v * sin, u * sin + v * cos


@dataclass(frozen=True)
class Stains:
    """Densities of hematoxylin and eosin, each (N, S, S)."""

    hematoxylin: np.ndarray
    eosin: np.ndarray


def set_scene(draws: Draws, size: int) -> Scene:
    """The scene of as many images as there are ``draws``, each turned and blurred in its own way."""
    blur = draws.uniform("blur", low=0.008, high=0.03)
    edge = np.sqrt(blur**2 + (1 / size) ** 2)
    turn = draws.uniform("turn", high=2 * math.pi)
    x = pixel_centres(size)[None, None, :]
    y = pixel_centres(size)[None, :, None]
    cos, sin = each(np.cos(turn)), each(np.sin(turn))
    return Scene(draws, size, edge, turn, x * cos + y * sin, y * cos - x * sin)


def anywhere(scene: Scene, name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` points (N, K) anywhere on the image."""
    points = scene.draws.uniform(name, 2, count, low=-0.55, high=0.55)
    return points[:, 0], points[:, 1]


def spread(scene: Scene, name: str, pitch: np.ndarray, smallest: float, jitter: float) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, K) in turned coordinates that cover the image evenly but irregularly: a staggered grid, each point moved at random.

    ``pitch`` (N,) is the grid's, ``smallest`` the least that it can be; ``jitter`` is in pitches.
    """
    side = math.ceil(math.sqrt(2) / smallest) + 2
    steps = np.arange(side, dtype=np.float32) - (side - 1) / 2
    row, column = np.repeat(steps, side), np.tile(steps, side)
    column = column + (np.repeat(np.arange(side, dtype=np.float32), side) % 2) / 2 - 0.25
    offset = scene.draws.uniform(f"{name} grid", 2, 1, low=-0.5, high=0.5)
    moved = scene.draws.uniform(f"{name} jitter", 2, side * side, low=-jitter, high=jitter)
    return pitch[:, None] * (column + offset[:, 0] + moved[:, 0]), pitch[:, None] * (row + offset[:, 1] + moved[:, 1])


def scatter(scene: Scene, name: str, pitch: np.ndarray, smallest: float, jitter: float) -> tuple[np.ndarray, np.ndarray]:
    """The points of ``spread`` in image coordinates."""
    return scene.turned(*spread(scene, name, pitch, smallest, jitter))
