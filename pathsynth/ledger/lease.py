"""Leases: the exclusive right to work on something, which ends when its holder stalls or dies.

A lock that the operating system keeps lasts as long as its process, even one that is stopped and never comes back. A
lease lasts as long as its holder shows that it works. Each holder has a number (the fencing token, Kleppmann 2016):
whoever takes a lease over has the next one, and what an earlier holder does after that is refused. The token's file is
created exclusively, so of several that want it one gets it, on a network file system as well.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pathsynth.ledger.atomic import write_json

SECONDS = 60.0
"""After this time without a sign from its holder a lease is over."""

_HELD, _OVER = ".held", ".over"
_POLL_SECONDS = 0.2
_KEPT = 3


class StaleLease(Exception):
    """The lease was taken over; what its former holder did is not wanted any more."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease: a process on a machine. ``born`` tells it from a later process of the same number."""

    host: str
    pid: int
    born: int
    seconds: float

    @classmethod
    def me(cls, seconds: float) -> Holder:
        return cls(socket.gethostname(), os.getpid(), _born(os.getpid()) or 0, seconds)

    @property
    def here(self) -> bool:
        return self.host == socket.gethostname()

    @property
    def dead(self) -> bool:
        """Whether the process is known to be gone; of one on another machine nothing is known."""
        return self.here and _born(self.pid) != self.born


@dataclass(frozen=True)
class Token:
    """The newest token of a lease: its number, and its holder unless it was given back."""

    number: int
    holder: Holder | None
    shown: float
    """When the holder last showed that it works, in seconds by the file system's clock."""


class Lease:
    """A lease that is held. The holder shows itself every quarter of its term from a thread of its own.

    ``on_lost`` is called there, once, when another process has taken over.
    """

    def __init__(self, place: Path, number: int, holder: Holder) -> None:
        self._place, self.number, self._holder = place, number, holder
        self._on_lost: Callable[[], None] = lambda: None
        self._ended = threading.Event()

    def beat(self, on_lost: Callable[[], None] = lambda: None) -> Lease:
        """Start showing that the holder works."""
        self._on_lost = on_lost
        threading.Thread(target=self._show, daemon=True).start()
        return self

    @property
    def current(self) -> bool:
        """Whether nobody has taken over."""
        return _numbers(self._place)[-1:] == [self.number]

    def check(self) -> None:
        """Raises StaleLease if another process has taken over."""
        if not self.current:
            raise StaleLease(f"{self._place.name} was taken over by another process while this one stood still")

    def release(self) -> None:
        """Give the lease back; nothing happens if it is stale."""
        self._ended.set()
        with suppress(FileNotFoundError):
            os.replace(_file(self._place, self.number, _HELD), _file(self._place, self.number, _OVER))

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _show(self) -> None:
        while not self._ended.wait(self._holder.seconds / 4):
            with suppress(OSError):  # a network file system that is away for a moment is no takeover
                os.utime(_file(self._place, self.number, _HELD))
            if not self._ended.is_set() and not self.current:
                self._on_lost()
                return


def acquire(place: Path, seconds: float = SECONDS, wait: bool = True, check: Callable[[], None] = lambda: None) -> Lease | None:
    """Take the lease of ``place`` (a folder that is created for its tokens); None if it is held and ``wait`` is false.

    ``check`` is called again and again while this process waits; what it raises ends the wait.

    A holder that is gone, or that has not shown itself for the term that it promised, is taken over. On this machine its
    file's age tells; of another machine, whose clock may differ, this process watches for as long as the term. Call
    :meth:`Lease.beat` on what is returned.
    """
    place.mkdir(parents=True, exist_ok=True)
    watched = _Watch()
    while True:
        token = newest(place)
        if token is None or token.holder is None or watched.over(token):
            number = token.number + 1 if token else 1
            lease = _create(place, number, Holder.me(seconds))
            if lease:
                _forget_old(place, number)
                return lease
            continue
        if not wait:
            return None
        check()
        time.sleep(_POLL_SECONDS)


def adopt(place: Path, number: int, seconds: float = SECONDS) -> Lease:
    """Become the holder of a lease that another process took and does not :meth:`Lease.beat` for.

    Raises:
        StaleLease: it was taken over meanwhile.
    """
    lease = Lease(place, number, Holder.me(seconds))
    lease.check()
    write_json(_file(place, number, _HELD), asdict(lease._holder))
    return lease


def newest(place: Path) -> Token | None:
    """The newest token, or None if there never was one."""
    for number in reversed(_numbers(place)):
        held = _file(place, number, _HELD)
        try:
            holder = Holder(**json.loads(held.read_text(encoding="utf-8")))
            return Token(number, holder, held.stat().st_mtime)
        except FileNotFoundError:
            return Token(number, None, 0.0)
        except (ValueError, TypeError):
            return Token(number, replace(Holder.me(0.0), pid=-1), 0.0)  # no holder that lives could have written this
    return None


def held(place: Path) -> bool:
    """Whether somebody holds the lease, as far as one look can tell."""
    token = newest(place)
    return token is not None and token.holder is not None and not _Watch().over(token)


class _Watch:
    """Watches a token for signs of its holder."""

    def __init__(self) -> None:
        self._seen: tuple[int, float] | None = None
        self._since = 0.0

    def over(self, token: Token) -> bool:
        """Whether the holder is gone or has stood still for longer than it promised."""
        assert token.holder
        if token.holder.dead:
            return True
        if token.holder.here:
            return time.time() - token.shown > token.holder.seconds
        if self._seen != (token.number, token.shown):
            self._seen, self._since = (token.number, token.shown), time.monotonic()
        return time.monotonic() - self._since > token.holder.seconds


def _create(place: Path, number: int, holder: Holder) -> Lease | None:
    """The lease of that number, or None if somebody else has it; the file appears whole and only once."""
    descriptor, name = tempfile.mkstemp(dir=place, prefix=".new.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            json.dump(asdict(holder), handle)
        if _numbers(place)[-1:] >= [number]:
            return None
        os.link(name, _file(place, number, _HELD))
    except FileExistsError:
        return None
    finally:
        Path(name).unlink(missing_ok=True)
    return Lease(place, number, holder)


def _forget_old(place: Path, number: int) -> None:
    for old in _numbers(place):
        if old <= number - _KEPT:
            for ending in (_HELD, _OVER):
                _file(place, old, ending).unlink(missing_ok=True)


def _numbers(place: Path) -> list[int]:
    """All token numbers in order."""
    try:
        names = [entry for entry in os.listdir(place) if entry.endswith((_HELD, _OVER)) and not entry.startswith(".")]
    except FileNotFoundError:
        return []
    return sorted({int(name.partition(".")[0]) for name in names})


def _file(place: Path, number: int, ending: str) -> Path:
    return place / f"{number:08d}{ending}"


def _born(pid: int) -> int | None:
    """When a process of this machine started, in the kernel's ticks (0 where that is not told); None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists() or pid <= 0:
            return None
    else:
        return None if fields[0] in "ZX" else int(fields[19])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return 0
