"""Lightning callbacks that a configuration names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import hydra.utils
import pytorch_lightning as pl
from pytorch_lightning.callbacks import LearningRateMonitor

from pathsynth.ledger.errors import RequestError


def named_callbacks(configured: Mapping[str, Mapping[str, Any]], has_logger: bool) -> list[pl.Callback]:
    """The callbacks of the group ``callbacks``, made from their ``_target_`` and arguments.

    The monitor of learning rates, which Lightning refuses without a logger, is left out where there is none.

    Raises:
        RequestError: a target cannot be found or made, or is no callback.
    """
    made = [_made(name, callback) for name, callback in configured.items()]
    return [callback for callback in made if has_logger or not isinstance(callback, LearningRateMonitor)]


def _made(name: str, configured: Mapping[str, Any]) -> pl.Callback:
    target = configured["_target_"]
    try:
        callback = hydra.utils.instantiate(dict(configured))
    except Exception as error:  # whatever the class raises at its arguments
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split()) or type(cause).__name__
        raise RequestError(f"callbacks.{name} cannot be made of {target}: {reason}; correct it, or leave it out") from error
    if not isinstance(callback, pl.Callback):
        raise RequestError(f"callbacks.{name}: {target} is no pytorch_lightning.Callback; set callbacks.{name}._target_ to one")
    return callback
