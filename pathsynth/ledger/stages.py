"""The stage store: each stage is built once under its identity, and found by everyone who needs it again."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.lease import SECONDS, Lease, acquire, held
from pathsynth.ledger.versions import Provenance

STAGES = ".stages"
"""The folder of a store below ``multirun``."""

_RECORD = "stage.json"
_TIME = "seconds.json"
_TIME_KEPT_EVERY = 5.0
"""Seconds between two notes of how long a build has worked: what a kill makes forgotten at most."""


@dataclass(frozen=True)
class Built:
    """How a finished stage came about: what computed it, and the seconds of its own work, those of attempts that it goes on from too.

    Either is None where a stage was built before it was recorded.
    """

    provenance: Provenance | None
    seconds: float | None


def read_built(folder: Path) -> Built:
    """How the finished stage in ``folder`` came about."""
    record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    known = all(name in record for name in ("versions", "commit", "device"))
    return Built(Provenance.from_json(record) if known else None, record.get("seconds"))


class StageStore:
    """Folders ``<root>/<stage>/<identity>/``. A folder of that name is finished; ``<identity>.<token>.partial`` is being built.

    ``<identity>.work`` keeps checkpoints across attempts to build; it goes when the stage is finished. ``<identity>.lease``
    says who builds; ``lease_seconds`` after its builder's last sign of life another process takes over.
    """

    def __init__(self, root: Path, lease_seconds: float = SECONDS) -> None:
        self.root, self._lease_seconds = root, lease_seconds

    def find(self, stage: str, identity: str) -> Path | None:
        """The folder of a finished stage, or None."""
        folder = self.root / stage / identity
        return folder if (folder / _RECORD).is_file() else None

    def busy(self, stage: str, identity: str) -> bool:
        """Whether another process is building the stage, as far as one look can tell."""
        return self.find(stage, identity) is None and held(self.lease(stage, identity))

    def work(self, stage: str, identity: str) -> Path:
        """Where an unfinished stage keeps what it wants to resume from."""
        return self.root / stage / f"{identity}.work"

    def discard(self, stage: str, identity: str) -> None:
        """Take a finished stage for unfinished, because what it holds has been damaged; the next build makes it again."""
        (self.root / stage / identity / _RECORD).unlink(missing_ok=True)

    def build(
        self, stage: str, identity: str, record: Mapping[str, Any], make: Callable[[Path], None], provenance: Provenance | None = None
    ) -> Path:
        """The finished stage's folder, made by ``make(folder)`` if it is not there yet.

        One process builds at a time; a second one that needs the stage waits and then finds it, or takes over from a builder
        that is gone or stands still. The first to finish is the only one whose result is taken. A build that fails leaves
        nothing, what a killed one left is removed by the next. ``record`` (what the stage was built from), ``provenance`` and the
        seconds that ``make`` took are kept in ``stage.json``, written last: a folder without it is not finished. Of a build that goes
        on from what an earlier attempt left in :meth:`work`, the seconds of that attempt count, too.
        """
        while True:
            found = self.find(stage, identity)
            if found:
                shutil.rmtree(self.work(stage, identity), ignore_errors=True)
                return found
            lease = acquire(self.lease(stage, identity), self._lease_seconds)
            assert lease
            with lease.beat():
                if not self.find(stage, identity):
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
        """Build the stage; of a build that was taken over nothing is kept, whatever became of it."""
        place = self.root / stage / identity
        for leftover in place.parent.glob(f"{identity}*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
        partial = place.with_name(f"{identity}.{lease.number}.partial")
        partial.mkdir()
        try:
            with _Stopwatch(self.work(stage, identity)) as watch:
                make(partial)
            made = {**(provenance.to_json() if provenance else {}), "seconds": round(watch.seconds, 2)}
            write_json(partial / _RECORD, {"stage": stage, "identity": identity, "settings": dict(record), **made})
            if lease.current and not self.find(stage, identity):
                shutil.rmtree(place, ignore_errors=True)
                os.rename(partial, place)
        except Exception:
            if lease.current:  # else whoever took over may have cleared the ground below this build; its own failure will tell
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


class _Stopwatch:
    """The seconds of work on a stage, over all attempts that left something to go on from.

    They are noted in the stage's work folder as the work goes on, for a killed attempt tells nothing; a stage that has no such folder
    starts anew, and so do its seconds.
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
