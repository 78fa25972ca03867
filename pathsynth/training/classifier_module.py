"""The LightningModule of gates and judges: a timm network, and what the program adds to any classifier that it trains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pathsynth.ledger.errors import StageError
from pathsynth.metrics.agreement import agreement
from pathsynth.models.image_classifier import Classifier, ClassifierSpec
from pathsynth.training.classifier_batches import LabelledBatch
from pathsynth.training.optimizer import build_optimizer
from pathsynth.training.steps import warmup_cosine

_SMOOTHING = 0.1
_OPTIMIZERS = {"adamw": "torch.optim.AdamW", "muon": "timm.optim.Muon"}


class Scored(pl.LightningModule):
    """What the program adds to the LightningModule of a classifier: macro-F1 on the selection half of val, once an epoch.

    ``title``: before the names of its metrics. ``answers``: how many logits an image must get.
    """

    title: str
    answers: int

    @property
    def scored(self) -> nn.Module:
        """What is validated and kept."""
        return self

    def on_validation_epoch_start(self) -> None:
        """Forget the answers of the last validation."""
        self._seen: list[tuple[Tensor, Tensor]] = []

    def validation_step(self, batch: LabelledBatch, _: int) -> None:
        """Keep logits and labels; StageError where the logits have another shape."""
        logits = self.scored(batch.images)
        if logits.shape != (len(batch.labels), self.answers):
            line = f"{self.title}.forward gave {tuple(logits.shape)} for {len(batch.labels)} images of {self.answers} classes"
            raise StageError(f"{line}; it should give a logit for each class")
        self._seen.append((logits.cpu(), batch.labels.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Log macro-F1 and cross-entropy."""
        logits, labels = map(torch.cat, zip(*self._seen, strict=True))
        self._seen.clear()
        scores = agreement(labels.numpy(), logits.argmax(dim=1).numpy(), logits.shape[1])
        self.log(f"{self.title}/macro_f1", scores.macro_f1, prog_bar=True)
        self.log(f"{self.title}/val_loss", functional.cross_entropy(logits, labels))


def add_scores(module: pl.LightningModule, title: str, answers: int) -> Scored:
    """The module, made a :class:`Scored` where its class is none; a validation of its own is not called then."""
    if not isinstance(module, Scored):
        kind = type(module)
        module.__class__ = type(kind.__name__, (Scored, kind), {"__module__": kind.__module__})  # as torch's parametrizations do
    assert isinstance(module, Scored)
    module.title, module.answers = title, answers
    return module


class ClassifierModule(Scored):
    """A timm network: cross-entropy with label smoothing, AdamW or Muon, warm-up and cosine.

    ``classes`` and ``size`` are the program's; the other arguments are settings (:class:`pathsynth.config.ClassifierConfig`).
    ``revision``: of pretrained weights (None: the newest). What is scored is the classifier, or the running mean of its weights.
    """

    def __init__(
        self,
        classes: Sequence[str],
        size: int,
        architecture: str,
        stem: str,
        pretrained: bool,
        optimizer: str,
        lr: float,
        weight_decay: float,
        width: float = 1.0,
        ema_decay: float = 0.0,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        self.classifier = Classifier(ClassifierSpec(architecture, size, stem, tuple(classes), "", width), pretrained, revision)
        averaging = get_ema_multi_avg_fn(ema_decay)
        self.averaged = AveragedModel(self.classifier, multi_avg_fn=averaging, use_buffers=True) if ema_decay else None
        self.title = architecture
        self._optimizer = {"_target_": _OPTIMIZERS[optimizer], "lr": lr, "weight_decay": weight_decay}

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, C) by the weights that are kept."""
        return self.scored(images)

    def training_step(self, batch: LabelledBatch, _: int) -> Tensor:
        """Cross-entropy with label smoothing."""
        loss = functional.cross_entropy(self.classifier(batch.images), batch.labels, label_smoothing=_SMOOTHING)
        self.log(f"{self.title}/loss", loss, prog_bar=True, batch_size=len(batch.labels))
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        """Average the weights, where ``averaged`` is on."""
        if self.averaged:
            self.averaged.update_parameters(self.classifier)

    @property
    def scored(self) -> nn.Module:
        """The network that is validated and kept: the averaged weights, where there are some."""
        return self.averaged.module if self.averaged else self.classifier

    def configure_optimizers(self):
        """The configured optimizer, with warm-up and cosine."""
        optimizer, steps = build_optimizer(self._optimizer, _by_dimensions(self.classifier.parameters())), self.trainer.max_steps
        warmup = max(1, steps // 10)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, warmup, steps, 0.01))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _by_dimensions(parameters: Iterable[nn.Parameter]) -> dict[str, list[nn.Parameter]]:
    """Matrices and convolutions, which Muon takes orthogonal steps in, and vectors, which it leaves to AdamW."""
    groups: dict[str, list[nn.Parameter]] = {"matrices": [], "vectors": []}
    for parameter in parameters:
        groups["matrices" if parameter.ndim > 1 else "vectors"].append(parameter)
    return groups
