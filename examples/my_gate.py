"""A gate of your own: a LightningModule in the place of the shipped one, by one override.

::

    cd examples
    pathsynth run gate._target_=my_gate.MyGate +gate.width=32

From the folder above, the class is `examples.my_gate.MyGate`. `judge._target_=…` puts it in the place of the judge. What it needs:

- a constructor that takes `classes` (their short names, in the order of the logits) and `size` (pixels) by keyword; whatever else
  it takes is set by keys of the group: `+gate.width=32` here;
- `forward(images)`: float (N, 3, size, size) in [0, 1] → logits (N, number of classes);
- `training_step` and `configure_optimizers`, as in any LightningModule.

The program does the rest: it gives the batches (`images, labels = batch`), augments them, validates once an epoch, keeps the weights with
the best macro-F1, and fits the temperature. So no data loader and no validation of the module's own are used.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional


class MyGate(pl.LightningModule):
    """Three convolutions, the mean over the image, one linear layer."""

    def __init__(self, classes: Sequence[str], size: int, width: int = 32, lr: float = 3e-3) -> None:
        super().__init__()
        self.lr = lr
        layers: list[nn.Module] = []
        for before, after in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(4 * width, len(classes))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """Optional: what images are compared by where this is the judge, and where copies are rejected; else it is the logits."""
        return self.body(images * 2 - 1)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = batch
        loss = functional.cross_entropy(self(images), labels)
        self.log("MyGate/loss", loss)  # metrics that begin with the name of the class are drawn over the steps in W&B
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.lr)
