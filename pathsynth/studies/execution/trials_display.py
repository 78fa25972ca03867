"""What a command shows of trials side by side: a line for each one that runs, below all that is printed. Loads no torch.

The command alone draws on the terminal. What it and the processes that it starts print meanwhile comes through a pipe, and stands
above the lines of the trials. How far a trial is stands in its ``state.json``.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console, ConsoleDimensions, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pathsynth.studies.execution.output import DRAWN_VARIABLE, UnreadOutput, pipe_name
from pathsynth.studies.trials.outcomes import FOLDER_VARIABLE, ChangedOutcomes
from pathsynth.studies.trials.state import RUNNING, TrialState, read_state
from pathsynth.studies.trials.trial_table import seconds_left
from pathsynth.terminal.stage_display import Count, facts, stage_word

_PER_SECOND = 2.0
_BAR, _WIDE = 20, 90
"""The width of a trial's bar, and the least width of a terminal on which there is room for bars."""
_LEAST_NAME, _END_OF_NAME = 8, 6
"""Characters of a trial's name that are shown on the narrowest terminal, and those at its end that tell it from all others."""
_DRAIN_SECONDS = 2.0
_END = "\0"


@dataclass(frozen=True)
class TrialLine:
    """A trial that runs, or is about to, and how far it is."""

    name: str
    state: TrialState


def lines_of(trials: Sequence[TrialLine], over: int, width: int, height: int) -> RenderableType:
    """What stands at the bottom of a terminal of this size, with as many lines as fit; ``over``: trials of the command that have ended."""
    room = max(1, height - 3)
    rows = [(_cropped(trial.name, max(_LEAST_NAME, width // 3)), *_cells(trial.state)) for trial in trials[:room]]
    more = f"{len(trials) - room} more running · " if len(trials) > room else ""
    return Group(_with_bars(rows) if width >= _WIDE else _narrow(rows), _line(f"{more}{over} ended"))


_Row = tuple[str, str, ProgressBar, str]


def _with_bars(rows: Sequence[_Row]) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    for _ in range(4):
        table.add_column(no_wrap=True, overflow="ellipsis")
    for name, stage, bar, counted in rows:
        table.add_row(Text(name), Text(stage), bar, Text(counted))
    return table


def _narrow(rows: Sequence[_Row]) -> RenderableType:
    """Lines that are cut at their end, where the least important is."""
    width = max((len(name) for name, *_ in rows), default=0)
    return Group(*(_line(f"{name:{width}} {stage} {counted}".rstrip()) for name, stage, _, counted in rows))


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def _cropped(name: str, width: int) -> str:
    """At most so much of a name; its end, which no other trial's has, is kept where there is room."""
    if len(name) <= width:
        return name
    end = name[-_END_OF_NAME:] if width >= 2 * _END_OF_NAME else ""
    return f"{name[: width - 1 - len(end)]}…{end}"


def _cells(state: TrialState) -> tuple[str, ProgressBar, str]:
    """The stage with its number, a bar, and the numbers of a trial's line."""
    if state.state != RUNNING or not state.stage:
        return "loading the libraries", _moving(), ""
    stage = f"[{state.stage_number}/{state.stages}] {stage_word(state.stage)}"
    if state.step is None or not state.steps:
        return stage, _moving(), ""
    count = Count(state.step, state.steps, state.detail, (state.notes,))
    return stage, ProgressBar(total=state.steps, completed=state.step, width=_BAR), facts(count, seconds_left(state))


def _moving() -> ProgressBar:
    return ProgressBar(total=None, pulse=True, width=_BAR)


@dataclass
class _OwnTrials:
    """The trials that the running command carries out. One that is over has ended since ``since``, an earlier end does not count."""

    outcomes: ChangedOutcomes
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    ended: set[Path] = field(default_factory=set)

    def running(self) -> list[TrialLine]:
        folders = [o.folder for o in self.outcomes.read() if o.own and o.folder and o.folder not in self.ended]
        lines = [TrialLine(folder.name, read_state(folder)) for folder in folders]
        self.ended |= {folder for folder, line in zip(folders, lines, strict=True) if self._is_over(line.state)}
        return [line for line in lines if not self._is_over(line.state)]

    def _is_over(self, state: TrialState) -> bool:
        return state.over and (state.ended or "") >= self.since


class _Pipe:
    """Takes the place of the standard streams that are a terminal; each line that comes is shown in the order of its coming.

    There is one for a process: a launcher's workers keep the streams with which they began.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        ours, self._theirs = os.pipe()
        self.name = pipe_name(self._theirs)
        self._empty = threading.Event()
        threading.Thread(target=self._read, args=[os.fdopen(ours, encoding="utf-8", errors="replace", newline="\n")], daemon=True).start()

    def _read(self, pipe: io.TextIOWrapper) -> None:
        for line in pipe:
            text = line.rstrip("\n").rpartition("\r")[2] if not line.endswith("\r\n") else line.rstrip("\r\n")
            if _END in text:
                text = text.replace(_END, "")
                if text:
                    self._show(text)
                self._empty.set()
            else:
                self._show(text)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While active the streams lead here; afterwards everything that was printed is shown."""
        kept = {number: os.dup(number) for number in (1, 2) if os.isatty(number)}
        _flush()
        for number in kept:
            os.dup2(self._theirs, number)
        try:
            yield
        finally:
            _flush()
            self._empty.clear()
            os.write(self._theirs, f"{_END}\n".encode())
            self._empty.wait(_DRAIN_SECONDS)
            for number, before in kept.items():
                os.dup2(before, number)
                os.close(before)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


class TrialsDisplay:
    """The display of a command on a terminal, while a launcher has trials side by side; between launches nothing is drawn."""

    def __init__(self) -> None:
        self._terminal = io.TextIOWrapper(io.BufferedWriter(UnreadOutput(os.dup(1))), encoding="utf-8", errors="replace")
        self._console = Console(file=self._terminal, force_terminal=True, highlight=False)
        self._trials = _OwnTrials(ChangedOutcomes(Path(os.environ[FOLDER_VARIABLE])))
        self._pipe = _Pipe(self._print)
        self._view: RenderableType = Text()
        self._at = 0.0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While active, it stands on the terminal, which at the end is as before, with the lines that were printed."""
        os.environ[DRAWN_VARIABLE] = self._pipe.name
        self._measure()
        line = Live(
            console=self._console,
            get_renderable=self._look,
            refresh_per_second=_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        with self._pipe.in_place(), line:
            yield

    def _print(self, line: str) -> None:
        self._console.print(Text.from_ansi(line), soft_wrap=True)

    def _look(self) -> RenderableType:
        now = time.monotonic()
        if now - self._at > 0.8 / _PER_SECOND:  # printed lines ask for it, too
            self._at = now
            self._measure()
            with suppress(OSError, ValueError):  # the next look tells more
                self._view = lines_of(self._trials.running(), len(self._trials.ended), *self._console.size)
        return self._view

    def _measure(self) -> None:
        """The terminal's size; the library would ask the standard streams, which lead elsewhere."""
        with suppress(OSError):
            self._console.size = ConsoleDimensions(*os.get_terminal_size(self._terminal.fileno()))


def display_for(at_once: int) -> TrialsDisplay | None:
    """The display of a command of so many trials at once; None where each trial has the terminal for itself, or there is none."""
    return TrialsDisplay() if at_once > 1 and os.isatty(1) and os.environ.get(FOLDER_VARIABLE) else None
