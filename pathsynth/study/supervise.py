"""Supervision: a trial runs in a process of its own; its end, however it comes, becomes a state with a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from pathsynth.ledger.lease import Lease
from pathsynth.study import gpus
from pathsynth.study.state import DONE, FAILED, INTERRUPTED, TrialState, last_lines, now, read_state, write_state

LEASE_VARIABLE = "PATHSYNTH_LEASE"
"""Names the number of the lease that a trial's process adopts."""

_RANKS_VARIABLE = "LOCAL_WORLD_SIZE"
_OF_A_RANK = ("RANK", "LOCAL_RANK", "WORLD_SIZE", _RANKS_VARIABLE, "GROUP_RANK", "ROLE_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun tells each of its processes. The command has taken its share by it; its trial is a whole of its own."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def trial_command(folder: Path) -> list[str]:
    """The command that carries out the trial in ``folder``."""
    return [sys.executable, "-m", "pathsynth.study.trial", str(folder)]


def trial_environment(threads: int | None, workers: int, gpu: str | None = None, devices: int = 1) -> dict[str, str]:
    """The environment of a trial: its threads, and its GPU if it has one of its own, are set before torch starts.

    A fine-tune on several devices has so many processes, and each has these threads. ``threads`` wins; then what the environment
    already says; else the cores are shared among them all. A library that the environment does not name follows OMP_NUM_THREADS:
    two libraries with different counts wait for each other.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _OF_A_RANK}
    share = str(threads or environment.get("OMP_NUM_THREADS") or max(1, cores() // max(1, workers * devices)))
    for name in _THREAD_VARIABLES:
        if threads or name not in environment:
            environment[name] = share
    if gpu is not None:
        environment[gpus.VARIABLE] = gpu
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def ranks_here() -> int:
    """Processes that torchrun has started on this machine, this one among them; 1 without it."""
    return int(os.environ.get(_RANKS_VARIABLE, "1"))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def supervise(command: Sequence[str], folder: Path, environment: Mapping[str, str], lease: Lease) -> TrialState:
    """Start ``command``, wait for its end, and return the state in which it left the trial of ``folder``.

    The process has a session of its own: the terminal's Ctrl-C reaches only the supervisor, which passes the first SIGINT
    or SIGTERM on as one SIGTERM and kills the whole session at the second. A process that dies without a last word
    (a crash, kill -9, out of memory) is given its state here, unless another process has taken the trial over.

    Raises:
        KeyboardInterrupt: the supervisor was asked to stop; the trial has ended by then and its state is written.
    """
    handed = {**environment, LEASE_VARIABLE: str(lease.number)}
    child = subprocess.Popen(command, env=handed, stdin=subprocess.DEVNULL, start_new_session=True)
    with _signals_to(child) as asked:
        code = child.wait()
    state = read_state(folder)
    if lease.current and not (state.over and state.pid == child.pid) and not (code == 0 and state.state == DONE):
        state = _ending(state, child.pid, code, asked.times > 0)
        write_state(folder, state)
    if state.state == FAILED and state.pid == child.pid:
        _tell_failure(folder, state)
    if asked.times:
        raise KeyboardInterrupt
    return state


@dataclass
class _Asked:
    """How often the supervisor was asked to stop."""

    times: int = 0


@contextmanager
def _signals_to(child: subprocess.Popen[Any]) -> Iterator[_Asked]:
    """While active, SIGINT and SIGTERM stop the child. Handlers can be set in the main thread only; elsewhere nothing changes."""
    asked = _Asked()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        asked.times += 1
        if asked.times == 1:
            print("\nstopping the trial; once more kills it", file=sys.stderr, flush=True)
        _send(child, signal.SIGTERM if asked.times == 1 else signal.SIGKILL)

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    former = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _send(child: subprocess.Popen[Any], number: signal.Signals) -> None:
    """A request to stop goes to the trial alone, which knows its helpers; a kill goes to its whole session."""
    try:
        if number == signal.SIGKILL:
            os.killpg(child.pid, number)
        else:
            child.send_signal(number)
    except ProcessLookupError:
        pass


def _ending(state: TrialState, pid: int, code: int, asked: bool) -> TrialState:
    if asked:
        return replace(state, state=INTERRUPTED, reason="stopped on request", pid=pid, ended=now())
    if code < 0:
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        reason = f"killed by signal {-code}{hint}" + (f" in stage {state.stage}" if state.stage else "")
    else:
        reason = f"the trial's process ended with status {code} before it had begun or without a last word"
    return replace(state, state=FAILED, reason=reason, pid=pid, ended=now(), tries=state.tries + 1)


def _tell_failure(folder: Path, state: TrialState) -> None:
    print(f"{folder.name} failed: {state.reason}", file=sys.stderr)
    for line in last_lines(folder):
        print(f"  {line}", file=sys.stderr)
    sys.stderr.flush()
