"""The stage store: each stage is built once under its identity, and found by everyone who needs it again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.interruption import check
from pathsynth.ledger.lease import SECONDS, Lease, acquire, held

STAGES = ".stages"
"""The folder of a store below ``multirun``."""

_RECORD = "stage.json"


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

    def build(self, stage: str, identity: str, record: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
        """The finished stage's folder, made by ``make(folder)`` if it is not there yet.

        One process builds at a time; a second one that needs the stage waits and then finds it, or takes over from a builder
        that is gone or stands still. The first to finish is the only one whose result is taken. A build that fails leaves
        nothing, what a killed one left is removed by the next. ``record`` (what the stage was built from) is kept in
        ``stage.json``, written last: a folder without it is not finished.
        """
        while True:
            found = self.find(stage, identity)
            if found:
                shutil.rmtree(self.work(stage, identity), ignore_errors=True)
                return found
            lease = acquire(self.lease(stage, identity), self._lease_seconds, check=check)
            assert lease
            with lease.beat():
                if not self.find(stage, identity):
                    self._make(stage, identity, record, make, lease)

    def lease(self, stage: str, identity: str) -> Path:
        """Where it is kept who builds the stage."""
        return self.root / stage / f"{identity}.lease"

    def _make(self, stage: str, identity: str, record: Mapping[str, Any], make: Callable[[Path], None], lease: Lease) -> None:
        """Build the stage; of a build that was taken over nothing is kept, whatever became of it."""
        place = self.root / stage / identity
        for leftover in place.parent.glob(f"{identity}*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
        partial = place.with_name(f"{identity}.{lease.number}.partial")
        partial.mkdir()
        try:
            make(partial)
            write_json(partial / _RECORD, {"stage": stage, "identity": identity, "settings": dict(record)})
            if lease.current and not self.find(stage, identity):
                shutil.rmtree(place, ignore_errors=True)
                os.rename(partial, place)
        except Exception:
            if lease.current:  # else whoever took over may have cleared the ground below this build; its own failure will tell
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
