"""Ctrl-C as an event, for commands that show something until somebody stops them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ctrl_c() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, wherever it falls; afterwards Ctrl-C does what it did before.

    It needs a handler of its own: Python sets none in a process that a shell started with SIGINT ignored, as in the background.
    """
    pressed = threading.Event()
    former = signal.signal(signal.SIGINT, lambda *_: pressed.set())
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, former)
