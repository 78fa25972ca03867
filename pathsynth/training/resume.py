"""Resume points: checkpoints between two steps, written whole or not at all, from which a killed training goes on."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from pathsynth.ledger.atomic import write_bytes
from pathsynth.ledger.errors import StageError

_CHECKPOINT = "last.ckpt"


class AtomicCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoint files, put in place in one step, so that a kill while writing leaves the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(Path(path), buffer.getvalue())


class ResumePoints(pl.Callback):
    """Writes a checkpoint every ``every`` optimizer steps and when a signal asks the training to stop.

    A checkpoint is taken at the start of a step, when the one before it is complete, its validation included. So SIGTERM
    and SIGINT wait for the end of the step they fall into; between steps their own handlers answer at once.
    """

    def __init__(self, work: Path, every: int) -> None:
        self._path, self._every = work / _CHECKPOINT, every
        self._saved = 0
        self._in_step = False
        self._asked: tuple[int, FrameType | None] | None = None
        self._handlers: dict[int, Any] = {}

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint to go on from, or None.

        Raises:
            StageError: the file cannot be read.
        """
        if not self._path.is_file():
            return None
        try:
            torch.load(self._path, weights_only=True, map_location="cpu", mmap=True)
        except Exception as error:  # torch raises whatever the bytes lead it to
            raise StageError(f"the checkpoint {self._path} cannot be read; delete it to train from the start") from error
        return self._path

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved = trainer.global_step
        # Lightning sets back the epoch's count of a step that had only begun, but not the total by which validations fall due
        total = trainer.fit_loop.epoch_loop.batch_progress.total
        total.ready = total.completed
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = signal.signal(number, self._ask)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        step = trainer.global_step
        if step > self._saved and (self._asked or step % self._every == 0):
            trainer.save_checkpoint(self._path)
            self._saved = step
        self._answer()
        self._in_step = True

    def on_train_batch_end(self, *_: Any) -> None:
        self._in_step = False

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._answer()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._give_back()
        self._answer()

    def on_exception(self, *_: Any) -> None:
        self._give_back()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._in_step:
            self._asked = (number, frame)
        else:
            _call(self._handlers[number], number, frame)

    def _answer(self) -> None:
        """Pass on a signal that came within the step."""
        if self._asked:
            number, frame = self._asked
            self._asked = None
            _call(self._handlers[number], number, frame)

    def _give_back(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


def _call(handler: Callable[[int, FrameType | None], Any] | int | None, number: int, frame: FrameType | None) -> None:
    if callable(handler):
        handler(number, frame)
    elif handler == signal.SIG_DFL:
        raise KeyboardInterrupt
