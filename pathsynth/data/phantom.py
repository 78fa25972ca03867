"""The phantom: procedural H&E images of the nine colorectal tissue types.

Each tissue is a map of hematoxylin and of eosin, drawn in field-of-view units, that light passes through (Beer-Lambert).
Stain strength and hue, haze, illumination, sharpness, texture, tears, folds and specks vary alike in all classes, so colour alone
does not give a class away; its structure does. Mean colours and contrasts are near those of PathMNIST, and what tells the classes
apart is at least two pixels wide at 32 px, so that it survives a lossy autoencoder. Image ``i`` of a split is a pure function of
(generator version, seed, split, i, label, size).
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pathsynth.data.dataset import SPLITS, DataSet, LabelledImages
from pathsynth.data.drawing import Draws, Ellipses, each, image_keys, pixel_centres, ramp
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.seeds import derive_seed
from pathsynth.vocabulary.labels import COLORECTAL
from pathsynth.vocabulary.prompts import colorectal_prompts

GENERATOR_VERSION = 2
"""Part of every phantom's identity: raise it with any change of what is drawn."""

HEMATOXYLIN = (0.650, 0.704, 0.286)
EOSIN = (0.072, 0.990, 0.105)
"""Absorption in R, G, B for a unit of density (Ruifrok & Johnston 2001)."""

NORMALISED_HEMATOXYLIN = (0.563, 0.720, 0.406)
NORMALISED_EOSIN = (0.216, 0.801, 0.558)
"""The same of the reference that whole sections are often normalised to (Macenko et al. 2009)."""

SIZES = (16, 512)
_PIXELS_AT_ONCE = 2**17
_TAU = 2 * math.pi


@dataclass(frozen=True)
class Phantom:
    """Images of tissue that is drawn by a procedure, for trials without data: nine colorectal tissue types.

    ``size``: pixels, 16 to 512. What :meth:`draw` gives are the images of that class in ``data=phantom`` with the same seed and split.

    Raises:
        RequestError: another size.

    >>> phantom = Phantom(size=32)
    >>> phantom.classes[4], phantom.draw("mucus", n=3).shape
    ('mucus', (3, 32, 32, 3))
    """

    size: int = 32
    seed: int = 0
    split: str = "train"

    def __post_init__(self) -> None:
        _check_size(self.size)

    @property
    def classes(self) -> tuple[str, ...]:
        """The short names of the classes, in the order of their labels."""
        return COLORECTAL.slugs

    @property
    def prompts(self) -> dict[str, str]:
        """The canonical prompt of each class."""
        book = colorectal_prompts()
        return {c.slug: book.canonical(c.index) for c in COLORECTAL.classes}

    def draw(self, name: str, n: int = 1, start: int = 0) -> np.ndarray:
        """Images ``start`` to ``start + n`` of a class, by its name or another name for it: uint8 (n, size, size, 3).

        Raises:
            UnknownLabelError: there is no such class.
            RequestError: ``n`` or ``start`` is negative.
        """
        if n < 0 or start < 0:
            raise RequestError(f"the phantom has no images {start} to {start + n}; count from 0 up")
        label = COLORECTAL.by_slug(name).index
        return render(np.full(n, label), label + len(COLORECTAL) * np.arange(start, start + n), self.split, self.seed, self.size)


def _check_size(size: int) -> None:
    if not SIZES[0] <= size <= SIZES[1]:
        raise RequestError(f"the phantom is drawn at {SIZES[0]} to {SIZES[1]} pixels, not {size}; set data.size")


def phantom_data(size: int, n_train: int, n_val: int, n_test: int, seed: int) -> DataSet:
    """A phantom data set of ``size`` × ``size`` pixels; image ``i`` of each split shows class ``i % 9``.

    Raises:
        RequestError: a size outside 16 to 512, or a split without images.
    """
    counts = dict(zip(SPLITS, (n_train, n_val, n_test), strict=True))
    _check_size(size)
    for split, count in counts.items():
        if count < 1:
            raise RequestError(f"the phantom's {split} split needs at least one image, not {count}; set data.n_{split}")

    @functools.cache
    def read(split: str) -> LabelledImages:
        indices = np.arange(counts[split])
        labels = indices % len(COLORECTAL)
        return LabelledImages(render(labels, indices, split, seed, size), labels)

    identity = phantom_identity(size, n_train, n_val, n_test, seed)
    return DataSet(f"phantom {size} px", identity, size, COLORECTAL, colorectal_prompts(), read)


def phantom_identity(size: int, n_train: int, n_val: int, n_test: int, seed: int) -> str:
    """Hex hash of what determines a phantom data set; nothing is drawn."""
    text = f"phantom:{GENERATOR_VERSION}:{size}:{n_train}:{n_val}:{n_test}:{seed}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def render(labels: np.ndarray, indices: np.ndarray, split: str, seed: int, size: int) -> np.ndarray:
    """Draw images.

    Args:
        labels: int (N,) in 0..8, the order of ``COLORECTAL``.
        indices: int (N,), the number of each image in its split; with ``split`` and ``seed`` it fixes all randomness.
        split: any name; each has its own images.
        seed: the phantom's seed.
        size: pixels.

    Returns:
        uint8 (N, size, size, 3).
    """
    labels, indices = np.asarray(labels), np.asarray(indices)
    base = derive_seed("phantom", GENERATOR_VERSION, seed, split)
    images = np.empty((len(labels), size, size, 3), dtype=np.uint8)
    step = max(1, _PIXELS_AT_ONCE // size**2)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        for first in range(0, len(rows), step):
            chunk = rows[first : first + step]
            images[chunk] = _expose(_set_scene(Draws(image_keys(base, indices[chunk])), size), _TISSUES[int(label)])
    return images


@dataclass(frozen=True)
class _Scene:
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
        return self.draws.field(name, cells, self.size)

    def detail(self, name: str, cells: int) -> np.ndarray | float:
        """A field too fine to be worth its time where pixels are larger than its bumps: 0 there."""
        return self.field(name, cells) if self.size >= cells else 0.0

    def strands(self, name: str, u: np.ndarray, v: np.ndarray, along: float, across: float) -> np.ndarray:
        """A random field (N, S, S) of about unit variance at the points ``u``, ``v`` (N, S, S), stretched along ``u``.

        ``along`` and ``across`` are bumps in a field of view; beyond ±0.9 the field goes on as at its margin.
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
        return each(self.edge)

    def nuclei(self, ellipses: Ellipses, reach: float) -> np.ndarray:
        """Paint ellipses given in image coordinates."""
        return ellipses.paint(self.size, self.edge, reach + 0.025 + 0.5 / self.size)

    def turned(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Image coordinates of points (N, K) given in turned coordinates."""
        cos, sin = np.cos(self.turn)[:, None], np.sin(self.turn)[:, None]
        return u * cos - v * sin, u * sin + v * cos


@dataclass(frozen=True)
class _Stains:
    """Densities of hematoxylin and eosin, each (N, S, S)."""

    hematoxylin: np.ndarray
    eosin: np.ndarray


def _set_scene(draws: Draws, size: int) -> _Scene:
    blur = draws.uniform("blur", low=0.008, high=0.03)
    edge = np.sqrt(blur**2 + (1 / size) ** 2)
    turn = draws.uniform("turn", high=2 * math.pi)
    x = pixel_centres(size)[None, None, :]
    y = pixel_centres(size)[None, :, None]
    cos, sin = each(np.cos(turn)), each(np.sin(turn))
    return _Scene(draws, size, edge, turn, x * cos + y * sin, y * cos - x * sin)


def _expose(scene: _Scene, tissue: Callable[[_Scene], _Stains]) -> np.ndarray:
    """Stain, damage and light the tissue, all of it alike in every class; uint8 (N, S, S, 3)."""
    draws = scene.draws
    stains = tissue(scene)
    present = _tear(scene) * (1 + _fold(scene))
    chromatin = 1 + 0.12 * scene.detail("chromatin", 56)
    present = present * (1 + each(0.16 * draws.uniform("texture depth") ** 2) * scene.field("texture", 20))
    grain = scene.field("grain", 12) * 0.012
    haze = draws.chance("haze", 0.2) * draws.uniform("haze depth", high=0.4)
    lean = draws.uniform("haze lean", low=0.3)
    strength = np.exp(draws.normal("strength") * 0.13)
    hematoxylin = stains.hematoxylin * chromatin * present * each(strength * np.exp(draws.normal("hematoxylin") * 0.1))
    eosin = stains.eosin * present * each(strength * np.exp(draws.normal("eosin") * 0.1))
    hematoxylin = np.maximum(hematoxylin + grain + each(haze * lean), 0) + _specks(scene)
    eosin = np.maximum(eosin + grain + each(haze * (1 - lean)), 0)
    light = draws.uniform("light", low=0.88, high=0.98)
    slope = 1 + scene.u * each(draws.uniform("slope", low=-0.1, high=0.1))
    absorb_h, absorb_e = _absorption(draws)
    white = each(light) * slope
    image = np.empty((len(draws), scene.size, scene.size, 3), dtype=np.uint8)
    for channel in range(3):
        density = hematoxylin * each(absorb_h[:, channel]) + eosin * each(absorb_e[:, channel])
        image[..., channel] = np.clip(np.exp(-density) * white, 0, 1) * 255 + 0.5
    return image


def _absorption(draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Absorption (N, 3) of each image's hematoxylin and eosin: between two published pairs, with a change of hue of its own."""
    pairs = (("hue h", HEMATOXYLIN, NORMALISED_HEMATOXYLIN, 0.8), ("hue e", EOSIN, NORMALISED_EOSIN, 0.5))
    hematoxylin, eosin = (
        np.asarray(pure, dtype=np.float32)
        + (middle + draws.uniform("stain lean", 1, low=-0.3, high=0.3)) * np.subtract(normalised, pure, dtype=np.float32)
        + draws.uniform(name, 3, low=-0.045, high=0.045)
        for name, pure, normalised, middle in pairs
    )
    return hematoxylin, eosin


def _tear(scene: _Scene) -> np.ndarray:
    """1 on the tissue, 0 where a piece of it is missing: beyond an uneven line, in some images."""
    torn = scene.draws.chance("torn", 0.12)
    line = each(scene.draws.uniform("tear line", low=0.15, high=0.45) + (1 - torn) * 9)
    return ramp(line - scene.along("tear turn") - scene.field("tear shape", 5) * 0.04, scene.rim() + 0.02)


def _fold(scene: _Scene) -> np.ndarray:
    """Added share of density along a band where the section is folded, in some images."""
    folded = scene.draws.chance("folded", 0.12) * scene.draws.uniform("fold depth", low=0.5, high=1.0)
    line = each(scene.draws.uniform("fold line", low=-0.4, high=0.4))
    distance = np.abs(scene.along("fold turn") - line - scene.field("fold shape", 3) * 0.05)
    return each(folded) * ramp(0.05 - distance, 0.04 + scene.rim())


def _specks(scene: _Scene) -> np.ndarray:
    """Dust: a few dark dots in some images."""
    dusty = scene.draws.chance("dusty", 0.25)[:, None] * (scene.draws.uniform("speck there", 5) < 0.6)
    radius = scene.draws.uniform("speck radius", 5, low=0.025, high=0.04)
    x, y = _anywhere(scene, "speck", 5)
    return scene.nuclei(Ellipses(x, y, radius, radius, radius, dusty.astype(np.float32)), 0.04)


def _infiltrate(scene: _Scene) -> np.ndarray:
    """Hematoxylin of immune cells scattered through a tissue, from none to many."""
    count = 44
    share = scene.draws.uniform("infiltrate", low=-0.9, high=0.9)[:, None]
    there = scene.draws.uniform("infiltrate there", count) < share
    radius = scene.draws.uniform("infiltrate radius", count, low=0.026, high=0.038)
    stain = scene.draws.uniform("infiltrate stain", count, low=0.3, high=0.75) * there
    x, y = _anywhere(scene, "infiltrate place", count)
    return scene.nuclei(Ellipses(x, y, radius, radius * 0.85, stain * 40, stain.astype(np.float32)), 0.04)


def _anywhere(scene: _Scene, name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` points (N, K) anywhere on the image."""
    points = scene.draws.uniform(name, 2, count, low=-0.55, high=0.55)
    return points[:, 0], points[:, 1]


def _spread(scene: _Scene, name: str, pitch: np.ndarray, smallest: float, jitter: float) -> tuple[np.ndarray, np.ndarray]:
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


def _scatter(scene: _Scene, name: str, pitch: np.ndarray, smallest: float, jitter: float) -> tuple[np.ndarray, np.ndarray]:
    """The points of ``_spread`` in image coordinates."""
    return scene.turned(*_spread(scene, name, pitch, smallest, jitter))


def _adipose(scene: _Scene) -> _Stains:
    """Large clear vacuoles between thin walls: a Voronoi diagram, its walls thicker where three cells meet."""
    pitch = scene.draws.uniform("vacuole", low=0.36, high=0.85)
    x, y = _scatter(scene, "vacuole", pitch, 0.36, 0.33)
    first, second, third = _nearest_three(scene, x, y)
    roundness = 0.06
    gap = -roundness * np.log(np.exp((first - second) / roundness) + np.exp((first - third) / roundness))
    cover = ramp(0.032 + scene.field("wall", 6) * 0.012 - gap, scene.rim() + 0.02)
    cover = cover * (each(scene.draws.uniform("wall depth", low=0.8, high=1.3)) + 0.25 * scene.field("wall stain", 4))
    return _Stains(cover * 0.34 + 0.06, np.maximum(cover * 0.38 + 0.04, 0))


def _nearest_three(scene: _Scene, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances (N, S, S) to the three nearest of the points (N, K), in order."""
    px = pixel_centres(scene.size)
    across = np.square(px[None, None, :] - x[:, :, None])
    down = np.square(px[None, None, :] - y[:, :, None])
    shape = (len(x), scene.size, scene.size)
    first, second, third = (np.full(shape, 9, dtype=np.float32) for _ in range(3))
    for k in range(x.shape[1]):
        square = down[:, k, :, None] + across[:, k, None, :]
        rest = np.maximum(first, square)
        np.minimum(first, square, out=first)
        last = np.maximum(second, rest)
        np.minimum(second, rest, out=second)
        np.minimum(third, last, out=third)
    return np.sqrt(first), np.sqrt(second), np.sqrt(third)


def _background(scene: _Scene) -> _Stains:
    """Nothing: an even field with a slow gradient, clear or, as stain normalisation often leaves it, violet to any depth."""
    film = scene.draws.chance("film", 0.75) * scene.draws.uniform("film depth") * 1.1
    level = each(film) * (1 + 0.04 * scene.field("film shape", 2)) + 0.02
    return _Stains(level, level * each(scene.draws.uniform("film hue", low=0.35, high=0.7)))


def _debris(scene: _Scene) -> _Stains:
    """Crumbs of pale red matter without direction, cracks between them, and dark fragments in places."""
    draws = scene.draws
    grains = scene.field("crumbs", 11)
    crack = ramp(0.4 - np.abs(scene.field("cracks", 7)), 0.5) * ramp(scene.field("cracked", 2) + 1.0, 1.5)
    solid = 1 - each(draws.uniform("crack depth", low=0.5, high=0.95)) * crack
    pitch = draws.uniform("fragment pitch", low=0.14, high=0.2)
    x, y = _scatter(scene, "fragment", pitch, 0.14, 0.45)
    radius = draws.uniform("fragment radius", x.shape[1], low=0.026, high=0.045)
    stain = draws.uniform("fragment stain", x.shape[1], low=-1.0, high=0.6)
    fragments = scene.nuclei(Ellipses(x, y, radius, radius * 0.85, stain * 7, np.maximum(stain, 0)), 0.05)
    eosin = 0.72 + 0.12 * grains
    return _Stains((0.2 + 0.06 * grains) * solid + np.maximum(fragments, _infiltrate(scene)), np.maximum(eosin, 0.05) * solid)


def _lymphocytes(scene: _Scene) -> _Stains:
    """A dense field of small, dark, round nuclei with little between them, looser in places."""
    draws = scene.draws
    pitch = draws.uniform("lymphocyte pitch", low=0.088, high=0.12)
    x, y = _scatter(scene, "lymphocyte", pitch, 0.088, 0.3)
    count = x.shape[1]
    radius = pitch[:, None] * draws.uniform("lymphocyte radius", count, low=0.34, high=0.46)
    stain = np.where(draws.uniform("lymphocyte there", count) < 0.9, draws.uniform("lymphocyte stain", count, low=0.4, high=0.8), 0)
    flat = draws.uniform("lymphocyte flat", count, low=0.8, high=1.0)
    nuclei = scene.nuclei(Ellipses(x, y, radius, radius * flat, flat * 40, stain.astype(np.float32)), 0.06)
    loose = 1 - 0.5 * ramp(scene.field("loose", 4) - 0.9, 0.8)
    return _Stains((nuclei + 0.14) * loose, (0.34 + 0.25 * nuclei) * loose)


def _mucus(scene: _Scene) -> _Stains:
    """A pale pool, cloudy, with thin, strongly curved streaks, some of them pale."""
    swirl = scene.field("swirl", 2) * 0.11 + scene.field("ripple", 5) * 0.02
    u, v = scene.u + swirl, scene.v + swirl
    streak = ramp(0.3 - np.abs(scene.strands("streaks", u, v, 2.4, 6.0)), 0.6)
    streak = streak * np.maximum(0.9 + 0.3 * scene.field("streak stain", 3), 0.3)
    wisps = scene.strands("wisps", u, v, 3.0, 11.0)
    pool = np.maximum(1 + 0.3 * scene.field("pool", 3) + 0.22 * wisps, 0.1)
    inflamed = each(scene.draws.chance("inflamed", 0.35))
    return _Stains(0.22 * pool + 0.26 * streak + 0.7 * inflamed * _infiltrate(scene), 0.2 * pool + 0.36 * streak)


def _smooth_muscle(scene: _Scene) -> _Stains:
    """Straight parallel fibres, closely packed, with long nuclei that lie along them and a cleft here and there."""
    draws = scene.draws
    across = scene.v + scene.field("fibre bend", 2) * 0.012
    fibres = scene.strands("fibres", scene.u, across, 0.9, 9.5)
    clefts = ramp(scene.strands("clefts", scene.u, across, 1.2, 6.0) - 1.7, 0.5)
    pitch = draws.uniform("long nucleus pitch", low=0.22, high=0.3)
    u, v = _spread(scene, "long nucleus", pitch, 0.22, 0.4)
    x, y = scene.turned(u, v)
    count = x.shape[1]
    stain = draws.uniform("long nucleus stain", count, low=0.4, high=0.75) * (draws.uniform("long nucleus there", count) < 0.7)
    angle = scene.turn[:, None] + draws.normal("long nucleus tilt", count) * 0.06
    long = draws.uniform("long nucleus length", count, low=0.1, high=0.14)
    short = draws.uniform("long nucleus width", count, low=0.03, high=0.038)
    nuclei = scene.nuclei(Ellipses(x, y, long, short, angle, stain.astype(np.float32)), 0.14)
    whole = 1 - 0.85 * clefts
    cells = np.maximum(nuclei, 0.5 * _infiltrate(scene))
    return _Stains((0.16 + 0.07 * fibres) * whole + cells, np.maximum(0.54 + 0.2 * fibres, 0) * whole)


def _normal_mucosa(scene: _Scene) -> _Stains:
    """Crypts: round walls of nuclei about pale goblet cells and a lumen, with small nuclei scattered between the crypts."""
    draws = scene.draws
    pitch = draws.uniform("crypt pitch", low=0.62, high=1.1)
    cx, cy = _scatter(scene, "crypt", pitch, 0.62, 0.14)
    count = cx.shape[1]
    radius = pitch[:, None] * draws.uniform("crypt radius", count, low=0.36, high=0.45)
    flat = draws.uniform("crypt flat", count, low=0.7, high=1.0)
    angle = draws.uniform("crypt angle", count, high=math.pi)
    lobes = draws.uniform("crypt lobes", count, low=-0.08, high=0.08)
    width = draws.uniform("crypt wall", low=0.08, high=0.12)[:, None]
    one = np.ones_like(cx)
    inside = scene.nuclei(Ellipses(cx, cy, radius, radius * flat, angle, one, lobes), 0.55)
    goblet = Ellipses(cx, cy, radius - width, radius * flat - width, angle, one, lobes).paint(scene.size, scene.edge + 0.05, 0.55)
    lumen = scene.nuclei(Ellipses(cx, cy, radius * 0.34, radius * flat * 0.22, angle, one), 0.16)
    wall = np.maximum(inside - goblet, 0) * (1 + 0.15 * scene.field("wall stain", 9))
    sx, sy = _scatter(scene, "lamina", draws.uniform("lamina pitch", low=0.11, high=0.15), 0.11, 0.4)
    small = draws.uniform("lamina radius", sx.shape[1], low=0.03, high=0.042)
    there = (draws.uniform("lamina there", sx.shape[1]) < 0.7) * draws.uniform("lamina stain", sx.shape[1], low=0.3, high=0.75)
    scattered = scene.nuclei(Ellipses(sx, sy, small, small, small, there.astype(np.float32)), 0.045) * (1 - inside)
    petals = 0.5 + 1.7 * ramp(0.4 - np.abs(scene.field("goblets", 6)), 0.6)
    hematoxylin = 0.14 * (1 - inside) + 0.7 * wall + goblet * 0.16 * petals - 0.16 * lumen + scattered
    eosin = (0.44 + 0.1 * scene.field("lamina fibres", 6)) * (1 - inside) + 0.56 * wall + goblet * 0.24 * petals - 0.2 * lumen
    return _Stains(np.maximum(hematoxylin, 0), np.maximum(eosin, 0))


def _cancer_stroma(scene: _Scene) -> _Stains:
    """Wavy strands of collagen of uneven width, pale gaps between them, and a few short dark nuclei."""
    draws = scene.draws
    height = draws.uniform("wave height", low=0.05, high=0.08)
    pace = draws.uniform("wave pace", low=1.3, high=2.0)
    start = draws.uniform("wave start", high=2 * math.pi)
    wave = each(height) * np.sin(scene.u * each(pace) * _TAU + each(start))
    across = scene.v - wave + scene.field("strand bend", 3) * 0.03
    strand = ramp(scene.strands("collagen", scene.u, across, 1.4, 7.0) + 0.4, 1.8)
    u, v = _spread(scene, "spindle", draws.uniform("spindle pitch", low=0.2, high=0.3), 0.2, 0.45)
    slope = height[:, None] * pace[:, None] * _TAU * np.cos(u * pace[:, None] * _TAU + start[:, None])
    x, y = scene.turned(u, v)
    count = x.shape[1]
    stain = draws.uniform("spindle stain", count, low=0.45, high=0.85) * (draws.uniform("spindle there", count) < 0.75)
    long = draws.uniform("spindle length", count, low=0.045, high=0.065)
    short = draws.uniform("spindle width", count, low=0.03, high=0.036)
    nuclei = scene.nuclei(Ellipses(x, y, long, short, scene.turn[:, None] + np.arctan(slope), stain.astype(np.float32)), 0.07)
    return _Stains(np.maximum(nuclei, 0.6 * _infiltrate(scene)) + 0.06 + 0.12 * strand, 0.12 + 0.56 * strand)


def _adenocarcinoma(scene: _Scene) -> _Stains:
    """Sheets of crowded large nuclei of uneven size, shape and stain in violet cytoplasm, with ragged pale gaps and lumina between."""
    draws = scene.draws
    sheet = ramp(scene.field("sheet", 3) + each(draws.uniform("sheet share", low=0.2, high=1.1)), scene.rim() * 5 + 0.1)
    pitch = draws.uniform("tumour pitch", low=0.13, high=0.18)
    x, y = _scatter(scene, "tumour", pitch, 0.13, 0.35)
    count = x.shape[1]
    long = pitch[:, None] * draws.uniform("tumour length", count, low=0.4, high=0.7)
    short = long * draws.uniform("tumour flat", count, low=0.45, high=0.85)
    angle = draws.uniform("tumour angle", count, high=math.pi)
    stain = draws.uniform("tumour stain", count, low=0.2, high=0.65)
    lobes = draws.uniform("tumour lobes", count, low=-0.2, high=0.2)
    nuclei = scene.nuclei(Ellipses(x, y, long, short, angle, stain, lobes), 0.12 * 1.25)
    tissue = each(draws.chance("gap tissue", 0.5))
    gap = tissue * each(draws.uniform("gap eosin", low=0.2, high=0.45)) + 0.04
    crowd = 1 + 0.16 * scene.field("crowd", 4)
    eosin = (0.54 + 0.25 * nuclei) * crowd * sheet + gap * (1 - sheet)
    return _Stains((nuclei + 0.24) * crowd * sheet + 0.04 + (1 - sheet) * tissue * _infiltrate(scene), eosin)


_TISSUES: tuple[Callable[[_Scene], _Stains], ...] = (
    _adipose,
    _background,
    _debris,
    _lymphocytes,
    _mucus,
    _smooth_muscle,
    _normal_mucosa,
    _cancer_stroma,
    _adenocarcinoma,
)
