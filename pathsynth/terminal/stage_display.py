"""What a trial shows on a terminal: its finished stages, ticked, and one line that moves for the stage at work. Loads no torch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

_WORDS = {"finetune": "fine-tune"}
"""Stages that are called otherwise for people."""
_BAR = 24


@dataclass(frozen=True)
class Count:
    """How far a stage came: ``done`` of ``total`` (of ``unit``), and what else is shown of it, as in "loss 0.45"."""

    done: int
    total: int
    unit: str = ""
    notes: tuple[str, ...] = ()


class StageDisplay:
    """The one display of a trial; on what is no terminal it shows nothing.

    Lines that are printed meanwhile stand above it. One stage is at work at a time. ``elsewhere``: whether another process shows
    what the trial's state says.
    """

    def __init__(self, stages: int, console: Console, elsewhere: bool = False) -> None:
        self._stages, self._console, self._begun, self._elsewhere = stages, console, 0, elsewhere
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(_BAR), _Facts())
        self._line = Progress(*columns, console=console, transient=True, disable=not console.is_terminal, expand=False)
        self._task = self._line.add_task("loading the libraries", total=None)
        self._stage, self._since, self._detail = "", time.monotonic(), ""
        self._notes: tuple[str, ...] = ()

    @property
    def is_seen(self) -> bool:
        """Whether the progress of a stage is shown, here or elsewhere."""
        return self._elsewhere or not self._line.disable

    @property
    def notes(self) -> str:
        """What else is shown of the stage at work, as in "loss 0.45"."""
        return " · ".join(filter(None, self._notes))

    @property
    def line(self) -> RenderableType:
        """What is shown of the stage at work."""
        return self._line.get_renderable()

    def begin(self, stage: str, detail: str) -> None:
        """The next stage is at work (``detail``: building) or was found (reused)."""
        self._tick()
        self._begun += 1
        self._stage, self._detail, self._since, self._notes = stage_word(stage), detail, time.monotonic(), ()
        self._line.reset(self._task, description=f"\\[{self._begun}/{self._stages}] {self._stage}", total=None, count=None)

    def count(self, count: Count) -> None:
        """The stage at work came so far."""
        total, self._notes = count.total or None, count.notes
        self._line.update(self._task, completed=count.done, total=total, count=count)

    def _tick(self) -> None:
        if self._stage and not self._line.disable:
            took = self._detail if self._detail == "reused" else clock(time.monotonic() - self._since)
            self._console.print(Text.assemble(("✓ ", "green"), f"[{self._begun}/{self._stages}] {self._stage}  ", (took, "dim")))
        self._stage = ""

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While active, it stands on the terminal; at the end only the finished stages do."""
        with self._line:
            yield
            self._tick()
            self._line.update(self._task, visible=False)


class _Facts(ProgressColumn):
    """The count, the time left, and the other numbers; before anything is counted, the time so far."""

    def render(self, task: Task) -> Text:
        count: Count | None = task.fields.get("count")
        if count is None:
            return Text(clock(task.elapsed or 0))
        return Text(facts(count, task.time_remaining), no_wrap=True, overflow="ellipsis")


def facts(count: Count, seconds_left: float | None) -> str:
    """A count as a line: "40/200 steps · 2:10 left · loss 0.45"."""
    left = f"{clock(seconds_left)} left" if seconds_left is not None and count.done < count.total else ""
    return " · ".join(filter(None, (f"{count.done}/{count.total} {count.unit}".rstrip(), left, *count.notes)))


def stage_word(stage: str) -> str:
    """What a stage is called for people."""
    return _WORDS.get(stage, stage)


def hidden() -> StageDisplay:
    """A display that shows nothing."""
    return StageDisplay(0, Console(quiet=True, force_terminal=False))


def clock(seconds: float) -> str:
    """Seconds as "0:41" or "1:02:10"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
