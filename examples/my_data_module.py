"""A LightningDataModule of your own as the data, by one override.

::

    cd examples
    pathsynth check data._target_=my_data_module.Shapes +data.batch_size=8
    pathsynth run data._target_=my_data_module.Shapes +data.batch_size=8

Any LightningDataModule will do, if

- it, or the data set that it trains on, has `classes`: their names, in the order of the labels;
- the data sets behind `train_dataloader`, `val_dataloader` and `test_dataloader` give (image, label) or a mapping with these keys, an
  image as PIL, uint8, or float from 0 to 1: no normalisation, and no random transforms, since the program augments images itself.

Its batches and workers are not used: the program reads each data set once, in order. A constructor that takes `size` gets `data.size`.
"""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset


class Shapes(pl.LightningDataModule):
    """Bright squares and stripes on a dark field, each somewhere else."""

    classes = ("square", "stripe")

    def __init__(self, size: int = 32, batch_size: int = 16) -> None:
        super().__init__()
        self.size, self.batch_size = size, batch_size

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.train, self.val = self._drawn(60, seed=0), self._drawn(24, seed=1)
        else:
            self.test = self._drawn(12, seed=2)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train, self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.val, self.batch_size)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(self.test, self.batch_size)

    def _drawn(self, n: int, seed: int) -> TensorDataset:
        """Images, float (n, 3, size, size) from 0 to 1, and labels, int64 (n,)."""
        generator = torch.Generator().manual_seed(seed)
        images = 0.3 * torch.rand(n, 3, self.size, self.size, generator=generator)
        labels = torch.arange(n) % 2
        side = self.size // 4
        for image, label in zip(images, labels, strict=True):
            y, x = torch.randint(self.size - side, (2,), generator=generator).tolist()
            image[:, y : y + side, x : x + side if label == 0 else self.size] += 0.6
        return TensorDataset(images, labels)
