"""Output without a reader (``| head``, a terminal that closed) is dropped and changes nothing; a log's lines name their trial."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

from typing_extensions import override


class UnreadOutput(io.FileIO):
    """A descriptor that leads to nowhere once its reader is gone, for this process and for those it starts then."""

    @override
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO if self._terminal else errno.EPIPE):
                raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        return memoryview(data).nbytes

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._terminal = self.isatty()


def drop_unread_output() -> None:
    """Make the standard streams of this process such ones; those that are no descriptors, as in tests, stay what they are."""
    sys.stdout = _dropping(sys.stdout, 1)
    sys.stderr = _dropping(sys.stderr, 2)


LINES_VARIABLE = "PATHSYNTH_LINES"
"""What each line of a trial's process begins with, where its lines mix with those of other trials or go to a log."""


DRAWN_VARIABLE = "PATHSYNTH_DRAWN"
"""Names the pipe whose lines a command shows above what it draws of its trials."""


def pipe_name(descriptor: int) -> str:
    """What identifies a pipe among all files of this machine."""
    kept = os.fstat(descriptor)
    return f"{kept.st_dev}:{kept.st_ino}"


def is_drawn_above() -> bool:
    """Whether the command draws how far this process's trial is; one whose output goes elsewhere, as Slurm has it, tells so itself."""
    try:
        return os.environ.get(DRAWN_VARIABLE) == pipe_name(1)
    except OSError:
        return False


class _NamedLines(io.TextIOWrapper):
    """A stream whose lines begin with a name; it is no terminal to those who would draw bars on it."""

    line_name = ""
    _begins = True

    def write(self, text: str, /) -> int:
        first, *others = text.split("\n")
        named = [self._named(first) if self._begins else first, *map(self._named, others)]
        super().write("\n".join(named))
        self._begins = not others[-1] if others else self._begins and not first
        return len(text)

    def isatty(self) -> bool:
        return False

    def _named(self, line: str) -> str:
        return f"{self.line_name}: {line}" if line else line


def name_lines(name: str) -> None:
    """Make each line of the standard streams begin with the name."""
    sys.stdout = _with_name(sys.stdout, name)
    sys.stderr = _with_name(sys.stderr, name)


def _with_name(stream: TextIO, name: str) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    encoding, errors, by_line, at_once = stream.encoding, stream.errors, stream.line_buffering, stream.write_through
    named = _NamedLines(stream.detach(), encoding=encoding, errors=errors, line_buffering=by_line, write_through=at_once)
    named.line_name = name
    return named


def _dropping(stream: TextIO | None, descriptor: int) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper) or stream.fileno() != descriptor or isinstance(_raw(stream), UnreadOutput):
        return stream  # type: ignore[return-value]
    with suppress(OSError):
        stream.flush()
    raw = UnreadOutput(descriptor)
    buffer = raw if stream.write_through else io.BufferedWriter(raw)
    by_line, at_once = stream.line_buffering, stream.write_through
    return io.TextIOWrapper(buffer, encoding=stream.encoding, errors=stream.errors, line_buffering=by_line, write_through=at_once)


def _raw(stream: io.TextIOWrapper) -> object:
    return getattr(stream.buffer, "raw", stream.buffer)
