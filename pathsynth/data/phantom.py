"""The phantom: procedural H&E images of the nine colorectal tissue types.

Each tissue is a map of hematoxylin and of eosin, drawn in field-of-view units, that light passes through (Beer-Lambert).
Stain strength and hue, haze, illumination, sharpness, tears, folds and specks vary alike in all classes, so colour alone does
not give a class away; its structure does. Image ``i`` of a split is a pure function of (generator version, seed, split, i, label, size).
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

GENERATOR_VERSION = 1
"""Part of every phantom's identity: raise it with any change of what is drawn."""

HEMATOXYLIN = (0.650, 0.704, 0.286)
EOSIN = (0.072, 0.990, 0.105)
"""Absorption in R, G, B for a unit of density (Ruifrok & Johnston 2001)."""

SIZES = (16, 512)
_PIXELS_AT_ONCE = 2**17
_TAU = 2 * math.pi


def phantom_data(size: int, n_train: int, n_val: int, n_test: int, seed: int) -> DataSet:
    """A phantom data set of ``size`` × ``size`` pixels; image ``i`` of each split shows class ``i % 9``.

    Raises:
        RequestError: a size outside 16 to 512, or a split without images.
    """
    counts = dict(zip(SPLITS, (n_train, n_val, n_test), strict=True))
    if not SIZES[0] <= size <= SIZES[1]:
        raise RequestError(f"the phantom is drawn at {SIZES[0]} to {SIZES[1]} pixels, not {size}; set data.size")
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
    chromatin = 1 + 0.14 * scene.detail("chromatin", 56)
    grain = scene.field("grain", 20) * 0.02
    haze = draws.chance("haze", 0.45) * draws.uniform("haze depth", high=0.85)
    lean = draws.uniform("haze lean")
    strength = np.exp(draws.normal("strength") * 0.22)
    hematoxylin = stains.hematoxylin * chromatin * present * each(strength * np.exp(draws.normal("hematoxylin") * 0.25))
    eosin = stains.eosin * present * each(strength * np.exp(draws.normal("eosin") * 0.25))
    hematoxylin = np.maximum(hematoxylin + grain + each(haze * lean), 0) + _specks(scene)
    eosin = np.maximum(eosin + grain + each(haze * (1 - lean)), 0)
    light = draws.uniform("light", low=0.88, high=1.0)
    slope = 1 + scene.u * each(draws.uniform("slope", low=-0.12, high=0.12))
    absorb_h = np.asarray(HEMATOXYLIN, dtype=np.float32) + draws.uniform("hue h", 3, low=-0.1, high=0.1)
    absorb_e = np.asarray(EOSIN, dtype=np.float32) + draws.uniform("hue e", 3) * np.asarray((0.12, -0.2, 0.5), dtype=np.float32)
    white = each(light) * slope
    image = np.empty((len(draws), scene.size, scene.size, 3), dtype=np.uint8)
    for channel in range(3):
        density = hematoxylin * each(absorb_h[:, channel]) + eosin * each(absorb_e[:, channel])
        image[..., channel] = np.clip(np.exp(-density) * white, 0, 1) * 255 + 0.5
    return image


def _tear(scene: _Scene) -> np.ndarray:
    """1 on the tissue, 0 where a piece of it is missing: beyond an uneven line, in some images."""
    torn = scene.draws.chance("torn", 0.2)
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
    pitch = scene.draws.uniform("vacuole", low=0.36, high=0.6)
    x, y = _scatter(scene, "vacuole", pitch, 0.36, 0.3)
    first, second, third = _nearest_three(scene, x, y)
    roundness = 0.06
    gap = -roundness * np.log(np.exp((first - second) / roundness) + np.exp((first - third) / roundness))
    cover = ramp(0.034 + scene.field("wall", 6) * 0.008 - gap, scene.rim())
    thick = 1 + 0.25 * scene.field("wall stain", 5)
    return _Stains(cover * thick * 0.38 + 0.02, cover * thick * 0.62 + 0.03)


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
    """Next to nothing: a slow gradient."""
    level = 0.03 + 0.015 * scene.field("film", 2)
    return _Stains(level, level)


def _debris(scene: _Scene) -> _Stains:
    """Granular eosin with ghosts of nuclei and dark fragments in clumps."""
    draws = scene.draws
    pitch = draws.uniform("ghost pitch", low=0.15, high=0.2)
    x, y = _scatter(scene, "ghost", pitch, 0.15, 0.45)
    radius = draws.uniform("ghost radius", x.shape[1], low=0.035, high=0.06)
    fade = draws.uniform("ghost stain", x.shape[1], low=-0.1, high=0.45)
    ghosts = scene.nuclei(Ellipses(x, y, radius, radius * 0.85, fade * 7, np.maximum(fade, 0)), 0.06)
    fx, fy = _anywhere(scene, "fragment", 14)
    small = draws.uniform("fragment radius", 14, low=0.022, high=0.038)
    fragments = scene.nuclei(Ellipses(fx, fy, small, small, small, draws.uniform("fragment stain", 14, low=-0.5, high=0.9)), 0.04)
    grains = scene.field("granules", 17)
    eosin = 0.5 + 0.22 * grains + 0.08 * scene.field("patches", 4)
    return _Stains(np.maximum(ghosts, fragments) + 0.12 + 0.06 * grains, np.maximum(eosin, 0.05))


def _lymphocytes(scene: _Scene) -> _Stains:
    """A dense field of small, dark, round nuclei with little between them."""
    draws = scene.draws
    pitch = draws.uniform("lymphocyte pitch", low=0.088, high=0.115)
    x, y = _scatter(scene, "lymphocyte", pitch, 0.088, 0.25)
    count = x.shape[1]
    radius = pitch[:, None] * draws.uniform("lymphocyte radius", count, low=0.34, high=0.45)
    stain = np.where(draws.uniform("lymphocyte there", count) < 0.92, draws.uniform("lymphocyte stain", count, low=0.85, high=1.3), 0)
    flat = draws.uniform("lymphocyte flat", count, low=0.85, high=1.0)
    nuclei = scene.nuclei(Ellipses(x, y, radius, radius * flat, flat * 40, stain.astype(np.float32)), 0.055)
    return _Stains(nuclei + 0.06, 0.2 + 0.06 * scene.field("plasma", 5))


def _mucus(scene: _Scene) -> _Stains:
    """A pale pool with thin, strongly curved, faint streaks."""
    period = each(scene.draws.uniform("streak period", low=0.2, high=0.29))
    swirl = scene.field("swirl", 2) * 0.16 + scene.field("ripple", 5) * 0.03
    phase = (scene.v + swirl) / period
    ridge = np.cos(phase * _TAU)
    streak = ramp(ridge - 0.72, 0.5) * (0.8 + 0.25 * scene.field("streak stain", 3))
    streak = np.maximum(streak, 0)
    pool = 0.09 + 0.04 * scene.field("pool", 3)
    return _Stains(pool + 0.42 * streak, 0.06 + 0.24 * streak)


def _smooth_muscle(scene: _Scene) -> _Stains:
    """Straight parallel fibres, closely packed, with long nuclei that lie along them."""
    draws = scene.draws
    period = each(draws.uniform("fibre period", low=0.1, high=0.14))
    across = scene.v + scene.field("fibre bend", 2) * 0.012
    fibres = np.cos(across / period * _TAU) * (0.8 + 0.3 * scene.field("bundles", 4))
    pitch = draws.uniform("long nucleus pitch", low=0.2, high=0.26)
    u, v = _spread(scene, "long nucleus", pitch, 0.2, 0.4)
    x, y = scene.turned(u, v)
    count = x.shape[1]
    stain = draws.uniform("long nucleus stain", count, low=0.6, high=1.1) * (draws.uniform("long nucleus there", count) < 0.8)
    angle = scene.turn[:, None] + draws.normal("long nucleus tilt", count) * 0.06
    long = draws.uniform("long nucleus length", count, low=0.085, high=0.12)
    short = draws.uniform("long nucleus width", count, low=0.03, high=0.038)
    nuclei = scene.nuclei(Ellipses(x, y, long, short, angle, stain.astype(np.float32)), 0.12)
    return _Stains(nuclei + 0.1, 0.62 + 0.17 * fibres)


def _normal_mucosa(scene: _Scene) -> _Stains:
    """Crypts: rings of nuclei about pale goblet cells and a lumen, with small nuclei scattered between the crypts."""
    draws = scene.draws
    pitch = draws.uniform("crypt pitch", low=0.6, high=0.8)
    cx, cy = _scatter(scene, "crypt", pitch, 0.6, 0.1)
    radius = pitch[:, None] * draws.uniform("crypt radius", cx.shape[1], low=0.36, high=0.43)
    flat = draws.uniform("crypt flat", cx.shape[1], low=0.8, high=1.0)
    angle = draws.uniform("crypt angle", cx.shape[1], high=math.pi)
    ring = _ring_nuclei(scene, cx, cy, radius, flat, angle)
    one = np.ones_like(cx)
    inside = scene.nuclei(Ellipses(cx, cy, radius, radius * flat, angle, one), 0.35)
    goblet = scene.nuclei(Ellipses(cx, cy, radius * 0.74, radius * flat * 0.72, angle, one), 0.27)
    lumen = scene.nuclei(Ellipses(cx, cy, radius * 0.26, radius * flat * 0.22, angle, one), 0.1)
    sx, sy = _scatter(scene, "lamina", draws.uniform("lamina pitch", low=0.12, high=0.15), 0.12, 0.4)
    small = draws.uniform("lamina radius", sx.shape[1], low=0.028, high=0.038)
    there = (draws.uniform("lamina there", sx.shape[1]) < 0.6) * draws.uniform("lamina stain", sx.shape[1], low=0.5, high=0.9)
    scattered = scene.nuclei(Ellipses(sx, sy, small, small, small, there.astype(np.float32)), 0.04) * (1 - inside)
    eosin = 0.45 + 0.1 * scene.field("lamina fibres", 6)
    eosin = eosin * (1 - inside) + inside * 0.5 - 0.32 * goblet - 0.12 * lumen
    base = 0.12 * (1 - inside) + 0.3 * inside - 0.18 * goblet - 0.08 * lumen
    return _Stains(np.maximum(base, 0) + np.maximum(ring, scattered), np.maximum(eosin, 0))


def _ring_nuclei(scene: _Scene, cx: np.ndarray, cy: np.ndarray, radius: np.ndarray, flat: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Nuclei side by side along the rim of each crypt, pointing to its middle."""
    crypts, each_ring = cx.shape[1], 18
    round_ = (np.arange(each_ring) / each_ring * 2 * math.pi).astype(np.float32)
    t = round_ + scene.draws.uniform("ring jitter", crypts, each_ring, low=-0.08, high=0.08)
    along, across = radius[:, :, None] * np.cos(t), (radius * flat)[:, :, None] * np.sin(t)
    cos, sin = np.cos(angle)[:, :, None], np.sin(angle)[:, :, None]
    x = (cx[:, :, None] + (along * cos - across * sin) * 0.88).reshape(len(cx), -1)
    y = (cy[:, :, None] + (along * sin + across * cos) * 0.88).reshape(len(cx), -1)
    outwards = (t + angle[:, :, None]).reshape(len(cx), -1)
    stain = scene.draws.uniform("ring stain", crypts * each_ring, low=0.75, high=1.15)
    size = scene.draws.uniform("ring size", crypts * each_ring, low=0.9, high=1.1)
    return scene.nuclei(Ellipses(x, y, size * 0.048, size * 0.034, outwards, stain), 0.055)


def _cancer_stroma(scene: _Scene) -> _Stains:
    """Wavy strands of collagen with pale gaps between them and a few thin spindle nuclei."""
    draws = scene.draws
    height = draws.uniform("wave height", low=0.035, high=0.07)
    pace = draws.uniform("wave pace", low=1.3, high=2.1)
    start = draws.uniform("wave start", high=2 * math.pi)
    period = each(draws.uniform("strand period", low=0.14, high=0.19))
    wave = each(height) * np.sin(scene.u * each(pace) * _TAU + each(start))
    phase = (scene.v - wave + scene.field("strand bend", 4) * 0.03) / period
    strand = ramp(np.cos(phase * _TAU) + 0.2 + 0.55 * scene.field("strand width", 5), 1.5)
    strand = strand * (0.9 + 0.13 * scene.field("strand stain", 5))
    u, v = _spread(scene, "spindle", draws.uniform("spindle pitch", low=0.28, high=0.36), 0.28, 0.45)
    slope = height[:, None] * pace[:, None] * _TAU * np.cos(u * pace[:, None] * _TAU + start[:, None])
    x, y = scene.turned(u, v)
    count = x.shape[1]
    stain = draws.uniform("spindle stain", count, low=0.5, high=1.0) * (draws.uniform("spindle there", count) < 0.7)
    long = draws.uniform("spindle length", count, low=0.06, high=0.085)
    short = draws.uniform("spindle width", count, low=0.024, high=0.03)
    nuclei = scene.nuclei(Ellipses(x, y, long, short, scene.turn[:, None] + np.arctan(slope), stain.astype(np.float32)), 0.09)
    return _Stains(nuclei + 0.06 + 0.06 * strand, 0.12 + 0.55 * strand)


def _adenocarcinoma(scene: _Scene) -> _Stains:
    """Crowded large nuclei of uneven size, shape and stain in violet cytoplasm, at times about a ragged lumen."""
    draws = scene.draws
    pitch = draws.uniform("tumour pitch", low=0.15, high=0.19)
    x, y = _scatter(scene, "tumour", pitch, 0.15, 0.32)
    count = x.shape[1]
    long = pitch[:, None] * draws.uniform("tumour length", count, low=0.42, high=0.62)
    short = long * draws.uniform("tumour flat", count, low=0.6, high=0.9)
    angle = draws.uniform("tumour angle", count, high=math.pi)
    stain = draws.uniform("tumour stain", count, low=0.45, high=1.0)
    lobes = draws.uniform("tumour lobes", count, low=-0.2, high=0.2)
    nuclei = scene.nuclei(Ellipses(x, y, long, short, angle, stain, lobes), 0.12 * 1.25)
    hollow = draws.chance("tumour lumen", 0.3)
    place = draws.uniform("tumour lumen place", 2, low=-0.3, high=0.3)
    centre = np.sqrt(np.square(scene.u - each(place[:, 0])) + np.square(scene.v - each(place[:, 1])))
    radius = each(draws.uniform("tumour lumen size", low=0.12, high=0.2) * hollow + hollow - 1)
    full = ramp(centre - radius - scene.field("tumour lumen shape", 5) * 0.03, scene.rim() + 0.02)
    cytoplasm = 0.28 + 0.06 * scene.field("cytoplasm", 6)
    return _Stains((nuclei + cytoplasm) * full, (0.42 - 0.12 * nuclei) * full + 0.03)


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
