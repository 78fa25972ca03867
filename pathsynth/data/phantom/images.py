"""Phantom images by class, and the data set that is made of them."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np

from pathsynth.data.dataset import SPLITS, DataSet, LabelledImages
from pathsynth.data.phantom.drawing import Draws, image_keys
from pathsynth.data.phantom.exposure import expose
from pathsynth.data.phantom.scene import set_scene
from pathsynth.data.phantom.tissues import TISSUES
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.seeds import derive_seed
from pathsynth.vocabulary.labels import COLORECTAL
from pathsynth.vocabulary.prompts import colorectal_prompts

GENERATOR_VERSION = 2
"""Part of every phantom's identity: raise it with any change of what is drawn."""

SIZES = (16, 512)
_PIXELS_AT_ONCE = 2**17


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
            images[chunk] = expose(set_scene(Draws(image_keys(base, indices[chunk])), size), TISSUES[int(label)])
    return images
