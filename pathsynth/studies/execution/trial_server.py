"""A fork server: it loads a trial's libraries once, and each trial of the process that started it begins as a fork of it.

``python -m pathsynth.studies.execution.trial_server <pid of the supervisor> <module>…`` loads the modules.
Its standard input is a Unix socket; a message is one JSON object. ``studies/execution/trial_fork.py`` is the other end.

    server      {"ready": true}, or {"refused": reason}
    supervisor  {"folder": …, "variables": {…}}, with descriptors: of the trial's standard output and error, and of a pipe
    server      {"pid": …}, or {"refused": reason}; the trial begins when a byte comes through the pipe, and ends when none can come
    supervisor  {"wait": pid}, once the trial has ended
    server      {"status": …}, as of :class:`subprocess.Popen`

One trial at a time. The server ends with its supervisor, however that ends. A fork takes over all that its server has done, so the server
does nothing but load: no computation, no thread, no GPU. docs/explanation/leases.md lists what a fork needs.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pathsynth.config.custom_classes import is_installed
from pathsynth.ledger.interruption import SIGNALS
from pathsynth.studies.execution import trial
from pathsynth.studies.trials.state import EXIT_STOPPED

_MESSAGE_BYTES = 1 << 17

_TASKS = Path("/proc/self/task")
_FORK_SAFE_THREADS = ("jemalloc_bg_thd",)
"""Threads of libraries that look after a fork themselves (pthread_atfork): jemalloc, of pyarrow, frees memory in the background."""
_PR_SET_PDEATHSIG = 1


class ForkRefused(Exception):
    """A fork of this process would not be what a process of its own is."""


def main(arguments: Sequence[str]) -> int:
    """Serve until the supervisor is gone; in a fork of this process: carry the trial out, and return its exit status."""
    supervisor = int(arguments[0])
    channel = socket.socket(fileno=os.dup(0))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # they are for trials; the server ends with its supervisor
    try:
        _empty_input()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # while modules are loaded nothing else notices that it is gone
        if os.getppid() != supervisor:
            return 0
        watched = os.pidfd_open(supervisor)
        folders = _load(arguments[1:])
        _check_fork()
    except Exception as error:
        with suppress(OSError):  # the supervisor is gone
            _send(channel, {"refused": f"{type(error).__name__}: {error}"})
        return 1
    _send(channel, {"ready": True})
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, _MESSAGE_BYTES, 3)
        if not message:
            os._exit(0)  # there is nothing to tidy up, and libraries would take their time for it
        request = json.loads(message)
        if "wait" in request:
            _send(channel, {"status": os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])})
        elif _fork(channel, descriptors) == 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for folder in folders:
                TemporaryDirectory.__init__(folder)  # a new place for who holds it
            return _carry_out(request["folder"], request["variables"], watched)


def _empty_input() -> None:
    """Leave nothing to be read from standard input, as in a trial's own process."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def _load(modules: Sequence[str]) -> list[TemporaryDirectory[str]]:
    """Import what trials will need; the temporary folders that modules made for themselves (W&B does), removed: each trial has its own.

    Raises:
        ForkRefused: a module of the folder where the command started came along, which may be another one when the next trial begins;
            or a library uses a temporary folder that it removes at its end (matplotlib, where the home cannot be written).
    """
    before, variables = set(sys.modules), set(os.environ)
    for name in modules:
        importlib.import_module(name)
    here = Path.cwd()
    for name in set(sys.modules) - before:
        path = getattr(sys.modules[name], "__file__", None)
        if path and Path(path).is_relative_to(here) and not is_installed(Path(path)):
            raise ForkRefused(f"{name} is a module of {here}")
    if "MPLCONFIGDIR" in set(os.environ) - variables:
        raise ForkRefused("MPLCONFIGDIR is a temporary folder")
    gc.collect()
    folders = [thing for thing in gc.get_objects() if issubclass(type(thing), TemporaryDirectory)]  # isinstance asks libraries' objects
    for folder in folders:
        folder.cleanup()
    gc.freeze()  # what is there now stays in memory that all trials share
    return folders


def _check_fork() -> None:
    """Raises ForkRefused if a GPU can be used, which belongs to the process that first asks for it, or if other threads run."""
    torch = sys.modules.get("torch")
    if torch and torch.accelerator.is_available():
        raise ForkRefused("there is a GPU")
    if not _other_threads():
        return
    pid = os.fork()  # OpenBLAS has threads from the beginning, ends them before a fork, and has them again when it computes
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    others = _other_threads()
    if others:
        raise ForkRefused(f"other threads run: {', '.join(others)}")


def _other_threads() -> list[str]:
    """Names of this process's threads, without the first and those that a fork does no harm."""
    names = [(task / "comm").read_text().strip() for task in _TASKS.iterdir() if task.name != str(os.getpid())]
    return [name for name in names if name not in _FORK_SAFE_THREADS]


def _fork(channel: socket.socket, descriptors: Sequence[int]) -> int:
    """Fork, and tell the supervisor; what :func:`os.fork` returns.

    The child has a session of its own before anybody hears of it, and begins when the supervisor has heard.
    """
    output, error, go = descriptors
    ready, started = os.pipe()
    try:
        pid = os.fork()
    except OSError as failure:
        _send(channel, {"refused": str(failure)})
        pid = -1
    if pid == 0:
        os.setsid()
        os.dup2(output, 1)
        os.dup2(error, 2)
        channel.close()
    for descriptor in (output, error, started):
        os.close(descriptor)
    if pid > 0:
        os.read(ready, 1)  # nothing comes: its end is the sign
        _send(channel, {"pid": pid})
    os.close(ready)
    if pid == 0 and not os.read(go, 1):  # the supervisor has given the server up, and starts the trial afresh
        os._exit(EXIT_STOPPED)
    os.close(go)
    return pid


def _carry_out(folder: str, variables: dict[str, str], supervisor: int) -> int:
    """Be what ``python -m pathsynth.studies.execution.trial <folder>`` is, and do what it does."""
    os.environ.update(variables)
    sys.argv[:] = [str(trial.__file__), folder]
    sys.modules["__main__"] = trial  # whose name others tell (W&B) or import again (multiprocessing)
    importlib.invalidate_caches()
    for name, generator in (("numpy.random", "seed"), ("torch.random", "seed")):
        if name in sys.modules:
            getattr(sys.modules[name], generator)()  # unforeseeable, as in any process, and not the same in all forks
    try:
        return trial.main([folder], lambda: bool(wait([supervisor], 0)))
    finally:
        gc.unfreeze()  # else libraries that count what is left at the end (Triton's binding) print hundreds of lines into the log


def _send(channel: socket.socket, message: dict[str, Any]) -> None:
    channel.send(json.dumps(message).encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
