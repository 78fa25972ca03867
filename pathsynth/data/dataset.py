"""Labelled images and the data sets they come from. No torch, so that planning a run stays light."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pathsynth.data.images import ImageRows, Images
from pathsynth.data.splits import group_half, random_half
from pathsynth.ledger.errors import RequestError
from pathsynth.vocabulary.labels import LabelSpace
from pathsynth.vocabulary.prompts import PromptBook

SPLITS = ("train", "val", "test")
PARTS = ("a", "b", "all")


@dataclass(frozen=True)
class Counts:
    """How many images of each split; 0 means all. Classes come in turn, so that each has as many as the others where it can.

    ``allow_fewer``: a split with fewer images gives all of them.
    """

    train: int = 0
    val: int = 0
    test: int = 0
    allow_fewer: bool = False

    def limited(self, available: Mapping[str, int], source: object, classes: int) -> Counts:
        """The counts that a ``source`` with so many images of each split gives.

        Raises:
            RequestError: as :meth:`of_split`.
        """
        train, val, test = (self.of_split(split, available[split], source, classes) for split in SPLITS)
        return Counts(train, val, test)

    def of_split(self, split: str, available: int, source: object, classes: int) -> int:
        """How many images are taken of a split that has ``available`` ones; 0: all.

        Raises:
            RequestError: more are wanted than there are, or so few that a class would have none to learn from.
        """
        wanted: int = getattr(self, split)
        if wanted > available and self.allow_fewer:
            return 0
        if wanted > available:
            raise RequestError(f"{source} has {available:,} {split} images, not {wanted:,}; lower data.n_{split}, or set 0 for all")
        if split == "train" and 0 < wanted < classes:
            raise RequestError(f"data.n_train={wanted} leaves some of the {classes} classes without an image; raise it, or set 0 for all")
        return wanted


ALL = Counts()


@dataclass(frozen=True)
class LabelledImages:
    """``images`` uint8 (N, H, W, 3) and ``labels`` int64 (N,) that index the classes of a label space.

    ``groups`` int64 (N,): which patient or slide each image shows, where that is known and kept apart.
    """

    images: Images
    labels: np.ndarray
    groups: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[3] != 3:
            raise ValueError(f"images must be uint8 (N, H, W, 3), not {self.images.dtype} {self.images.shape}")
        if self.labels.dtype != np.int64 or self.labels.shape != (len(self.images),):
            raise ValueError(f"labels must be int64 ({len(self.images)},), not {self.labels.dtype} {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> LabelledImages:
        """The chosen rows, in the order given; ``rows`` is an integer or boolean index. What lies on the disk stays there."""
        images = self.images.take(rows) if isinstance(self.images, ImageRows) else self.images[rows]
        return LabelledImages(images, self.labels[rows], None if self.groups is None else self.groups[rows])


@dataclass(frozen=True)
class DataSet:
    """A named data set with train, val and test splits.

    ``name`` goes into every result; ``identity`` (hex) is a hash of all that determines the content; ``size`` is in pixels.
    ``read`` maps a split to its images, lazily, and keeps what it has read.
    """

    name: str
    identity: str
    size: int
    space: LabelSpace
    prompts: PromptBook
    read: Callable[[str], LabelledImages]

    def split(self, name: str) -> LabelledImages:
        """The images of ``"train"``, ``"val"`` or ``"test"``.

        Raises:
            RequestError: there is no such split.
        """
        if name not in SPLITS:
            raise RequestError(f"no split '{name}'; choose one of: {', '.join(SPLITS)}")
        return self.read(name)

    def part(self, part: str) -> LabelledImages:
        """All of train (``"all"``) or one of its two disjoint halves (``"a"``, ``"b"``), stratified by class.

        Which half a row belongs to depends on the data's identity and the row alone (or its group), so a classifier trained on one
        half and a judge trained on the other never share an image (or a group).

        Raises:
            RequestError: there is no such part.
        """
        if part not in PARTS:
            raise RequestError(f"no part '{part}' of the training data; choose one of: {', '.join(PARTS)}")
        train = self.split("train")
        if part == "all":
            return train
        in_a = _half(train, "part", self.identity)
        return train.take(np.flatnonzero(in_a if part == "a" else ~in_a))

    def selection(self) -> LabelledImages:
        """The half of val, stratified by class, on which a classifier's epoch and temperature are chosen; of too small a val, all."""
        val, chosen = self.split("val"), self._val_half()
        return val if chosen is None else val.take(np.flatnonzero(chosen))

    def assessment(self, split: str) -> LabelledImages | None:
        """The images of a split that classifiers are scored on: all, but of val the half on which nothing was chosen.

        None for a val that is too small: with fewer than two images (or groups, where they are kept apart) of a class.

        Raises:
            RequestError: there is no such split.
        """
        images = self.split(split)
        if split != "val":
            return images
        chosen = self._val_half()
        return None if chosen is None else images.take(np.flatnonzero(~chosen))

    def _val_half(self) -> np.ndarray | None:
        """Boolean (N,): the images of val that choose; None where it is too small to be halved."""
        val = self.split("val")
        if int(np.bincount(val.labels, minlength=len(self.space)).min()) < 2:
            return None
        try:
            return _half(val, "val", self.identity)
        except RequestError:  # its groups are too few
            return None


def first_of_each_class(labels: np.ndarray, n: int) -> np.ndarray:
    """int64 (n,): rows in their order, the first of every class, then the second of every class, and so on until there are n."""
    place = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = labels == label
        place[rows] = np.arange(rows.sum())
    return np.sort(np.lexsort((labels, place))[:n])


def _half(images: LabelledImages, purpose: str, identity: str) -> np.ndarray:
    """Boolean (N,): half of the images of each class; whole groups alone, where groups are kept apart.

    Raises:
        RequestError: the groups leave no such halves.
    """
    if images.groups is None:
        return random_half(images.labels, purpose, identity)
    return group_half(images.labels, images.groups, purpose, identity)
