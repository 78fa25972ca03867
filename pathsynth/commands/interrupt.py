"""Ctrl-C noted rather than raised, for commands that show something until somebody stops them."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class CtrlC:
    """Whether Ctrl-C was pressed.

    A pipe in place of :class:`threading.Event`, whose lock could be held by the very code that the signal interrupts.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._pressed = False

    def note(self, _number: int, _frame: FrameType | None) -> None:
        """Handle the signal."""
        if not self._pressed:
            self._pressed = True
            os.write(self._write, b"1")

    def is_set(self) -> bool:
        """Whether it was pressed so far."""
        return self._pressed

    def wait(self, seconds: float) -> bool:
        """Wait until it is pressed, so many seconds at most; whether it was."""
        select.select([self._read], [], [], seconds)
        return self._pressed

    def close(self) -> None:
        """Give the pipe back; no signal may come any more."""
        os.close(self._read)
        os.close(self._write)


@contextmanager
def ctrl_c() -> Iterator[CtrlC]:
    """What tells of a Ctrl-C, wherever it falls; afterwards Ctrl-C does what it did before.

    It needs a handler of its own: Python sets none in a process that a shell started with SIGINT ignored, as in the background.
    """
    pressed = CtrlC()
    former = signal.signal(signal.SIGINT, pressed.note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, former)
        pressed.close()
