"""Labelled images and the data sets they come from. No torch, so that planning a run stays light."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pathsynth.data.splits import group_half, random_half
from pathsynth.ledger.errors import RequestError
from pathsynth.vocabulary.labels import LabelSpace
from pathsynth.vocabulary.prompts import PromptBook

SPLITS = ("train", "val", "test")
PARTS = ("a", "b", "all")


class Counts(NamedTuple):
    """How many images of each split; 0 means all. Classes come in turn, so that each has as many as the others where it can."""

    train: int = 0
    val: int = 0
    test: int = 0


ALL = Counts()


@dataclass(frozen=True)
class LabelledImages:
    """``images`` uint8 (N, H, W, 3) and ``labels`` int64 (N,) that index the classes of a label space.

    ``groups`` int64 (N,): which patient or slide each image shows, where that is known and kept apart.
    """

    images: np.ndarray
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
        """The chosen rows, in the order given; ``rows`` is an integer or boolean index."""
        return LabelledImages(self.images[rows], self.labels[rows], None if self.groups is None else self.groups[rows])


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
        groups = train.groups
        told = ("part", self.identity)
        in_a = random_half(train.labels, *told) if groups is None else group_half(train.labels, groups, *told)
        return train.take(np.flatnonzero(in_a if part == "a" else ~in_a))


def first_of_each_class(labels: np.ndarray, n: int) -> np.ndarray:
    """int64 (n,): rows in their order, the first of every class, then the second of every class, and so on until there are n."""
    place = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = labels == label
        place[rows] = np.arange(rows.sum())
    return np.sort(np.lexsort((labels, place))[:n])
