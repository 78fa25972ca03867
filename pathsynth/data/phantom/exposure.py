"""From stain densities to an image: absorption, light, haze, tears, folds and specks, alike in every class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pathsynth.data.phantom.drawing import Draws, Ellipses, each, ramp
from pathsynth.data.phantom.scene import Scene, Stains, anywhere

HEMATOXYLIN = (0.650, 0.704, 0.286)
EOSIN = (0.072, 0.990, 0.105)
"""Absorption in R, G, B for a unit of density (Ruifrok & Johnston 2001)."""

NORMALISED_HEMATOXYLIN = (0.563, 0.720, 0.406)
NORMALISED_EOSIN = (0.216, 0.801, 0.558)
"""The same of the reference that whole sections are often normalised to (Macenko et al. 2009)."""


def expose(scene: Scene, tissue: Callable[[Scene], Stains]) -> np.ndarray:
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


def _tear(scene: Scene) -> np.ndarray:
    """1 on the tissue, 0 where a piece of it is missing: beyond an uneven line, in some images."""
    torn = scene.draws.chance("torn", 0.12)
    line = each(scene.draws.uniform("tear line", low=0.15, high=0.45) + (1 - torn) * 9)
    return ramp(line - scene.along("tear turn") - scene.field("tear shape", 5) * 0.04, scene.rim() + 0.02)


def _fold(scene: Scene) -> np.ndarray:
    """Added share of density along a band where the section is folded, in some images."""
    folded = scene.draws.chance("folded", 0.12) * scene.draws.uniform("fold depth", low=0.5, high=1.0)
    line = each(scene.draws.uniform("fold line", low=-0.4, high=0.4))
    distance = np.abs(scene.along("fold turn") - line - scene.field("fold shape", 3) * 0.05)
    return each(folded) * ramp(0.05 - distance, 0.04 + scene.rim())


def _specks(scene: Scene) -> np.ndarray:
    """Dust: a few dark dots in some images."""
    dusty = scene.draws.chance("dusty", 0.25)[:, None] * (scene.draws.uniform("speck there", 5) < 0.6)
    radius = scene.draws.uniform("speck radius", 5, low=0.025, high=0.04)
    x, y = anywhere(scene, "speck", 5)
    return scene.nuclei(Ellipses(x, y, radius, radius, radius, dusty.astype(np.float32)), 0.04)
