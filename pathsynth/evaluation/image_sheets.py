"""Contact sheets of a generated set, and the images of it and of the real ones that pages show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pathsynth.data.dataset import DataSet
from pathsynth.metrics.neighbours import nearest
from pathsynth.models.image_classifier import Classifier
from pathsynth.sampling.attempts import AttemptRow, read_attempts
from pathsynth.sampling.gate import class_features
from pathsynth.sampling.pictures import contact_sheet, labelled_sheet, read_png
from pathsynth.vocabulary.labels import LabelSpace, slug_words

_COLUMNS = 10
_PAIRS = 5


@dataclass(frozen=True)
class ImageSet:
    """A generated set on disk: its attempts, and the folder that their image paths start from."""

    rows: tuple[AttemptRow, ...]
    folder: Path

    @classmethod
    def read(cls, folder: Path) -> ImageSet:
        """By class, slot and attempt, independent of batches. Raises StageError if the ledger is missing or damaged."""
        return cls(tuple(sorted(read_attempts(folder), key=lambda r: (r.label, r.slot, r.attempt))), folder)

    def pictures(self, label: int, chosen: Callable[[AttemptRow], bool], most: int) -> list[np.ndarray]:
        """Up to ``most`` kept images of a class, in slot order: uint8 (H, W, 3) each."""
        kept = sorted((r for r in self.rows if r.image and r.label == label and chosen(r)), key=lambda r: r.slot)
        return [read_png(self.folder / r.image) for r in kept[:most] if r.image]


def write_sheet(path: Path, images: ImageSet, space: LabelSpace, size: int) -> None:
    """A row of up to ten accepted images for each class, under its name and in class order; nothing where none was accepted."""
    pictures = {c.slug: images.pictures(c.index, lambda r: r.accepted, _COLUMNS) for c in space.classes}
    rows = {slug_words(slug): row for slug, row in pictures.items() if row}
    if rows:
        labelled_sheet(list(rows.values()), list(rows), max(map(len, rows.values())), size).save(path)


def first_rejected(images: ImageSet) -> list[str]:
    """Of each class's first ten slots the rejected first attempts that were kept, as paths below the set's folder."""
    return [r.image for r in images.rows if r.image and r.attempt == 0 and not r.accepted and r.slot < _COLUMNS]


def write_sheets(folder: Path, images: ImageSet, data: DataSet, split: str) -> None:
    """``real.png``, ``first_attempts.png`` and ``accepted.png``: a row a class, in class order, ten images each.

    The real ones are written one by one, too, for pages: ``real/<class>/<number>.png``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    real = data.split(split)
    labels = [c.index for c in data.space.classes]
    sheets = {
        "real": [list(real.images[np.flatnonzero(real.labels == label)[:_COLUMNS]]) for label in labels],
        "first_attempts": [images.pictures(label, lambda r: r.attempt == 0, _COLUMNS) for label in labels],
        "accepted": [images.pictures(label, lambda r: r.accepted, _COLUMNS) for label in labels],
    }
    for name, pictures in sheets.items():
        contact_sheet(pictures, _COLUMNS, data.size).save(folder / f"{name}.png")
    for c, row in zip(data.space.classes, sheets["real"], strict=True):
        for number, picture in enumerate(row):
            _save_real(folder / "real" / c.slug / f"{number}.png", picture)


def _save_real(path: Path, image: np.ndarray) -> None:
    """Write a real image; it has none of the text chunks by which a synthetic one is known."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def write_nearest(path: Path, images: ImageSet, data: DataSet, judge: Classifier, train_features: np.ndarray) -> None:
    """A row a class: the accepted images nearest to a training image in the judge's features, each followed by that one; five at most.

    The training images are written one by one, too, for pages: ``nearest/<class>/<place>-<accepted image's name>.png`` beside the
    sheet, the nearest with place 0. ``train_features``: float (M, F) of the training images, in their order. Nothing is written
    where nothing was accepted.
    """
    accepted = [r for r in images.rows if r.accepted and r.image]
    if not accepted:
        return
    pictures = np.stack([read_png(images.folder / r.image) for r in accepted if r.image])
    distances, rows = nearest(class_features(judge, pictures), train_features)
    train, labels = data.split("train").images, np.array([r.label for r in accepted])
    order = np.argsort(distances, kind="stable")
    closest = [order[labels[order] == c.index][:_PAIRS] for c in data.space.classes]
    pairs = [[picture for i in places for picture in (pictures[i], train[rows[i]])] for places in closest]
    contact_sheet(pairs, 2 * _PAIRS, data.size).save(path)
    for c, places in zip(data.space.classes, closest, strict=True):
        for place, i in enumerate(places):
            _save_real(path.with_suffix("") / c.slug / f"{place}-{accepted[i].name}.png", train[rows[i]])
