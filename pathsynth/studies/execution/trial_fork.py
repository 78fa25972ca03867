"""A trial's process that begins as a fork of a server, which has loaded a trial's libraries already: the supervisor's end.

A process that supervises trials keeps one server, for the environment of its trials. Where a fork is not possible, a
trial's process is started afresh instead; nothing but the time that it takes depends on which.
``studies/execution/trial_server.py`` is the server.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from pathsynth.studies.execution.gpus import visible_gpus
from pathsynth.studies.execution.output import LINES_VARIABLE
from pathsynth.studies.trials.outcomes import SHARED_STAGES_VARIABLE
from pathsynth.training import pruning

LIBRARIES = ("pathsynth.studies.execution.trial_libraries",)
"""What a server loads."""

_log = logging.getLogger(__name__)
_OF_ONE_TRIAL = (pruning.VARIABLE, LINES_VARIABLE, SHARED_STAGES_VARIABLE)
"""Variables that differ from trial to trial and that no library reads as it is loaded; a server serves one environment without them."""
_POLL_SECONDS = 0.1
_ANSWER_SECONDS = 10.0
"""A server that has loaded its modules answers at once; one that does not is given up."""
_MESSAGE_BYTES = 1 << 17


class ServerLost(Exception):
    """A server is gone, refuses, or does not answer."""


def can_fork() -> bool:
    """Whether trials of this process can be forks: on Linux, without a GPU, which would belong to the process that first asks for it."""
    if sys.platform != "linux" or visible_gpus():
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):  # an old kernel, or a container that forbids it
        return False
    return True


class TrialServer:
    """A server that this process has started, to fork trials one after the other.

    ``environment``, the working folder and ``modules`` are what they are for as long as it lives: no longer than the thread that makes it.

    Raises:
        ServerLost: it cannot be started.
    """

    def __init__(self, environment: Mapping[str, str], modules: Sequence[str] = LIBRARIES) -> None:
        self._kind = (dict(environment), Path.cwd())
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ready = False
        command = [sys.executable, "-m", "pathsynth.studies.execution.trial_server", str(os.getpid()), *modules]
        with theirs:
            try:
                self._process = subprocess.Popen(command, env=environment, stdin=theirs.fileno(), start_new_session=True)
            except OSError as error:
                raise ServerLost(str(error)) from error

    @property
    def pid(self) -> int:
        """Process number of the server."""
        return self._process.pid

    def serves(self, environment: Mapping[str, str]) -> bool:
        """Whether a trial with this environment can be a fork of it."""
        return self._kind == (dict(environment), Path.cwd())

    def wait_until_ready(self, stop: Callable[[], object]) -> bool:
        """Wait until its modules are loaded; False if ``stop``, which is called again and again, became true before.

        Raises:
            ServerLost: it cannot load them, or cannot be forked.
        """
        while not self._ready:
            if stop():
                return False
            if wait([self._channel], _POLL_SECONDS):
                self._ready = bool(self._answer()["ready"])
        return True

    def fork(self, folder: Path, variables: Mapping[str, str]) -> int:
        """Start the trial of ``folder``; the number of its process.

        ``variables`` are added to its environment. Its output goes where this process's goes, and nothing comes from its input.

        Raises:
            ServerLost: nothing was started.
        """
        begin, go = os.pipe()
        try:
            answer = self._ask({"folder": str(folder), "variables": dict(variables)}, descriptors=[1, 2, begin])
            os.write(go, b"1")  # a fork of which this process does not hear does not begin
        finally:
            os.close(begin)
            os.close(go)
        return int(answer["pid"])

    def status(self, pid: int) -> int:
        """The exit status of a fork that has ended, negative for a signal. Its number is free again afterwards.

        Raises:
            ServerLost: the status is unknown.
        """
        return int(self._ask({"wait": pid})["status"])

    def end(self) -> None:
        """End it at once: it holds nothing. A trial that it forked continues."""
        self._channel.close()
        self._process.kill()
        self._process.wait()

    def _ask(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> dict[str, Any]:
        try:
            socket.send_fds(self._channel, [json.dumps(message).encode()], descriptors)
        except OSError as error:
            raise ServerLost(str(error)) from error
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        try:
            self._channel.settimeout(_ANSWER_SECONDS)
            content = self._channel.recv(_MESSAGE_BYTES)
        except OSError as error:
            raise ServerLost(str(error)) from error
        answer: dict[str, Any] = json.loads(content) if content else {"refused": "it is gone"}
        if "refused" in answer:
            raise ServerLost(answer["refused"])
        return answer


class ForkedTrial:
    """The process of a trial, with as much of :class:`subprocess.Popen` as its supervisor needs. Its parent is a server."""

    def __init__(self, pid: int, status: Callable[[int], int | None]) -> None:
        self.pid = pid
        self._status = status
        # its number is free for others only after the server was asked about its end
        self._descriptor = os.pidfd_open(pid)

    def wait(self, timeout: float) -> int | None:
        """Its exit status, negative for a signal; None if it is unknown. To be called until it has ended, and not again.

        Raises:
            subprocess.TimeoutExpired: it has not ended.
        """
        if not wait([self._descriptor], timeout):
            raise subprocess.TimeoutExpired(f"trial {self.pid}", timeout)
        os.close(self._descriptor)
        return self._status(self.pid)

    def send_signal(self, number: int) -> None:
        """Send signal ``number``; do nothing where the process has ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)


class ForkedTrials:
    """Starts trials as forks of a server, which is kept for the next one.

    A server that fails is not followed by another: it would load everything once more, only to fail again.
    """

    def __init__(self, modules: Sequence[str] = LIBRARIES) -> None:
        self._modules = modules
        self._idle: list[TrialServer] = []
        self._given_up = False

    def start(
        self, folder: Path, environment: Mapping[str, str], variables: Mapping[str, str], stop: Callable[[], object]
    ) -> ForkedTrial | None:
        """The process of the trial of ``folder``; None: nothing was started, because there is no server, or ``stop`` became true.

        ``variables`` belong to this trial alone. ``stop`` is called again and again while a server loads its modules.
        """
        shared = {name: value for name, value in environment.items() if name not in _OF_ONE_TRIAL}
        of_trial = {name: value for name, value in environment.items() if name in _OF_ONE_TRIAL} | dict(variables)
        server = None
        try:
            server = None if self._given_up else self._server(shared)
            if server and server.wait_until_ready(stop):
                return ForkedTrial(server.fork(folder, of_trial), lambda pid: self._status(server, pid))
        except ServerLost as error:
            self._give_up(error)
        if server:
            server.end()
        return None

    def end(self) -> None:
        """End the server that is kept."""
        while self._idle:
            self._idle.pop().end()

    def forget(self) -> None:
        """In a fork of this process, to which the server does not belong."""
        self._idle.clear()

    def _server(self, environment: Mapping[str, str]) -> TrialServer:
        """The server that is kept, if it serves this environment; else a new one, and that is no more."""
        server = self._idle.pop() if self._idle else None
        if server and not server.serves(environment):
            server.end()
            server = None
        return server or TrialServer(environment, self._modules)

    def _status(self, server: TrialServer, pid: int) -> int | None:
        try:
            status = server.status(pid)
        except ServerLost as error:
            self._give_up(error)
            server.end()
            return None
        self._idle.append(server)
        return status

    def _give_up(self, error: ServerLost) -> None:
        _log.debug("from now on trials start without the fork server: %s", error)
        self._given_up = True


forked_trials = ForkedTrials()
"""Those of this process."""
atexit.register(forked_trials.end)
os.register_at_fork(after_in_child=forked_trials.forget)
