"""Resume points: checkpoints between two steps, written whole or not at all, from which a killed training continues."""

from __future__ import annotations

import io
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from pathsynth.ledger import interruption
from pathsynth.ledger.atomic import sync, write_bytes
from pathsynth.ledger.errors import StageError, StoppedElsewhere
from pathsynth.training.distributed import any_rank

_log = logging.getLogger(__name__)


class AtomicCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoint files, put in place in one step, so that a kill while writing leaves the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write the file whole and synced before Lightning removes older ones."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(Path(path), buffer.getvalue())
        sync(Path(path).parent)  # before older ones are removed: a power cut must not take both


class ResumePoints(pl.Callback):
    """Writes a checkpoint every ``every`` optimizer steps and when a signal asks the training to stop; keeps the last ``keep``.

    A checkpoint is taken at the start of a step, when the one before it is complete, its validation included. So a signal
    waits for the end of the step it falls into; between steps its own handler answers at once. Where that answer was lost, the
    request (:mod:`pathsynth.ledger.interruption`) is found at the next step. Weights that are not finite are no point to continue
    from, and are not written.

    Args:
        work: folder of the checkpoints, ``step-<number>.ckpt``.
        every: steps between two checkpoints.
        keep: how many are kept.
        start: a checkpoint from elsewhere to begin with, as long as there is none in ``work``.
    """

    def __init__(self, work: Path, every: int, keep: int = 1, start: Path | None = None) -> None:
        self._work, self._every, self._keep, self._start = work, every, keep, start
        self._saved = 0
        self._in_step = False
        self._signal: tuple[int, FrameType | None] | None = None
        self._handlers: dict[int, Any] = {}

    def checkpoints(self) -> list[Path]:
        """Those that can be read, the newest first; ``start`` is the oldest."""
        return [path for path in self._files() if _readable(path)]

    def _files(self) -> list[Path]:
        return [*sorted(self._work.glob("step-*.ckpt"), reverse=True), *([self._start] if self._start else [])]

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint to continue from, or None. One that cannot be read is reported and passed over for the one before.

        Raises:
            StageError: there are some, and none can be read.
        """
        files = self._files()
        for path in files:
            if _readable(path):
                return path
            _log.warning("the checkpoint %s cannot be read; continuing from the one before", path)
        if files:
            raise StageError(f"the checkpoint {files[-1]} cannot be read; delete it to train from the start")
        return None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over the handlers of the signals that stop a training."""
        self._saved = trainer.global_step
        # Lightning sets back the epoch's count of a step that had only begun, but not the total by which validations fall due
        total = trainer.fit_loop.epoch_loop.batch_progress.total
        total.ready = total.completed
        for number in interruption.SIGNALS:
            if number != signal.SIGHUP or callable(signal.getsignal(number)):
                self._handlers[number] = signal.signal(number, self._ask)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Write a checkpoint if one is due; stop here if asked."""
        step = trainer.global_step
        stop = any_rank(self._signal is not None or interruption.requested(), trainer)
        if step > self._saved and (stop or step % self._every == 0):
            self._save(trainer, pl_module, step)
        self._answer()
        interruption.hold(False)
        interruption.check()
        if stop and trainer.world_size > 1:  # this rank was not asked itself; the one that was will not come to the next step
            raise StoppedElsewhere
        interruption.hold(True)  # what shows progress at the step's end would raise before the next one's start keeps a point
        self._in_step = True

    def _save(self, trainer: pl.Trainer, pl_module: pl.LightningModule, step: int) -> None:
        self._saved = step
        if all(bool(torch.isfinite(p).all()) for p in pl_module.parameters() if p.requires_grad):
            trainer.save_checkpoint(self._work / f"step-{step:08d}.ckpt")
            for old in sorted(self._work.glob("step-*.ckpt"), reverse=True)[self._keep :] if trainer.is_global_zero else ():
                old.unlink()

    def on_train_batch_end(self, *_: Any) -> None:
        """Let signals stop the training at once again."""
        self._in_step = False

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop here if asked: the step is complete."""
        self._answer()
        interruption.hold(False)
        interruption.check()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the signals' handlers; a signal of the last step counts."""
        self._give_back()
        self._answer()

    def on_exception(self, *_: Any) -> None:
        """Restore the signals' handlers."""
        self._give_back()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._in_step:
            interruption.note()
            self._signal = (number, frame)
        else:
            _call(self._handlers[number], number, frame)

    def _answer(self) -> None:
        """Pass on a signal that came within the step."""
        if self._signal:
            number, frame = self._signal
            self._signal = None
            _call(self._handlers[number], number, frame)

    def _give_back(self) -> None:
        interruption.hold(False)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


def _call(handler: Callable[[int, FrameType | None], Any] | int | None, number: int, frame: FrameType | None) -> None:
    if callable(handler):
        handler(number, frame)
    elif handler == signal.SIG_DFL:
        raise KeyboardInterrupt


def _readable(path: Path) -> bool:
    try:
        torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    except Exception:  # damaged bytes make torch raise any exception
        return False
    return True
