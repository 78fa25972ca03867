"""Captions of natural images from measured attributes: what is in the words is in the picture.

Colour, brightness, contrast, texture and direction are measured on the image as the model will see it, so a recoloured
copy gets the words of its new look, and the text learns to decide appearance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pathsynth.pretraining.cifar import CIFAR_CLASSES
from pathsynth.pretraining.stylise import STYLE_WORDS

HUES = ("red", "orange", "yellow", "lime", "green", "teal", "cyan", "azure", "blue", "violet", "magenta", "pink")
"""Twelve sectors of 30° on the HSV hue circle; the first is centred on 0°."""

NOUNS = ("photo", "picture", "image", "view", "area")
BRIGHTNESS = ("dark", "dim", "", "bright", "pale")
CONTRAST = ("flat", "", "strong contrast")
TEXTURE = ("smooth", "", "coarse texture", "fine texture", "grainy")
DIRECTION = ("horizontal", "diagonal", "vertical", "antidiagonal")
_OTHER = "grey a of an vivid streaks in with and"
CAPTION_WORDS = tuple(
    word
    for phrase in (*HUES, *NOUNS, *BRIGHTNESS, *CONTRAST, *TEXTURE, *DIRECTION, *CIFAR_CLASSES, *STYLE_WORDS, _OTHER)
    for word in phrase.split()
)


@dataclass(frozen=True)
class Attributes:
    """Attribute words of N images, each an array of N words ('' where there is nothing to say)."""

    colour: np.ndarray
    saturation: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    texture: np.ndarray
    direction: np.ndarray


def measure(images: Tensor) -> Attributes:
    """Attribute words of float images (N, 3, H, W) in [0, 1]."""
    x = images.numpy()
    mean = x.mean(axis=(2, 3))
    grey = x.mean(axis=1)
    chroma = mean.max(axis=1) - mean.min(axis=1)
    colour = np.asarray(HUES)[((hue_degrees(mean) + 15) // 30).astype(int) % 12]
    colour = np.where(chroma < 0.05, "grey", colour)
    saturation = np.where(chroma > 0.3, "vivid", "")
    brightness = _binned(grey.mean(axis=(1, 2)), (0.22, 0.38, 0.6, 0.76), BRIGHTNESS)
    contrast = _binned(grey.std(axis=(1, 2)), (0.1, 0.22), CONTRAST)
    dx, dy = np.diff(grey, axis=2)[:, :-1], np.diff(grey, axis=1)[:, :, :-1]
    fine = np.sqrt((dx**2 + dy**2).mean(axis=(1, 2)))
    coarse = grey.reshape(len(x), 8, grey.shape[1] // 8, 8, -1).mean(axis=(2, 4)).std(axis=(1, 2))
    texture = _binned(fine, (0.04, 0.09, 0.13, 0.19), TEXTURE)
    texture = np.where((texture == "") & (coarse > 2 * fine), "coarse texture", texture)
    return Attributes(colour, saturation, brightness, contrast, texture, _directions(dx, dy))


def hue_degrees(rgb: np.ndarray) -> np.ndarray:
    """HSV hue in degrees [0, 360) of RGB rows (N, 3)."""
    r, g, b = rgb.T
    top, low = rgb.max(axis=1), rgb.min(axis=1)
    span = np.maximum(top - low, 1e-6)
    hue = np.where(top == r, (g - b) / span, np.where(top == g, 2 + (b - r) / span, 4 + (r - g) / span))
    return (60 * hue) % 360


def compose(attributes: Attributes, styles: list[str], labels: np.ndarray, rng: np.random.Generator, empty_share: float) -> list[str]:
    """One caption an image, its parts dropped at random; a share of the captions is empty, for guidance.

    ``styles`` are the words of the filter each image went through ('' for none); they are said nine times in ten.
    """
    keep = rng.random((len(labels), 8))
    nouns = rng.integers(len(NOUNS), size=len(labels))
    empty = rng.random(len(labels)) < empty_share
    return ["" if empty[i] else _caption(attributes, i, styles[i], int(labels[i]), keep[i], NOUNS[nouns[i]]) for i in range(len(labels))]


def _caption(a: Attributes, i: int, style: str, label: int, keep: np.ndarray, noun: str) -> str:
    before = [w for w, k in ((a.brightness[i], keep[0]), (a.saturation[i], keep[1]), (a.colour[i], keep[2])) if w and k < 0.75]
    if style and keep[7] < 0.9:
        before.append(style)
    after = [w for w, k in ((a.contrast[i], keep[3]), (a.texture[i], keep[4])) if w and k < 0.75]
    if a.direction[i] and keep[5] < 0.75:
        after.append(f"{a.direction[i]} streaks")
    subject = f"of a {CIFAR_CLASSES[label]}" if keep[6] < 0.8 else ""
    return " ".join(part for part in ("a", *before, noun, subject, *after) if part)


def _binned(values: np.ndarray, edges: tuple[float, ...], words: tuple[str, ...]) -> np.ndarray:
    return np.asarray(words, dtype=object)[np.digitize(values, edges)]


def _directions(dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """The direction of the streaks where the structure tensor is clearly anisotropic, else ''."""
    jxx, jyy, jxy = (dx * dx).mean(axis=(1, 2)), (dy * dy).mean(axis=(1, 2)), (dx * dy).mean(axis=(1, 2))
    coherence = np.sqrt((jxx - jyy) ** 2 + 4 * jxy**2) / (jxx + jyy + 1e-9)
    across = np.degrees(0.5 * np.arctan2(2 * jxy, jxx - jyy))
    along = (across + 90) % 180
    words = np.asarray(DIRECTION, dtype=object)[((along + 22.5) // 45).astype(int) % 4]
    return np.where(coherence > 0.45, words, "")
