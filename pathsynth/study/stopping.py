"""Stopping a command in good order: running trials are asked to stop, waiting ones do not start, and nobody is killed.

A launcher that runs jobs in workers would kill these, and every process below them, if its parent raised at the first
Ctrl-C. So the first request only leaves a mark, which each job looks for; the second raises.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from pathsynth.study.outcomes import FOLDER_VARIABLE, read_outcomes
from pathsynth.study.state import RUNNING, read_state

_MARK, _FAILURE = "stop", "failure"
_COMMAND_VARIABLE = "PATHSYNTH_COMMAND_PID"


def ask_to_stop() -> None:
    """Leave the mark for every job of the running command, here or in a worker."""
    root = os.environ.get(FOLDER_VARIABLE)
    if root:
        Path(root).mkdir(parents=True, exist_ok=True)
        (Path(root) / _MARK).touch()


def stop_after_failure() -> None:
    """Stop the running command for a trial that failed: trials that run beside it are asked to stop, no other begins."""
    root = os.environ.get(FOLDER_VARIABLE)
    if root and not stopped_by_failure():
        (Path(root) / _FAILURE).touch()
        _signal_trials(signal.SIGTERM)


def stopped_by_failure() -> bool:
    """Whether the running command stops because a trial failed."""
    return _marked(_FAILURE)


def asked_to_stop() -> bool:
    """Whether the operator asked the running command to stop."""
    return _marked(_MARK)


def _marked(mark: str) -> bool:
    root = os.environ.get(FOLDER_VARIABLE)
    return bool(root) and (Path(root or "") / mark).exists()


def in_command() -> bool:
    """Whether this process is the command itself, and not a launcher's worker."""
    return os.environ.get(_COMMAND_VARIABLE) == str(os.getpid())


def stop_in_good_order() -> None:
    """Make this process the command: SIGINT and SIGTERM ask its trials to stop, once more kills them and raises."""
    os.environ[_COMMAND_VARIABLE] = str(os.getpid())
    signal.signal(signal.SIGINT, _handler())
    signal.signal(signal.SIGTERM, _handler())


def _handler() -> Callable[[int, FrameType | None], None]:
    def handle(_signal: int, _frame: FrameType | None) -> None:
        if asked_to_stop():
            _signal_trials(signal.SIGKILL)
            raise KeyboardInterrupt
        print("\nstopping; once more kills the running trials", file=sys.stderr, flush=True)
        ask_to_stop()
        _signal_trials(signal.SIGTERM)

    return handle


def _signal_trials(number: signal.Signals) -> None:
    """Signal the trials of this command that run on this machine."""
    for outcome in read_outcomes(Path(os.environ[FOLDER_VARIABLE])):
        state = read_state(outcome.folder) if outcome.folder else None
        if state and state.state == RUNNING and state.pid:
            try:
                os.kill(state.pid, number)
            except (ProcessLookupError, PermissionError):
                continue
