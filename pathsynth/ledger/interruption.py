"""A request to stop this process: noted the moment its signal comes, raised at once where that is possible, checked at every step.

A raise alone is not enough: Python drops an exception that a signal handler raises inside a destructor, a callback of the garbage
collector, or an import that catches everything. The note stays, and the next :func:`check` raises again.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""A scheduler's or an operator's request, Ctrl-C, and a terminal that closes."""


class Interrupted(BaseException):
    """The process was asked to stop. No ``Exception``, so that nothing on the way takes it for a failure."""


@dataclass
class _Request:
    """Plain attributes: a lock, as an Event has, could be held by the very code that the signal interrupts."""

    since: float | None = None
    cause: str = ""
    raised: bool = False
    dropped: bool = False
    served: bool = False
    held: bool = False

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        self.note()
        if not self.raised and not self.served:
            self.raised = True
            raise Interrupted

    def note(self, cause: str = "") -> None:
        if self.since is None:
            self.since, self.cause = time.monotonic(), cause

    def report_dropped(self, dropped: Any) -> None:
        if isinstance(dropped.exc_value, Interrupted):
            self.dropped = True
        else:
            sys.__unraisablehook__(dropped)


_request: _Request | None = None
_ctrl_c_noted = False


def note_ctrl_c() -> None:
    """Note a Ctrl-C that is raised while a command loads. Python may drop the exception; :func:`raise_noted_ctrl_c` raises it again."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _note_and_raise)


def _note_and_raise(_number: int, _frame: FrameType | None) -> None:
    global _ctrl_c_noted
    _ctrl_c_noted = True
    raise KeyboardInterrupt


def raise_noted_ctrl_c() -> None:
    """Raises KeyboardInterrupt if there was a Ctrl-C since :func:`note_ctrl_c`."""
    if _ctrl_c_noted:
        raise KeyboardInterrupt


def listen() -> None:
    """Take the signals of this process (a trial's, called in its main thread) as requests to stop.

    The first one raises :class:`Interrupted`; what unwinds then, and writes what it must, is not interrupted by further ones.
    SIGHUP stays ignored where it was, as nohup has it.
    """
    global _request
    _request = _Request()
    sys.unraisablehook = _request.report_dropped
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _request.handle)


@contextmanager
def listening() -> Iterator[None]:
    """While active, as after :func:`listen`; afterwards signals do what they did before."""
    global _request
    handlers, hook = {number: signal.getsignal(number) for number in SIGNALS}, sys.unraisablehook
    listen()
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        sys.unraisablehook, _request = hook, None


def note(cause: str = "") -> None:
    """Note a request without raising; nothing where no process listens. ``cause``: why, where the process itself wants its end."""
    if _request:
        _request.note(cause)


def cause() -> str:
    """Why this process wanted its own end; empty where it was asked from outside, or not at all."""
    return _request.cause if _request else ""


def requested() -> bool:
    """Whether this process was asked to stop."""
    return _request is not None and _request.since is not None


def check() -> None:
    """To be called at every step.

    Raises:
        Interrupted: the process was asked to stop and has not begun to end.
    """
    if _request and _request.since is not None and not _request.served and not _request.held:
        _request.raised = True
        raise Interrupted


def hold(on: bool) -> None:
    """Keep :func:`check` from raising within a step that is to be finished first, or let it again."""
    if _request:
        _request.held = on


def serve() -> None:
    """The process ends: from now on nothing is raised."""
    if _request:
        _request.served = True


def unserved_seconds() -> float:
    """How long a request has waited for the process to begin to end; 0 where there is none."""
    if _request is None or _request.since is None or _request.served:
        return 0.0
    return time.monotonic() - _request.since


def was_dropped() -> bool:
    """Whether Python reported that it dropped the exception; true once for each time."""
    dropped = _request is not None and _request.dropped
    if _request:
        _request.dropped = False
    return dropped


def raise_again() -> None:
    """Raise in the main thread once more; for a thread that watches."""
    if _request:
        _request.raised = False
        os.kill(os.getpid(), signal.SIGTERM)
