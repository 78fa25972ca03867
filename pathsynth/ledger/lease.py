"""Leases: the exclusive right to work on something, which ends when its holder stalls or dies.

A lock that the operating system keeps lasts as long as its process, even one that is stopped and never comes back. A
lease lasts as long as its holder shows that it works. Each holder has a number (the fencing token, Kleppmann 2016):
whoever takes a lease over has the next one, and what an earlier holder does after that is refused. The token's file is
created exclusively, so of several that want it one gets it, on a network file system as well. Times of two clocks are never
compared. docs/explanation/leases.md has the protocol.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.errors import RequestError

SECONDS = 60.0
"""After this time without a sign from its holder a lease is over."""

_HELD, _OVER = ".held", ".over"
_POLL_SECONDS = 0.2
_KEPT = 3
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_BOOT, _NAMESPACE = Path("/proc/sys/kernel/random/boot_id"), "/proc/self/ns/pid"


class StaleLease(Exception):
    """The lease was taken over; what its former holder did is not wanted any more."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease: a process (``pid``; ``born`` tells it from a later one of that number) and how long it may be silent.

    A number means something only to the same running kernel (``boot``) and in the same ``namespace`` of process numbers: two
    machines or containers may have one host name. Where the system gives neither, both are empty, and the name is used alone.
    ``keeper`` (and its start) is the process that handed the lease over and ends it when the holder is gone; 0: none.
    """

    host: str
    pid: int
    born: int
    seconds: float
    boot: str = ""
    namespace: str = ""
    keeper: int = 0
    keeper_born: int = 0

    @classmethod
    def me(cls, seconds: float) -> Holder:
        """The holder that stands for this process, which may be silent for ``seconds``."""
        return cls(socket.gethostname(), os.getpid(), _born(os.getpid()) or 0, seconds, *_kernel())

    @property
    def here(self) -> bool:
        """Whether this process can see the holder's."""
        return (self.host, self.boot, self.namespace) == (socket.gethostname(), *_kernel())

    @property
    def dead(self) -> bool:
        """Whether the process is known to be gone; of one that cannot be seen from here nothing is known."""
        has_keeper = self.keeper > 0 and _born(self.keeper) == self.keeper_born
        return self.here and _born(self.pid) != self.born and not has_keeper


@dataclass(frozen=True)
class Token:
    """The newest token of a lease: its number, and its holder unless it was given back."""

    number: int
    holder: Holder | None
    shown: int
    """When the holder last showed that it works, in nanoseconds by the file system's clock."""


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
        threading.Thread(target=self._show, args=(self._ended,), daemon=True).start()
        return self

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it as :meth:`beat` does, while active only: before another process adopts it."""
        over = threading.Event()
        thread = threading.Thread(target=self._show, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @property
    def current(self) -> bool:
        """Whether no other process has taken over."""
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

    def _show(self, over: threading.Event) -> None:
        while not over.wait(self._holder.seconds / 4):
            with suppress(OSError):  # a network file system that is away for a moment is no takeover
                os.utime(_file(self._place, self.number, _HELD))
            if not over.is_set() and not self.current:
                self._on_lost()
                return


def acquire(place: Path, seconds: float = SECONDS, wait: bool = True, check: Callable[[], None] = lambda: None) -> Lease | None:
    """Take the lease of ``place`` (a folder that is created for its tokens); None if it is held and ``wait`` is false.

    ``check`` is called again and again while this process waits; what it raises ends the wait.

    A holder that is gone, or that has not shown itself for the term that it promised, is taken over. Whether it shows itself
    is seen by watching its file for as long as the term by this process's own clock. Call :meth:`Lease.beat` on what is
    returned.

    Raises:
        RequestError: the folder cannot be written, or its file system has no exclusive creation.
    """
    _make_folder(place)
    watched = _Watch(seconds)
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

    The other process keeps it: as long as that is there, the lease is not free at the very moment at which this one ends.

    Raises:
        StaleLease: it was taken over meanwhile.
    """
    token, me = newest(place), Holder.me(seconds)
    if token and token.holder and token.holder.here:
        me = replace(me, keeper=token.holder.pid, keeper_born=token.holder.born)
    lease = Lease(place, number, me)
    lease.check()
    write_json(_file(place, number, _HELD), asdict(lease._holder))
    return lease


def newest(place: Path) -> Token | None:
    """The newest token, or None if there never was one.

    A file that cannot be read (yet: where there are no hard links it appears before its content) is of a holder of whom nothing
    is known, not even its term, which is 0.
    """
    for number in reversed(_numbers(place)):
        try:
            with _file(place, number, _HELD).open(encoding="utf-8", errors="replace") as handle:
                content = handle.read()
                shown = os.fstat(handle.fileno()).st_mtime_ns  # after opening: NFS asks its server then
        except FileNotFoundError:
            return Token(number, None, 0)
        try:
            return Token(number, Holder(**json.loads(content)), shown)
        except (ValueError, TypeError, RecursionError):
            return Token(number, Holder("", 0, 0, 0.0), shown)
    return None


def is_held(place: Path) -> bool:
    """Whether any process holds the lease, as far as one look can tell; by the file system's clock, which may jump."""
    token = newest(place)
    if token is None or token.holder is None or token.holder.dead:
        return False
    age = _age(place, token)
    return age is None or age <= (token.holder.seconds or SECONDS)


def _age(place: Path, token: Token) -> float | None:
    """Seconds since the holder showed itself, both times by the clock that stamps files there; None where nothing may be written."""
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".now.") as probe:
            return (os.fstat(probe.fileno()).st_mtime_ns - token.shown) / 1e9
    except OSError:
        return None


class _Watch:
    """Watches a token for signs of its holder. ``seconds``: the term of a holder that names none."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: tuple[int, int] | None = None
        self._since = self._looked = 0.0

    def over(self, token: Token) -> bool:
        """Whether the holder is gone or has stood still for longer than it promised.

        A watcher that itself stood still for long starts again: what stopped it may have stopped the holder.
        """
        assert token.holder
        if token.holder.dead:
            return True
        now, term = time.monotonic(), token.holder.seconds or self._seconds
        if self._seen != (token.number, token.shown) or now - self._looked > max(term / 2, 2 * _POLL_SECONDS):
            self._seen, self._since = (token.number, token.shown), now
        self._looked = now
        return now - self._since > term


def _make_folder(place: Path) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise RequestError(f"{place.parent} cannot be written ({error.strerror}); name another folder, as in multirun=…") from error


def _create(place: Path, number: int, holder: Holder) -> Lease | None:
    """The lease of that number, or None if another process has it or had it; the file appears only once."""
    if _numbers(place)[-1:] >= [number] or not _appears(_file(place, number, _HELD), json.dumps(asdict(holder))):
        return None
    if _numbers(place)[-1:] != [number] or _file(place, number, _OVER).exists():
        # others had this number, and gave it back, since this process looked
        _file(place, number, _HELD).unlink(missing_ok=True)
        return None
    return Lease(place, number, holder)


def _appears(path: Path, content: str) -> bool:
    """Create a file that is not there yet, whole where there are hard links; False if it is there.

    Raises:
        RequestError: the file system has no exclusive creation.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(content)
        os.chmod(name, 0o644)  # other people who share the folder read it
        os.link(name, path)
    except FileExistsError:
        return os.stat(name).st_nlink == 2  # a network file system may carry a request out twice, and tell of the second time
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    else:
        return True
    finally:
        Path(name).unlink(missing_ok=True)
    return _appears_exclusively(path, content)


def _appears_exclusively(path: Path, content: str) -> bool:
    try:
        with path.open("x", encoding="utf-8") as handle:
            handle.write(content)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        remedy = "choose a folder on another one, as in multirun=…"
        raise RequestError(f"the file system of {path.parent} can create no file exclusively ({error.strerror}); {remedy}") from error
    return True


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


@cache
def _kernel() -> tuple[str, str]:
    """What identifies this running kernel and this process's namespace of process numbers; empty where that is not known."""
    try:
        return _BOOT.read_text().strip(), os.readlink(_NAMESPACE)
    except OSError:
        return "", ""


def _born(pid: int) -> int | None:
    """When a process of this machine started, in the kernel's ticks (0 where that is not known); None if it is gone."""
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
