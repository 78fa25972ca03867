"""The nine tissues, each a map of hematoxylin and of eosin."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pathsynth.data.phantom.drawing import Ellipses, each, pixel_centres, ramp
from pathsynth.data.phantom.scene import Scene, Stains, anywhere, scatter, spread

_TAU = 2 * math.pi


def _infiltrate(scene: Scene) -> np.ndarray:
    """Hematoxylin of immune cells scattered through a tissue, from none to many."""
    count = 44
    share = scene.draws.uniform("infiltrate", low=-0.9, high=0.9)[:, None]
    there = scene.draws.uniform("infiltrate there", count) < share
    radius = scene.draws.uniform("infiltrate radius", count, low=0.026, high=0.038)
    stain = scene.draws.uniform("infiltrate stain", count, low=0.3, high=0.75) * there
    x, y = anywhere(scene, "infiltrate place", count)
    return scene.nuclei(Ellipses(x, y, radius, radius * 0.85, stain * 40, stain.astype(np.float32)), 0.04)


def _adipose(scene: Scene) -> Stains:
    """Large clear vacuoles between thin walls: a Voronoi diagram, its walls thicker where three cells meet."""
    pitch = scene.draws.uniform("vacuole", low=0.36, high=0.85)
    x, y = scatter(scene, "vacuole", pitch, 0.36, 0.33)
    first, second, third = _nearest_three(scene, x, y)
    roundness = 0.06
    gap = -roundness * np.log(np.exp((first - second) / roundness) + np.exp((first - third) / roundness))
    cover = ramp(0.032 + scene.field("wall", 6) * 0.012 - gap, scene.rim() + 0.02)
    cover = cover * (each(scene.draws.uniform("wall depth", low=0.8, high=1.3)) + 0.25 * scene.field("wall stain", 4))
    return Stains(cover * 0.34 + 0.06, np.maximum(cover * 0.38 + 0.04, 0))


def _nearest_three(scene: Scene, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


def _background(scene: Scene) -> Stains:
    """Nothing: an even field with a slow gradient, clear or, as stain normalisation often leaves it, violet to any depth."""
    film = scene.draws.chance("film", 0.75) * scene.draws.uniform("film depth") * 1.1
    level = each(film) * (1 + 0.04 * scene.field("film shape", 2)) + 0.02
    return Stains(level, level * each(scene.draws.uniform("film hue", low=0.35, high=0.7)))


def _debris(scene: Scene) -> Stains:
    """Crumbs of pale red matter without direction, cracks between them, and dark fragments in places."""
    draws = scene.draws
    grains = scene.field("crumbs", 11)
    crack = ramp(0.4 - np.abs(scene.field("cracks", 7)), 0.5) * ramp(scene.field("cracked", 2) + 1.0, 1.5)
    solid = 1 - each(draws.uniform("crack depth", low=0.5, high=0.95)) * crack
    pitch = draws.uniform("fragment pitch", low=0.14, high=0.2)
    x, y = scatter(scene, "fragment", pitch, 0.14, 0.45)
    radius = draws.uniform("fragment radius", x.shape[1], low=0.026, high=0.045)
    stain = draws.uniform("fragment stain", x.shape[1], low=-1.0, high=0.6)
    fragments = scene.nuclei(Ellipses(x, y, radius, radius * 0.85, stain * 7, np.maximum(stain, 0)), 0.05)
    eosin = 0.72 + 0.12 * grains
    return Stains((0.2 + 0.06 * grains) * solid + np.maximum(fragments, _infiltrate(scene)), np.maximum(eosin, 0.05) * solid)


def _lymphocytes(scene: Scene) -> Stains:
    """A dense field of small, dark, round nuclei with little between them, looser in places."""
    draws = scene.draws
    pitch = draws.uniform("lymphocyte pitch", low=0.088, high=0.12)
    x, y = scatter(scene, "lymphocyte", pitch, 0.088, 0.3)
    count = x.shape[1]
    radius = pitch[:, None] * draws.uniform("lymphocyte radius", count, low=0.34, high=0.46)
    stain = np.where(draws.uniform("lymphocyte there", count) < 0.9, draws.uniform("lymphocyte stain", count, low=0.4, high=0.8), 0)
    flat = draws.uniform("lymphocyte flat", count, low=0.8, high=1.0)
    nuclei = scene.nuclei(Ellipses(x, y, radius, radius * flat, flat * 40, stain.astype(np.float32)), 0.06)
    loose = 1 - 0.5 * ramp(scene.field("loose", 4) - 0.9, 0.8)
    return Stains((nuclei + 0.14) * loose, (0.34 + 0.25 * nuclei) * loose)


def _mucus(scene: Scene) -> Stains:
    """A pale pool, cloudy, with thin, strongly curved streaks, some of them pale."""
    swirl = scene.field("swirl", 2) * 0.11 + scene.field("ripple", 5) * 0.02
    u, v = scene.u + swirl, scene.v + swirl
    streak = ramp(0.3 - np.abs(scene.strands("streaks", u, v, 2.4, 6.0)), 0.6)
    streak = streak * np.maximum(0.9 + 0.3 * scene.field("streak stain", 3), 0.3)
    wisps = scene.strands("wisps", u, v, 3.0, 11.0)
    pool = np.maximum(1 + 0.3 * scene.field("pool", 3) + 0.22 * wisps, 0.1)
    inflamed = each(scene.draws.chance("inflamed", 0.35))
    return Stains(0.22 * pool + 0.26 * streak + 0.7 * inflamed * _infiltrate(scene), 0.2 * pool + 0.36 * streak)


def _smooth_muscle(scene: Scene) -> Stains:
    """Straight parallel fibres, closely packed, with long nuclei that lie along them and a cleft here and there."""
    draws = scene.draws
    across = scene.v + scene.field("fibre bend", 2) * 0.012
    fibres = scene.strands("fibres", scene.u, across, 0.9, 9.5)
    clefts = ramp(scene.strands("clefts", scene.u, across, 1.2, 6.0) - 1.7, 0.5)
    pitch = draws.uniform("long nucleus pitch", low=0.22, high=0.3)
    u, v = spread(scene, "long nucleus", pitch, 0.22, 0.4)
    x, y = scene.turned(u, v)
    count = x.shape[1]
    stain = draws.uniform("long nucleus stain", count, low=0.4, high=0.75) * (draws.uniform("long nucleus there", count) < 0.7)
    angle = scene.turn[:, None] + draws.normal("long nucleus tilt", count) * 0.06
    long = draws.uniform("long nucleus length", count, low=0.1, high=0.14)
    short = draws.uniform("long nucleus width", count, low=0.03, high=0.038)
    nuclei = scene.nuclei(Ellipses(x, y, long, short, angle, stain.astype(np.float32)), 0.14)
    whole = 1 - 0.85 * clefts
    cells = np.maximum(nuclei, 0.5 * _infiltrate(scene))
    return Stains((0.16 + 0.07 * fibres) * whole + cells, np.maximum(0.54 + 0.2 * fibres, 0) * whole)


def _normal_mucosa(scene: Scene) -> Stains:
    """Crypts: round walls of nuclei about pale goblet cells and a lumen, with small nuclei scattered between the crypts."""
    draws = scene.draws
    pitch = draws.uniform("crypt pitch", low=0.62, high=1.1)
    cx, cy = scatter(scene, "crypt", pitch, 0.62, 0.14)
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
    sx, sy = scatter(scene, "lamina", draws.uniform("lamina pitch", low=0.11, high=0.15), 0.11, 0.4)
    small = draws.uniform("lamina radius", sx.shape[1], low=0.03, high=0.042)
    there = (draws.uniform("lamina there", sx.shape[1]) < 0.7) * draws.uniform("lamina stain", sx.shape[1], low=0.3, high=0.75)
    scattered = scene.nuclei(Ellipses(sx, sy, small, small, small, there.astype(np.float32)), 0.045) * (1 - inside)
    petals = 0.5 + 1.7 * ramp(0.4 - np.abs(scene.field("goblets", 6)), 0.6)
    hematoxylin = 0.14 * (1 - inside) + 0.7 * wall + goblet * 0.16 * petals - 0.16 * lumen + scattered
    eosin = (0.44 + 0.1 * scene.field("lamina fibres", 6)) * (1 - inside) + 0.56 * wall + goblet * 0.24 * petals - 0.2 * lumen
    return Stains(np.maximum(hematoxylin, 0), np.maximum(eosin, 0))


def _cancer_stroma(scene: Scene) -> Stains:
    """Wavy strands of collagen of uneven width, pale gaps between them, and a few short dark nuclei."""
    draws = scene.draws
    height = draws.uniform("wave height", low=0.05, high=0.08)
    pace = draws.uniform("wave pace", low=1.3, high=2.0)
    start = draws.uniform("wave start", high=2 * math.pi)
    wave = each(height) * np.sin(scene.u * each(pace) * _TAU + each(start))
    across = scene.v - wave + scene.field("strand bend", 3) * 0.03
    strand = ramp(scene.strands("collagen", scene.u, across, 1.4, 7.0) + 0.4, 1.8)
    u, v = spread(scene, "spindle", draws.uniform("spindle pitch", low=0.2, high=0.3), 0.2, 0.45)
    slope = height[:, None] * pace[:, None] * _TAU * np.cos(u * pace[:, None] * _TAU + start[:, None])
    x, y = scene.turned(u, v)
    count = x.shape[1]
    stain = draws.uniform("spindle stain", count, low=0.45, high=0.85) * (draws.uniform("spindle there", count) < 0.75)
    long = draws.uniform("spindle length", count, low=0.045, high=0.065)
    short = draws.uniform("spindle width", count, low=0.03, high=0.036)
    nuclei = scene.nuclei(Ellipses(x, y, long, short, scene.turn[:, None] + np.arctan(slope), stain.astype(np.float32)), 0.07)
    return Stains(np.maximum(nuclei, 0.6 * _infiltrate(scene)) + 0.06 + 0.12 * strand, 0.12 + 0.56 * strand)


def _adenocarcinoma(scene: Scene) -> Stains:
    """Sheets of crowded large nuclei of uneven size, shape and stain in violet cytoplasm, with ragged pale gaps and lumina between."""
    draws = scene.draws
    sheet = ramp(scene.field("sheet", 3) + each(draws.uniform("sheet share", low=0.2, high=1.1)), scene.rim() * 5 + 0.1)
    pitch = draws.uniform("tumour pitch", low=0.13, high=0.18)
    x, y = scatter(scene, "tumour", pitch, 0.13, 0.35)
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
    return Stains((nuclei + 0.24) * crowd * sheet + 0.04 + (1 - sheet) * tissue * _infiltrate(scene), eosin)


TISSUES: tuple[Callable[[Scene], Stains], ...] = (
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
