"""One line on a terminal that says what a command is doing while it shows nothing else. Loads no torch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TextIO

Say = Callable[[str], None]
"""Puts other words in the place of those that stand there."""


class WorkLine:
    """The line, with the time since it began. It goes with the end of the work, and before anything else is printed."""

    def __init__(self, words: str) -> None:
        from rich.console import Console
        from rich.live import Live

        self.words, self._since = words, time.monotonic()
        console = Console(file=sys.stderr)
        self._live = Live(
            console=console,
            get_renderable=self._shown,
            transient=True,
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._streams: tuple[TextIO, TextIO] | None = None

    def __enter__(self) -> WorkLine:
        self._live.start()
        self._streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (_EndingLine(stream, self.end) for stream in self._streams)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    @property
    def is_shown(self) -> bool:
        """Whether the line is on the terminal."""
        return self._streams is not None

    def end(self) -> None:
        """Take the line away; nothing where it has gone."""
        streams, self._streams = self._streams, None
        if streams:
            sys.stdout, sys.stderr = streams
            self._live.stop()

    def _shown(self) -> Any:
        from rich.spinner import Spinner

        from pathsynth.terminal.stage_display import clock

        return Spinner("dots", f"{self.words}  {clock(time.monotonic() - self._since)}")


class _EndingLine:
    """A stream that takes the line away before it writes; in all else the stream that it stands for."""

    def __init__(self, stream: TextIO, end: Callable[[], None]) -> None:
        self._stream, self._end = stream, end

    def write(self, text: str) -> int:
        self._end()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_line: WorkLine | None = None


@contextmanager
def working_on(words: str, is_logged: bool = False) -> Iterator[Say]:
    """While active, a terminal shows these words, with the time. Work within other work puts its words there.

    In a log nothing is shown, or, of work that takes long at once (``is_logged``), a line.
    """
    global _line
    if _line and _line.is_shown:
        before, _line.words = _line.words, words
        try:
            yield _say
        finally:
            _say(before)
        return
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        if is_logged:
            print(f"{words} …", file=sys.stderr, flush=True)
        yield _say
        return
    _line = WorkLine(words)
    try:
        with _line:
            yield _say
    finally:
        _line = None


@contextmanager
def out_of_the_way() -> Iterator[None]:
    """Take the line away for good, where there is one: something else is drawn."""
    if _line:
        _line.end()
    yield


def _say(words: str) -> None:
    if _line:
        _line.words = words
