"""Lightning callbacks that a configuration names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, LearningRateMonitor

from pathsynth.config.objects import build_object
from pathsynth.ledger.errors import RequestError
from pathsynth.vocabulary.spelling import nearest_hint


def named_callbacks(configured: Mapping[str, Mapping[str, Any]], has_logger: bool) -> list[pl.Callback]:
    """The callbacks of the group ``callbacks``, made from their ``_target_`` and arguments.

    The monitor of learning rates, which Lightning refuses without a logger, is left out where there is none.

    Raises:
        RequestError: a target cannot be found or made, or is no callback.
    """
    callbacks = [_build_callback(name, callback) for name, callback in configured.items()]
    return [callback for callback in callbacks if has_logger or not isinstance(callback, LearningRateMonitor)]


def callback_faults(configured: Mapping[str, Mapping[str, Any]], monitored: Sequence[str]) -> list[str]:
    """A line for each configured callback that cannot be made, or that monitors what no fine-tune logs (all but ``monitored``)."""
    faults: list[str] = []
    for name, callback in configured.items():
        try:
            built = _build_callback(name, callback)
        except RequestError as error:
            faults += error.faults
            continue
        if isinstance(built, EarlyStopping) and built.strict and built.monitor not in monitored:
            remedy = nearest_hint(str(built.monitor), monitored) or f"; set one of {', '.join(monitored)}"
            faults.append(f"callbacks.{name} monitors {built.monitor}, which this fine-tune does not log{remedy}")
    return faults


def _build_callback(name: str, configured: Mapping[str, Any]) -> pl.Callback:
    target = configured["_target_"]
    callback: pl.Callback = build_object(f"callbacks.{name}", configured, pl.Callback)
    if isinstance(callback, Checkpoint):  # Lightning refuses it where the program keeps the checkpoints
        raise RequestError(f"callbacks.{name}: the resume points are the trial's own; leave out {target}, set training.checkpoint_every")
    return callback
