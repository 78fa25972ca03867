"""Stopping a command: its trials are asked to stop, or killed, by their supervisors; trials of other commands are not touched.

A launcher that runs jobs in workers would kill these, and every process below them, if its parent raised at the first
Ctrl-C. So, once jobs may have begun, a request only leaves a mark in the command's folder of outcomes. Each supervisor,
in the command or in a worker on whichever machine, looks for it and signals its own child. docs/explanation/leases.md has
the states.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path
from types import FrameType

from pathsynth.ledger.interruption import SIGNALS
from pathsynth.studies.trials.outcomes import FOLDER_VARIABLE, Outcome, read_outcomes
from pathsynth.studies.trials.state import RUNNING, read_state

JOBS = ".jobs"
"""Of a study: a folder for the outcomes of each command."""
_STOP, _KILL, _FAILURE = "stop", "kill", "failure"
_KILL_SECONDS = 0.7
_command: int | None = None
_nothing_begun = False


class Urgency(IntEnum):
    """What the trials of a command are to do; ``STOP``: end in good order."""

    NONE = 0
    STOP = 1
    KILL = 2


def ask_to_stop() -> None:
    """Leave the mark for every job of the running command, here or in a worker."""
    _mark(_STOP)


def stop_after_failure() -> None:
    """Stop the running command for a trial that failed: trials that run beside it are asked to stop, no other begins."""
    _mark(_FAILURE)


def stopped_by_failure() -> bool:
    """Whether the running command stops because a trial failed."""
    return _marked(_FAILURE)


def stop_requested() -> bool:
    """Whether the operator asked the running command to stop."""
    return _marked(_STOP)


def urgency() -> Urgency:
    """What the marks of the running command say to whoever supervises a trial of it."""
    if _marked(_KILL):
        return Urgency.KILL
    return Urgency.STOP if stop_requested() or stopped_by_failure() else Urgency.NONE


def raise_if_stop_requested() -> None:
    """For a job that waits for others.

    Raises:
        KeyboardInterrupt: the operator asked the running command to stop.
    """
    if stop_requested():
        raise KeyboardInterrupt


def ask_commands_to_stop(study: Path) -> int:
    """Leave the mark for every command that carries out a trial of a study now, in whichever process or machine; how many there are."""
    running = [command for command in sorted((study / JOBS).glob("*")) if any(map(_carries_out, read_outcomes(command)))]
    for command in running:
        (command / _STOP).touch()
    return len(running)


def _carries_out(outcome: Outcome) -> bool:
    return outcome.own and outcome.folder is not None and read_state(outcome.folder).state == RUNNING


def _mark(name: str) -> None:
    root = os.environ.get(FOLDER_VARIABLE)
    if root:
        Path(root).mkdir(parents=True, exist_ok=True)
        (Path(root) / name).touch()


def _marked(name: str) -> bool:
    root = os.environ.get(FOLDER_VARIABLE)
    return bool(root) and (Path(root or "") / name).exists()


def in_command() -> bool:
    """Whether this process is the command itself, and not a launcher's worker."""
    return _command == os.getpid()


def in_worker() -> bool:
    """Whether this process carries out jobs that a command, another process, has given it."""
    return bool(os.environ.get(FOLDER_VARIABLE)) and not in_command()


def stop_in_good_order() -> None:
    """Make this process the command: a signal asks its trials to stop, once more kills them and raises."""
    global _command
    _command = os.getpid()
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _handle)


@contextmanager
def raise_at_once() -> Iterator[None]:
    """While a command checks its jobs and none has begun, a signal raises KeyboardInterrupt beside leaving the mark."""
    global _nothing_begun
    _nothing_begun = True
    try:
        yield
    finally:
        _nothing_begun = False
    raise_if_stop_requested()  # Python may have dropped the exception


def _handle(_signal: int, _frame: FrameType | None) -> None:
    if stop_requested():
        _mark(_KILL)
        _wait_for_claimed(_KILL_SECONDS)
        raise KeyboardInterrupt
    ask_to_stop()
    say_stopping()
    if _nothing_begun:
        raise KeyboardInterrupt


def say_stopping() -> None:
    """Tell the operator that the request was heard; to be called by a handler of signals.

    The terminal may be what is gone, and the signal may have interrupted a write to it, within which Python allows no other.
    """
    with suppress(OSError, RuntimeError):
        print("\nStopping; press Ctrl-C again to kill. The same command continues.", file=sys.stderr, flush=True)


def _wait_for_claimed(seconds: float) -> None:
    """Give the supervisors in the workers time to kill: a worker that dies first would leave its trial alone for a moment."""
    claimed = [outcome.folder for outcome in read_outcomes(Path(os.environ[FOLDER_VARIABLE])) if outcome.own and outcome.folder]
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(read_state(folder).state == RUNNING for folder in claimed):
        time.sleep(0.05)
