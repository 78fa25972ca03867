"""Ctrl-C noted rather than raised, for commands that show something until they are stopped."""

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
        self._poll = select.poll()
        self._poll.register(self._read, select.POLLIN)

    def note(self, _number: int, _frame: FrameType | None) -> None:
        """Handle the signal."""
        os.write(self._write, b"1")

    def is_set(self) -> bool:
        """Whether it was pressed so far."""
        return self.wait(0)

    def wait(self, seconds: float) -> bool:
        """Wait until it is pressed, so many seconds at most; whether it was."""
        return bool(self._poll.poll(seconds * 1000))

    def close(self) -> None:
        """Give the pipe back; no signal may come any more."""
        os.close(self._read)
        os.close(self._write)


@contextmanager
def ctrl_c() -> Iterator[CtrlC]:
    """Notes a Ctrl-C in place of raising it, wherever it falls; afterwards Ctrl-C does what it did before.

    It needs a handler of its own: Python sets none in a process that a shell started with SIGINT ignored, as in the background.
    """
    pressed = CtrlC()
    former = signal.signal(signal.SIGINT, pressed.note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, former)
        pressed.close()
