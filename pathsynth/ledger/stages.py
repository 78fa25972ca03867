"""The stage store: each stage is built once under its identity, and found by everyone who needs it again.

A finished stage is never moved, removed or written to by a build: it is accepted by renaming a whole folder onto a name that is
free (or an empty folder), which the file system lets happen once. docs/explanation/leases.md has the steps, and why each is there.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from pathsynth.ledger.atomic import read_json, sync, sync_names, write_json
from pathsynth.ledger.contents import RECORD, damage, make_read_only, seal
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.interruption import check
from pathsynth.ledger.lease import SECONDS, Lease, acquire, is_held
from pathsynth.ledger.versions import Provenance

STAGES = ".stages"
"""The folder of a store below ``multirun``."""

_PARTIAL = re.compile(r"(?P<identity>[^.]+)(\.(?P<number>\d+))?\.partial")
_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST)
_TIME = "seconds.json"
_TIME_KEPT_EVERY = 5.0
"""Seconds between two notes of how long a build has worked: what a kill makes forgotten at most."""


@dataclass(frozen=True)
class Built:
    """How a finished stage came about: what computed it, and the seconds of its own work, those of attempts that it continues from too.

    Either is None where a stage was built before it was recorded.
    """

    provenance: Provenance | None
    seconds: float | None


def read_built(folder: Path) -> Built:
    """How the finished stage in ``folder`` came about."""
    record = read_json(folder / RECORD)
    known = all(name in record for name in ("versions", "commit", "device"))
    return Built(Provenance.from_json(record) if known else None, record.get("seconds"))


class StageStore:
    """Folders ``<root>/<stage>/<identity>/``. A folder of that name is finished; ``<identity>.<token>.partial`` is being built.

    ``<identity>.work`` keeps checkpoints across attempts to build; it goes when the stage is finished. ``<identity>.lease``
    says who builds; ``lease_seconds`` after its builder's last sign of life another process takes over. The files of a finished
    stage are read-only, and their sizes, times and hashes stand in its ``stage.json``.
    """

    def __init__(self, root: Path, lease_seconds: float = SECONDS) -> None:
        self.root, self._lease_seconds = root, lease_seconds
        self._fit = False

    def find(self, stage: str, identity: str) -> Path | None:
        """The folder of a finished stage, or None; what it holds may have been damaged since."""
        folder = self.root / stage / identity
        return folder if (folder / RECORD).is_file() else None

    def read(self, stage: str, identity: str) -> Path | None:
        """The folder of a finished stage that holds what it held when it was finished, or None."""
        folder = self.find(stage, identity)
        return folder if folder and not damage(folder) else None

    def busy(self, stage: str, identity: str) -> bool:
        """Whether another process is building the stage, as far as one look can tell."""
        return self.find(stage, identity) is None and is_held(self.lease(stage, identity))

    def work(self, stage: str, identity: str) -> Path:
        """Where an unfinished stage keeps what it wants to resume from."""
        return self.root / stage / f"{identity}.work"

    def stamp(self, stage: str, identity: str) -> tuple[int, int]:
        """Tells the folder of a stage from a later one of that name."""
        return _stamp(os.stat(self.root / stage / identity))

    def discard(self, stage: str, identity: str, stamp: tuple[int, int]) -> None:
        """Take a finished stage for unfinished, because what it holds is of no use; the next build makes it again.

        A folder with another ``stamp`` than that of the one which was found useless stays.
        """
        _empty(self.root / stage / identity, lambda status: _stamp(status) == stamp)

    def build(
        self, stage: str, identity: str, record: Mapping[str, Any], make: Callable[[Path], None], provenance: Provenance | None = None
    ) -> Path:
        """The finished stage's folder, made by ``make(folder)`` if it is not there yet.

        One process builds at a time; a second one that needs the stage waits and then finds it, or takes over from a builder
        that is gone or stands still. The first to finish is the only one whose result is taken. A build that fails leaves
        nothing, what a killed one left is removed by the next. ``record`` (what the stage was built from), ``provenance`` and the
        seconds that ``make`` took are kept in ``stage.json``, written last: a folder without it is not finished. Of a build that goes
        on from what an earlier attempt left in :meth:`work`, the seconds of that attempt count, too.
        A stage that was damaged since is built again, with a line that says so.

        Raises:
            RequestError: the file system cannot keep two results of a stage apart, or the folder cannot be written.
        """
        while True:
            result = self.read(stage, identity)
            if result:
                shutil.rmtree(self.work(stage, identity), ignore_errors=True)
                return result
            lease = acquire(self.lease(stage, identity), self._lease_seconds, check=check)
            assert lease
            with lease.beat():
                if not self.read(stage, identity):
                    self._make(stage, identity, record, make, provenance, lease)

    def lease(self, stage: str, identity: str) -> Path:
        """Where it is kept who builds the stage."""
        return self.root / stage / f"{identity}.lease"

    def _make(
        self,
        stage: str,
        identity: str,
        record: Mapping[str, Any],
        make: Callable[[Path], None],
        provenance: Provenance | None,
        lease: Lease,
    ) -> None:
        """Build the stage; of a build that was taken over nothing is kept, even if it failed or finished."""
        place = self.root / stage / identity
        if not self._fit:
            self._fit = _moves_once(self.root)
            sync_names(self.root)  # else a power cut could take the whole store that was made just now
        _remove_leftovers(place, lease.number)
        _remove_damaged(place)
        partial = place.with_name(f"{identity}.{lease.number}.partial")
        partial.mkdir()
        try:
            with _Stopwatch(self.work(stage, identity)) as watch:
                make(partial)
            files = seal(partial)
            made = {**(provenance.to_json() if provenance else {}), "seconds": round(watch.seconds, 2)}
            write_json(partial / RECORD, {"stage": stage, "identity": identity, "settings": dict(record), **made, "files": files})
            make_read_only(partial / RECORD)
            sync(partial)
            if lease.current:
                _accept(partial, place)
        except Exception:
            if lease.current:  # else whoever took over may have cleared the ground below this build; its own failure will tell
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _moves_once(root: Path) -> bool:
    """Whether a folder cannot be moved onto one that holds something, on which it rests that one result is accepted.

    Raises:
        RequestError: it can, or folders cannot be moved at all; some mounts of object stores are so.
    """
    remedy = f"choose a folder on another one than {root}, as in multirun=…"
    with tempfile.TemporaryDirectory(dir=root, prefix=".probe.") as probe:
        one, other = Path(probe) / "one", Path(probe) / "other"
        for folder in (one, other):
            folder.mkdir()
            (folder / "file").touch()
        try:
            os.rename(one, other)
        except OSError as error:
            if error.errno in _OCCUPIED:
                return True
            raise RequestError(f"the file system moves no folders ({error.strerror}); {remedy}") from error
    raise RequestError(f"the file system replaces a folder by another, so that a finished stage could be lost; {remedy}")


def _accept(partial: Path, place: Path) -> None:
    """Move a whole folder into its place, unless a finished one is there: the first to finish counts."""
    while True:
        try:
            os.rename(partial, place)
        except OSError as error:
            if error.errno not in _OCCUPIED:
                raise
        else:
            sync(place.parent)
            sync(place.parent.parent)  # the stage's folder may be new, too
            return
        if not damage(place):
            return
        _remove_damaged(place)


def _remove_leftovers(place: Path, number: int) -> None:
    """Remove what builders before this one left.

    Each folder is renamed first, so that a builder that stands still, and wakes up, cannot move half of one into place. One of this
    builder's own number is from before a power cut, in which the lease's last numbers were lost.
    """
    leftovers = place.parent.glob(f"{place.name}.*partial")
    for leftover in sorted(leftovers, key=lambda path: bool(_PARTIAL.fullmatch(path.name))):  # first what has been renamed already
        name = _PARTIAL.fullmatch(leftover.name)
        going = leftover
        if name:
            before = int(name["number"] or 0)
            if before > number:  # this builder is the one that stood still
                continue
            going = place.with_name(f"{place.name}.gone{before}_{number}.partial")
            try:
                os.rename(leftover, going)
            except OSError:
                continue
        shutil.rmtree(going, ignore_errors=True)


def _remove_damaged(place: Path) -> None:
    """Empty a folder that is in a stage's place and is not finished, or damaged."""
    if place.is_dir():
        why = damage(place)
        if why and any(place.iterdir()):
            print(f"{place.parent.name} {place.name}: {why}; it is built again", flush=True)
        _empty(place, lambda _: bool(damage(place)))


def _empty(place: Path, useless: Callable[[os.stat_result], bool]) -> None:
    """Remove all that is in a folder if it is ``useless``, through its descriptor.

    By then another builder may have put a finished stage in its place. The descriptor stays with the folder that was judged.
    """
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        status = os.fstat(descriptor)
        if not useless(status) or not os.path.samestat(status, os.stat(place)):
            return
        names = sorted(os.listdir(descriptor), key=lambda name: name != RECORD)  # without its record it is not finished
        for name in names:
            try:
                os.unlink(name, dir_fd=descriptor)
            except (IsADirectoryError, PermissionError):
                shutil.rmtree(name, ignore_errors=True, dir_fd=descriptor)
            except FileNotFoundError:
                continue
    except FileNotFoundError:
        return
    finally:
        os.close(descriptor)


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_ino, status.st_mtime_ns


class _Stopwatch:
    """The seconds of work on a stage, over all attempts that left something to continue from.

    They are noted in the stage's work folder as the work continues, because a killed attempt cannot add its own at its end. A stage
    without such a folder starts again, and so do its seconds.
    """

    def __init__(self, work: Path) -> None:
        self._work, self._file = work, work / _TIME
        self._before, self._started = _noted(self._file), time.monotonic()
        self._stopped: float | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    @property
    def seconds(self) -> float:
        return self._before + (time.monotonic() if self._stopped is None else self._stopped) - self._started

    def __enter__(self) -> _Stopwatch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopped = time.monotonic()
        self._ended.set()
        self._thread.join()
        if error is not None:
            self._note()

    def _keep(self) -> None:
        while not self._ended.wait(_TIME_KEPT_EVERY):
            self._note()

    def _note(self) -> None:
        if self._work.is_dir():
            with suppress(OSError):  # the disk is full, or whoever took over has finished
                write_json(self._file, self.seconds)


def _noted(path: Path) -> float:
    try:
        return float(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return 0.0
