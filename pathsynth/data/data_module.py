"""A LightningDataModule of the user's as a data set: its loaders' images and labels, in the order of the data sets behind them. No torch.

It runs in the process that reads the user's class (:mod:`pathsynth.data.custom_reader`), which has imported what the class needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from pathsynth.data.decode import middle_square

_BASE = "LightningDataModule"
_READ_TWICE = 4
"""Images of each split that are read a second time, to find transforms that draw random numbers."""


class UnusableItems(Exception):
    """What is wrong with an item of a data set; one line with its remedy."""


def is_data_module(maker: Any) -> bool:
    """Whether this is a class made from a LightningDataModule, of ``pytorch_lightning`` or of ``lightning``."""
    return isinstance(maker, type) and any(base.__name__ == _BASE for base in maker.__mro__)


class DataModuleImages:
    """What :class:`pathsynth.data.custom_data.CustomData` asks for, from a LightningDataModule.

    An item of its data sets is (image, label, …), or a mapping with ``image`` and ``label``. An image is a PIL image (of any size: its
    middle square is scaled), or an array or tensor, (H, W), (H, W, 3) or (3, H, W), uint8 or float from 0 to 1, ``size`` pixels large.
    """

    def __init__(self, module: Any, size: int) -> None:
        self._module, self._size = module, size
        module.prepare_data()
        module.setup("fit")

    @property
    def classes(self) -> Any:
        """``classes`` of the module, or of the data set that it trains on."""
        own = getattr(self._module, "classes", None)
        return own if own is not None else getattr(self._data_set("train"), "classes", None)

    def images(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Of a split: images, uint8 (N, size, size, 3), and labels, int64 (N,).

        Raises:
            UnusableItems: there are none, or one is no image with a label, has values or a size of another kind, or is drawn at random.
        """
        if split == "test":
            self._module.setup("test")
        data_set = self._data_set(split)
        pairs = [self._pair(item) for item in _items(data_set)]
        if not pairs:
            raise UnusableItems("it has no image; give each split some of every class")
        images, labels = zip(*pairs, strict=True)
        self._refuse_random(data_set, images)
        return np.stack(images), np.array(labels, dtype=np.int64)

    def _data_set(self, split: str) -> Any:
        loader = getattr(self._module, f"{split}_dataloader")()
        if isinstance(loader, Sequence) and len(loader) == 1:
            loader = loader[0]
        if not hasattr(loader, "dataset"):
            raise UnusableItems(f"{split}_dataloader() gave a {type(loader).__name__}; it should give one DataLoader")
        return loader.dataset

    def _pair(self, item: Any) -> tuple[np.ndarray, int]:
        if isinstance(item, Mapping):
            if not {"image", "label"} <= item.keys():
                raise UnusableItems(f"an item has the keys {', '.join(map(str, item))}; it should have image and label")
            image, label = item["image"], item["label"]
        elif isinstance(item, Sequence) and len(item) >= 2:
            image, label = item[0], item[1]
        else:
            raise UnusableItems(f"an item is a {type(item).__name__}; it should be an image and its label")
        numbers = np.asarray(label)
        if numbers.size != 1 or numbers.dtype.kind not in "iu":
            raise UnusableItems(f"a label is {label!r}; it should be a whole number")
        return self._pixels(image), int(numbers.reshape(()))

    def _pixels(self, image: Any) -> np.ndarray:
        if isinstance(image, Image.Image):
            return middle_square(image.convert("RGB"), self._size)
        pixels = np.asarray(image)
        if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[-1] not in (1, 3):
            pixels = np.moveaxis(pixels, 0, -1)
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        if pixels.shape not in ((self._size, self._size, channels) for channels in (1, 3)):
            raise UnusableItems(f"an image is {np.asarray(image).shape}; set data.size, or resize it to {self._size} pixels")
        if pixels.dtype.kind == "f":
            if not (pixels.min() >= 0 and pixels.max() <= 1):
                found = f"an image has values from {pixels.min():.3g} to {pixels.max():.3g}"
                raise UnusableItems(f"{found}; leave normalisation out, so that they are from 0 to 1")
            pixels = np.rint(pixels * 255).astype(np.uint8)
        return np.broadcast_to(pixels, (self._size, self._size, 3))

    def _refuse_random(self, data_set: Any, images: Sequence[np.ndarray]) -> None:
        again = (self._pair(item)[0] for item, _ in zip(_items(data_set), range(_READ_TWICE), strict=False))
        if any((before != after).any() for before, after in zip(images, again, strict=False)):
            raise UnusableItems("an image changes from reading to reading; leave random transforms out: the program augments images itself")


def _items(data_set: Any) -> Iterator[Any]:
    """All items once, in order; a data set without a length is iterated."""
    return (data_set[i] for i in range(len(data_set))) if hasattr(data_set, "__len__") else iter(data_set)
