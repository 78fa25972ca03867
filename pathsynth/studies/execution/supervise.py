"""Supervision: a trial runs in a process of its own; its end, however it comes, becomes a state with a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Protocol

from pathsynth.ledger.interruption import SIGNALS
from pathsynth.ledger.lease import Lease
from pathsynth.ledger.versions import cores
from pathsynth.studies.execution import gpus
from pathsynth.studies.execution.trial_fork import ForkedTrials
from pathsynth.studies.trials.state import (
    DONE,
    EXIT_STOPPED,
    FAILED,
    INTERRUPTED,
    WAITING,
    TrialState,
    last_lines,
    now,
    read_state,
    write_state,
)
from pathsynth.studies.trials.stopping import Urgency, say_stopping, urgency
from pathsynth.terminal.work_line import working_on

LEASE_VARIABLE = "PATHSYNTH_LEASE"
"""Names the number of the lease that a trial's process adopts."""
SUPERVISOR_VARIABLE = "PATHSYNTH_SUPERVISOR"
"""Names the process that waits for a trial's; a trial whose supervisor is gone stops."""
STOP_SECONDS = 20.0
"""How long a trial may take to stop, unless the study says otherwise; Slurm kills 30 seconds after its SIGTERM."""

_POLL_SECONDS = 0.1
_OF_A_RANK = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Variables that torchrun sets for each of its processes. By them the command has taken its share; its trial is a run of its own."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def trial_command(folder: Path) -> list[str]:
    """The command that runs the trial in ``folder``."""
    return [sys.executable, "-m", "pathsynth.studies.execution.trial", str(folder)]


def trial_environment(threads: int | None, workers: int, gpu: str | None = None, devices: int = 1) -> dict[str, str]:
    """The environment of a trial: its threads, and its GPU if it has one of its own, are set before torch starts.

    A fine-tune on several devices has so many processes, and each has these threads. ``threads`` wins; then what the environment
    already says; else the cores are shared among them all. A library that the environment does not name follows OMP_NUM_THREADS:
    two libraries with different counts wait for each other.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _OF_A_RANK}
    share = str(threads or environment.get("OMP_NUM_THREADS") or max(1, cores() // max(1, workers * devices)))
    for name in _THREAD_VARIABLES:
        if threads or not environment.get(name):
            environment[name] = share
    if gpu is not None:
        environment[gpus.VARIABLE] = gpu
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


class TrialProcess(Protocol):
    """What a supervisor does with the process of a trial; :class:`subprocess.Popen` is one."""

    pid: int

    def wait(self, timeout: float, /) -> int | None:
        """Its exit status, negative for a signal; None if it is unknown.

        Raises:
            subprocess.TimeoutExpired: it has not ended.
        """

    def send_signal(self, number: int, /) -> None:
        """Send a signal to this one process."""


def supervise(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    lease: Lease,
    stop_seconds: float = STOP_SECONDS,
    forks: ForkedTrials | None = None,
) -> TrialState:
    """Start ``command``, wait for its end, and return the state in which it left the trial of ``folder``.

    With ``forks`` the trial is a fork of their server instead, if that is possible.

    The process has a session of its own: the terminal's Ctrl-C reaches only the supervisor. The first signal, or a mark that the
    command's jobs are to stop, is passed on as one SIGTERM; the second, or ``stop_seconds`` after the first, kills the whole
    session. A process that dies without a last word (a crash, kill -9, out of memory) is given its state here, unless another
    process has taken the trial over.

    Raises:
        KeyboardInterrupt: this very process was asked to stop; the trial has ended by then and its state is written.
    """
    with _signals() as requests:
        child = _start(command, folder, environment, lease, forks, lambda: max(requests.urgency, urgency()))
        code, stopped = _wait(child, requests, stop_seconds) if child else (EXIT_STOPPED, True)
    state, pid = read_state(folder), child.pid if child else None
    written = state.pid == pid and (state.over or (code == 0 and state.state == WAITING))
    if lease.current and not written and not (code == 0 and state.state == DONE):
        state = _ending(state, pid, code, stopped)
        write_state(folder, state)
    if state.state == FAILED and state.pid == pid:
        write_failure(folder, state)
    if requests.times:
        raise KeyboardInterrupt
    return state


def _start(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    lease: Lease,
    forks: ForkedTrials | None,
    stop: Callable[[], object],
) -> TrialProcess | None:
    """The trial's process; None if ``stop`` became true before there was one."""
    handed = {LEASE_VARIABLE: str(lease.number)}
    if forks:
        # the trial shows its lease from its start, but its server may take longer than a term
        with working_on("loading the libraries"), lease.shown():
            forked = forks.start(folder, environment, handed, stop)
        if forked or stop():
            return forked
    handed[SUPERVISOR_VARIABLE] = str(os.getpid())
    return subprocess.Popen(command, env={**environment, **handed}, stdin=subprocess.DEVNULL, start_new_session=True)


@dataclass
class _StopRequests:
    """How often this process was asked to stop by a signal."""

    times: int = 0

    @property
    def urgency(self) -> Urgency:
        return Urgency(min(self.times, Urgency.KILL))


@contextmanager
def _signals() -> Iterator[_StopRequests]:
    """While active, signals are counted. Handlers can be set in the main thread only; elsewhere nothing changes."""
    requests = _StopRequests()

    def count(_signal: int, _frame: FrameType | None) -> None:
        requests.times += 1
        if requests.times == 1:
            say_stopping()

    if threading.current_thread() is not threading.main_thread():
        yield requests
        return
    numbers = [number for number in SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    former = {number: signal.signal(number, count) for number in numbers}
    try:
        yield requests
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _wait(child: TrialProcess, requests: _StopRequests, stop_seconds: float) -> tuple[int | None, bool]:
    """Wait for the end of the child, and stop it when that is requested; return its exit status, and whether it was stopped."""
    since: float | None = None
    killed = False
    while True:
        try:
            return child.wait(_POLL_SECONDS), since is not None
        except subprocess.TimeoutExpired:
            urgent = max(requests.urgency, urgency())
        if urgent and since is None:
            since = time.monotonic()
            child.send_signal(signal.SIGTERM)  # to the trial alone, which knows its helpers
        late = since is not None and time.monotonic() - since > stop_seconds
        if not killed and (late or urgent is Urgency.KILL):
            killed = True
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def _ending(state: TrialState, pid: int | None, code: int | None, stopped: bool) -> TrialState:
    if stopped or code == EXIT_STOPPED or (code is not None and -code in SIGNALS):
        return replace(state, state=INTERRUPTED, reason="stopped on request", pid=pid, ended=now())
    if code is None:
        reason = "the trial's process ended without saying why"
    elif code < 0:
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        reason = f"killed by signal {-code}{hint}" + (f" in stage {state.stage}" if state.stage else "")
    else:
        reason = f"the trial's process ended with status {code} before it began or without saying why"
    return replace(state, state=FAILED, reason=reason, pid=pid, ended=now(), tries=state.tries + 1)


def write_failure(folder: Path, state: TrialState) -> None:
    """Print why a trial failed, and the last lines of its log."""
    print(f"{folder.name} failed: {state.reason}", file=sys.stderr)
    for line in last_lines(folder):
        print(f"  {line}", file=sys.stderr)
    sys.stderr.flush()
