"""The check of ``debug=overfit``: on a few images seen again and again, the loss has to fall."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from typing_extensions import override

from pathsynth.ledger.errors import StageError

_AT_LEAST = 0.02
"""The share by which the loss has to fall."""


class FallingLoss(pl.Callback):
    """Measures the loss before the first step and after the last.

    ``measure`` maps the module to its loss on fixed batches.

    Raises:
        StageError: at the end of training, if the loss has not fallen.
    """

    def __init__(self, measure: Callable[[Any], float]) -> None:
        self._measure = measure
        self._before: float | None = None

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"before": self._before}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._before = state_dict["before"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the loss, unless a resumed training has measured it."""
        if self._before is None:
            self._before = self._measure(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the loss again; StageError where it did not fall enough."""
        before, after = self._before, self._measure(pl_module)
        assert before is not None
        losses = f"{before:.4f} before the first step, {after:.4f} after step {trainer.global_step}"
        if not after < (1 - _AT_LEAST) * before:
            raise StageError(f"the loss did not fall: {losses}; raise optimizer.lr or trainer.max_steps")
        print(f"the loss fell: {losses}", flush=True)
