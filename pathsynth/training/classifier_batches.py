"""Batches of a classifier's training: pure functions of (seed, step), so that a training that continues sees the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from pathsynth.data.dataset import LabelledImages
from pathsynth.data.degrade import degrade
from pathsynth.data.stain import stain_jitter
from pathsynth.data.tensors import dihedral, to_float
from pathsynth.training.steps import step_generator, step_loader

VALIDATION_BATCH = 256
"""Images of a batch that is only looked at."""
_STAIN_STRENGTH = 0.5
_BLUR, _NOISE = 0.6, 0.03


class LabelledBatch(NamedTuple):
    """``images`` float (N, 3, S, S) in [0, 1] and ``labels`` int64 (N,)."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class ClassifierBatches:
    """The batches of a training: every epoch sees each image once, in an order and with changes that depend on the seed alone."""

    train: LabelledImages
    selection: LabelledImages
    batch_size: int
    seed: int
    orientations: bool
    stains: bool
    noise: bool

    @property
    def an_epoch(self) -> int:
        """Steps in an epoch; what does not fill a batch is left out (another part each time)."""
        return max(1, len(self.train) // self.batch_size)

    def of_step(self, step: int) -> LabelledBatch:
        """The training batch of a step, augmented."""
        epoch, place = divmod(step, self.an_epoch)
        order = torch.randperm(len(self.train), generator=step_generator(self.seed, "classifier order", epoch))
        rows = order[place * self.batch_size : (place + 1) * self.batch_size].numpy()
        generator = step_generator(self.seed, "classifier augmentation", step)
        images = to_float(self.train.images[rows])
        if self.orientations:
            images = dihedral(images, torch.randint(8, (len(rows),), generator=generator))
        if self.stains:
            images = stain_jitter(images, _STAIN_STRENGTH, generator)
        if self.noise:
            images = degrade(images, _BLUR, _NOISE, generator)
        return LabelledBatch(images, torch.from_numpy(self.train.labels[rows]))

    def validation(self, index: int) -> LabelledBatch:
        """The ``index``-th batch of the images that the epoch is chosen on, as they are."""
        rows = slice(index * VALIDATION_BATCH, (index + 1) * VALIDATION_BATCH)
        return LabelledBatch(to_float(self.selection.images[rows]), torch.from_numpy(self.selection.labels[rows]))


class ClassifierData(pl.LightningDataModule):
    """The batches of a training as Lightning asks for them: ``steps`` of training, and the selection half of val."""

    def __init__(self, batches: ClassifierBatches, epochs: int) -> None:
        super().__init__()
        self.batches = batches
        self.steps = epochs * batches.an_epoch

    def train_dataloader(self):
        """Batches from the current step on, so that a resumed training repeats none."""
        assert self.trainer
        return step_loader(self.batches.of_step, self.trainer.global_step, self.steps)

    def val_dataloader(self):
        """The selection half of val, in order."""
        return step_loader(self.batches.validation, 0, math.ceil(len(self.batches.selection) / VALIDATION_BATCH))
