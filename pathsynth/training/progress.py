"""Progress of long steps, with rates and time left: the trial's display on a terminal, one line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

from pathsynth.terminal.stage_display import Count, StageDisplay

Advance = Callable[[int, int, float | None], None]
"""Called with how many are done, of how many, and how many a second (None: not known yet)."""

_LOG_EVERY_SECONDS = 20.0
_REPORT_EVERY_SECONDS = 2.0
_READ_EVERY_SECONDS = 0.5


class Pace:
    """Tells how far a count came, now and then (every two seconds at most), and at which rate.

    The rate is that since the second telling: what a resumed step finds done already is counted before it.
    """

    def __init__(self, report: Advance, clock: Callable[[], float] = time.monotonic) -> None:
        self._report, self._clock = report, clock
        self._last_report: float | None = None
        self._first: tuple[float, int] | None = None

    def note(self, done: int, total: int) -> None:
        """Report ``done`` of ``total``, unless the last report is less than two seconds old."""
        now, rate = self._clock(), None
        if self._last_report is not None and now - self._last_report < _REPORT_EVERY_SECONDS:
            return
        if self._first:
            rate = (done - self._first[1]) / (now - self._first[0])
        elif self._last_report is not None:
            self._first = (now, done)
        self._last_report = now
        self._report(done, total, rate)


def training_progress(title: str, advance: Advance, display: StageDisplay) -> list[pl.Callback]:
    """Steps and losses on the display, or where there is no terminal a line every twenty seconds; and ``advance`` gets the steps."""
    return [DisplayProgress(display) if display.is_seen else LogProgress(title), StepReport(advance)]


def _total_steps(trainer: pl.Trainer) -> int:
    return trainer.max_steps if trainer.max_steps > 0 else int(trainer.estimated_stepping_batches)


class StepReport(pl.Callback):
    """Passes the trainer's steps on; reads no tensor, so that it makes no device wait."""

    def __init__(self, advance: Advance) -> None:
        self._pace = Pace(advance)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Report the step."""
        self._pace.note(trainer.global_step, _total_steps(trainer))


class DisplayProgress(pl.Callback):
    """Shows steps, and now and then the progress-bar metrics, each under the last part of its name."""

    def __init__(self, display: StageDisplay) -> None:
        self._display, self._notes = display, tuple[str, ...]()
        self._read = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Show the step; read metrics only now and then."""
        now = time.monotonic()
        if now - self._read > _READ_EVERY_SECONDS:  # a number on a GPU makes the device wait
            self._read = now
            self._notes = tuple(f"{_last_part(k)} {float(v):.3g}" for k, v in trainer.progress_bar_metrics.items() if k != "v_num")
        self._display.count(Count(trainer.global_step, _total_steps(trainer), "steps", self._notes))


def _last_part(metric: str) -> str:
    return metric.rpartition("/")[2].replace("_", " ")


class LogProgress(pl.Callback):
    """Prints step, rate, time left and the progress-bar metrics, for output that goes to a file."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._started = self._last = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, at a resumed training's step."""
        self._started = self._last = time.monotonic()
        self._first_step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Print a line, unless the last one is recent."""
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
    """Counts settled slots, attempts and denoising steps while images are drawn."""

    def __init__(self, display: StageDisplay, title: str, slots: int, unit: str, advance: Advance) -> None:
        self._display, self._title, self._slots, self._unit = display, title, slots, unit
        self._pace = Pace(advance)
        self._settled = self._attempts = 0
        self._step = ""
        self._last = time.monotonic()
        self._show()

    def count(self, settled: bool) -> None:
        """Note one judged attempt; ``settled``: its slot needs no other."""
        self._attempts += 1
        self._settled += settled
        self._show()
        self._pace.note(self._settled, self._slots)
        if not self._display.is_seen and time.monotonic() - self._last > _LOG_EVERY_SECONDS:
            self._last = time.monotonic()
            print(f"{self._title}: {self._settled}/{self._slots} {self._unit} settled after {self._attempts} attempts", flush=True)

    def denoise(self, evaluations: int, of: int) -> None:
        """Note that the batch at work came so far on its way from noise to images."""
        self._step = f"step {evaluations}/{of}"
        self._show()
        self._pace.note(self._settled, self._slots)

    def _show(self) -> None:
        self._display.count(Count(self._settled, self._slots, self._unit, (f"{self._attempts} attempts", self._step)))
