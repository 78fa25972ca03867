"""Averaged weights: the exponential moving average of what is trained, which is validated, checkpointed and exported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from diffusers.training_utils import EMAModel

_KEY = "ema"


class AveragedModule(pl.LightningModule):
    """A module that may train with averaged weights: its validations see them in place of the trained ones.

    Classifiers average in another way (:mod:`pathsynth.training.classifier_module`): without a warm-up, and with the statistics of their
    normalisation layers, which an adapter does not have.
    """

    _averaged: Sequence[torch.nn.Parameter] = ()
    _average: EMAModel | None = None

    def average(self, parameters: Sequence[torch.nn.Parameter], decay: float) -> None:
        """Average ``parameters`` from now on; 0: do not. To be called once, at the end of ``__init__``."""
        self._averaged = parameters
        self._average = EMAModel(parameters, decay=decay, use_ema_warmup=True, power=0.75) if decay else None

    def use_averaged_weights(self) -> None:
        """Put the averaged weights in place; :meth:`use_trained_weights` takes them off again."""
        if self._average:
            self._average.store(self._averaged)
            self._average.copy_to(self._averaged)

    def use_trained_weights(self) -> None:
        """Put the trained weights back in place."""
        if self._average:
            self._average.restore(self._averaged)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Inside, the averaged weights are in place; afterwards the trained ones again."""
        self.use_averaged_weights()
        try:
            yield
        finally:
            self.use_trained_weights()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take a step, and let the average follow it."""
        super().optimizer_step(*args, **kwargs)
        if self._average:
            self._average.step(self._averaged)

    def on_validation_start(self) -> None:
        """Validate the averaged weights."""
        self.use_averaged_weights()

    def on_validation_end(self) -> None:
        """Continue with the trained weights."""
        self.use_trained_weights()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the average."""
        if self._average:
            checkpoint[_KEY] = self._average.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue with the average that was kept."""
        if self._average:
            self._average.load_state_dict(checkpoint[_KEY])
            self._average.to(self._averaged[0].device)  # Lightning reads checkpoints to the CPU
