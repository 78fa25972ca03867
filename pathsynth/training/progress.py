"""Progress of long steps, with rates and time left: Rich on a terminal, one line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Advance = Callable[[int, int, float | None], None]
"""Called with how many are done, of how many, and how many a second (None: not known yet)."""

_LOG_EVERY_SECONDS = 20.0
_TELL_EVERY_SECONDS = 2.0


class Pace:
    """Tells how far a count came, now and then (every two seconds at most), and at which rate.

    The rate is that since the second telling: what a resumed step finds done already is counted before it.
    """

    def __init__(self, tell: Advance, clock: Callable[[], float] = time.monotonic) -> None:
        self._tell, self._clock = tell, clock
        self._last_report: float | None = None
        self._first: tuple[float, int] | None = None

    def note(self, done: int, total: int) -> None:
        now, rate = self._clock(), None
        if self._last_report is not None and now - self._last_report < _TELL_EVERY_SECONDS:
            return
        if self._first:
            rate = (done - self._first[1]) / (now - self._first[0])
        elif self._last_report is not None:
            self._first = (now, done)
        self._last_report = now
        self._tell(done, total, rate)


def training_progress(title: str, advance: Advance) -> list[pl.Callback]:
    """Lightning's Rich bar on a terminal, elsewhere a line every twenty seconds; and ``advance`` gets the steps."""
    shown = RichProgressBar(refresh_rate=5, leave=True) if Console().is_terminal else LogProgress(title)
    return [shown, StepReport(advance)]


def _total_steps(trainer: pl.Trainer) -> int:
    return trainer.max_steps if trainer.max_steps > 0 else int(trainer.estimated_stepping_batches)


class StepReport(pl.Callback):
    """Passes the trainer's steps on; reads no tensor, so that it makes no device wait."""

    def __init__(self, advance: Advance) -> None:
        self._pace = Pace(advance)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        self._pace.note(trainer.global_step, _total_steps(trainer))


class LogProgress(pl.Callback):
    """Prints step, rate, time left and the progress-bar metrics, for output that goes to a file."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._started = self._last = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = self._last = time.monotonic()
        self._first_step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        now = time.monotonic()
        if now - self._last < _LOG_EVERY_SECONDS:
            return
        self._last = now
        total = _total_steps(trainer)
        rate = (trainer.global_step - self._first_step) / (now - self._started)
        left = (total - trainer.global_step) / rate if rate else float("inf")
        shown = " ".join(f"{k}={float(v):.3g}" for k, v in trainer.progress_bar_metrics.items() if k != "v_num")
        print(f"{self._title}: step {trainer.global_step}/{total}, {rate:.2f} steps/s, {left:.0f} s left {shown}", flush=True)


class SamplingProgress:
    """Counts settled slots and attempts while images are drawn."""

    def __init__(self, progress: Progress, title: str, slots: int, advance: Advance) -> None:
        self._progress, self._title, self._slots = progress, title, slots
        self._pace = Pace(advance)
        self._task = progress.add_task(title, total=slots, attempts=0)
        self._settled = self._attempts = 0
        self._last = time.monotonic()

    def count(self, settled: bool) -> None:
        """Note one judged attempt; ``settled``: its slot needs no other."""
        self._attempts += 1
        self._settled += settled
        self._progress.update(self._task, completed=self._settled, attempts=self._attempts)
        self._pace.note(self._settled, self._slots)
        if not self._progress.console.is_terminal and time.monotonic() - self._last > _LOG_EVERY_SECONDS:
            self._last = time.monotonic()
            print(f"{self._title}: {self._settled}/{self._slots} slots settled after {self._attempts} attempts", flush=True)


@contextmanager
def sampling_progress(title: str, slots: int, advance: Advance) -> Iterator[SamplingProgress]:
    """A bar over slots with the number of attempts, elapsed time and time left; ``advance`` gets the settled slots."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("slots, {task.fields[attempts]} attempts"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield SamplingProgress(progress, title, slots, advance)
