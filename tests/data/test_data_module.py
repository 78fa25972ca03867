"""A LightningDataModule as the data: its data sets are read once, in order, and what cannot be used is told in one line."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from pathsynth.data.custom_reader import read
from pathsynth.ledger.errors import RequestError
from tests.data.test_custom_data import module_with, pictures

PIXELS = pictures(8)
LABELS = np.arange(8) % 2
ITEMS = {
    "arrays": lambda i: (PIXELS[i], LABELS[i]),
    "PIL": lambda i: (Image.fromarray(PIXELS[i]), int(LABELS[i])),
    "tensors": lambda i: (torch.from_numpy(PIXELS[i]).movedim(-1, 0), torch.tensor(int(LABELS[i]))),
    "floats": lambda i: (torch.from_numpy(PIXELS[i]).movedim(-1, 0) / 255, LABELS[i : i + 1]),
    "mapping": lambda i: {"image": PIXELS[i], "label": LABELS[i], "path": "a.png"},
    "more": lambda i: [PIXELS[i], LABELS[i], {"slide": 3}],
}


class Items(Dataset):
    classes = ("a", "b")

    def __init__(self, item, n: int = 8) -> None:
        self.item, self.n = item, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index):
        return self.item(index)


class Mine(pl.LightningDataModule):
    """Each split has the same items; those of test are there after their own set-up alone."""

    item = staticmethod(ITEMS["arrays"])
    data_set = Items

    def __init__(self, n: int = 8) -> None:
        super().__init__()
        self.n = n

    def setup(self, stage: str) -> None:
        for split in {"fit": ("train", "val"), "test": ("test",)}[stage]:
            setattr(self, split, self.data_set(self.item, self.n))

    def train_dataloader(self):
        return DataLoader(self.train, 2, shuffle=True)

    def val_dataloader(self):
        return [DataLoader(self.val, 3, drop_last=True)]

    def test_dataloader(self):
        return DataLoader(self.test)


@pytest.fixture
def mine(monkeypatch) -> ModuleType:
    return module_with(monkeypatch, Mine)


def order(**arguments) -> dict:
    return {"module": {"_target_": "mine.Mine", **arguments}, "size": 16, "counts": {"train": 0, "val": 0, "test": 0}, "folder": None}


@pytest.mark.parametrize("kind", ITEMS)
def test_whatever_an_item_is_its_pixels_and_label_are_read_in_order(mine, kind):
    expected = read(order())
    mine.Mine.item = staticmethod(ITEMS[kind])
    assert read(order()) == expected
    assert (expected["classes"], expected["counts"]) == (["a", "b"], {"train": 8, "val": 8, "test": 8})
    assert expected["digests"]["train"] == expected["digests"]["test"], "neither shuffled nor cut to whole batches"


def test_grey_images_get_three_channels_and_pil_images_the_size(mine):
    mine.Mine.item = staticmethod(lambda i: (torch.from_numpy(PIXELS[i][..., 0]), LABELS[i]))
    grey = read(order())
    mine.Mine.item = staticmethod(lambda i: (np.repeat(PIXELS[i][..., :1], 3, axis=2), LABELS[i]))
    assert read(order()) == grey
    mine.Mine.item = staticmethod(lambda i: (Image.new("RGB", (40, 30), (9 * i, 0, 0)), LABELS[i]))
    assert read(order())["counts"] == grey["counts"]


def test_size_is_passed_where_the_constructor_takes_it(mine):
    class Sized(Mine):
        def __init__(self, size: int, root: str = "") -> None:
            super().__init__()
            assert size == 16

    mine.Mine = Sized
    assert read(order())["counts"]["val"] == 8
    with pytest.raises(RequestError, match="mine.Mine refuses its arguments .*; it takes no argument besides size and root"):
        read(order(depth=3))
    mine.Mine = Mine
    with pytest.raises(RequestError, match="mine.Mine refuses its arguments .*; it takes n$"):
        read(order(depth=3))


random = np.random.default_rng(0)
UNUSABLE = {
    "normalised": (lambda i: (PIXELS[i] / 64 - 2, 0), "an image has values from -2 to 1.98; leave normalisation out"),
    "another size": (lambda i: (pictures(1, 20)[0], 0), "an image is (20, 20, 3); set data.size, or resize it to 16 pixels"),
    "random": (lambda i: (random.integers(255, size=(16, 16, 3), dtype=np.uint8), i % 2), "leave random transforms out"),
    "several labels": (lambda i: (PIXELS[i], np.array([0, 1])), "a label is array([0, 1]); it should be a whole number"),
    "a word": (lambda i: (PIXELS[i], "a"), "a label is 'a'; it should be a whole number"),
    "no pair": (lambda i: PIXELS[i], "an item is a ndarray; it should be an image and its label"),
    "other keys": (lambda i: {"pixels": PIXELS[i]}, "an item has the keys pixels; it should have image and label"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_an_item_that_cannot_be_used_is_named(mine, case):
    item, words = UNUSABLE[case]
    mine.Mine.item = staticmethod(item)
    with pytest.raises(RequestError) as told:
        read(order())
    assert str(told.value).startswith("data: mine.Mine.train_dataloader(): ") and words in str(told.value)


def test_loaders_that_are_none_are_named(mine):
    mine.Mine.val_dataloader = lambda self: [DataLoader(self.val), DataLoader(self.val)]
    with pytest.raises(RequestError, match="val_dataloader.. gave a list; it should give one DataLoader"):
        read(order())
    mine.Mine.train_dataloader = lambda self: DataLoader(Items(self.item, 0))
    with pytest.raises(RequestError, match="train_dataloader..: it has no image"):
        read(order())
    mine.Mine.setup = lambda self, stage: 1 / 0
    with pytest.raises(RequestError, match="mine.Mine cannot be made .ZeroDivisionError"):
        read(order())
