"""Put before a study's processes as ``sitecustomize``, or loaded first: kills one of them inside a write, with all that it started.

``KILL_IN`` is "<part of a file's name>:<n>": the n-th time such a file is opened for writing (or, being written beside its
place, is synced), half of what it holds is cut off and the process and its group are killed, as a power cut would.
``KILL_ONCE`` names a file that says it has happened.
"""

from __future__ import annotations

import os
import signal
import sys

_part, _, _count = os.environ.get("KILL_IN", "").rpartition(":")
_once = os.environ.get("KILL_ONCE", "")
_seen = 0


def _hit(path: str) -> bool:
    global _seen
    if not _part or _part not in path or os.path.exists(_once):
        return False
    _seen += 1
    return _seen == int(_count)


def _die() -> None:
    with open(_once, "x"):
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _cut(path: str) -> None:
    if os.path.isfile(path):
        os.truncate(path, os.path.getsize(path) // 2)


def _synced(descriptor: int, _real=os.fsync) -> None:
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    if _hit(path):
        _cut(path)
        _die()
    _real(descriptor)


def _opened(event: str, arguments: tuple) -> None:
    if event == "open" and isinstance(arguments[0], str) and isinstance(arguments[1], str) and set(arguments[1]) & set("wax"):
        path = os.path.abspath(arguments[0])
        if ".partial" not in path.rpartition("/")[2] and _hit(path):
            _cut(path)
            _die()
    if event == "os.rename" and _hit(f"{arguments[0]} -> {arguments[1]}"):
        _die()


if _part:
    os.fsync = _synced
    sys.addaudithook(_opened)
