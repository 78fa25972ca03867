"""The stage store: each stage is built once under its identity, and found by everyone who needs it again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from pathsynth.ledger.atomic import write_json

_RECORD = "stage.json"


class StageStore:
    """Folders ``<root>/<stage>/<identity>/``. A folder of that name is finished; ``<identity>.partial`` is being built.

    ``<identity>.work`` keeps checkpoints across attempts to build; it goes when the stage is finished.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, stage: str, identity: str) -> Path | None:
        """The folder of a finished stage, or None."""
        folder = self.root / stage / identity
        return folder if (folder / _RECORD).is_file() else None

    def work(self, stage: str, identity: str) -> Path:
        """Where an unfinished stage keeps what it wants to resume from."""
        return self.root / stage / f"{identity}.work"

    def build(self, stage: str, identity: str, record: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
        """The finished stage's folder, made by ``make(folder)`` if it is not there yet.

        One process builds at a time; a second one that needs the stage waits and then finds it. A build that fails leaves
        nothing, what a killed one left is removed by the next. ``record`` (what the stage was built from) is kept in
        ``stage.json``, written last: a folder without it is not finished.
        """
        found = self.find(stage, identity)
        if found:
            return found
        place = self.root / stage / identity
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_name(f"{identity}.lock")):
            found = self.find(stage, identity)
            if found:
                return found
            partial = place.with_name(f"{identity}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                make(partial)
                write_json(partial / _RECORD, {"stage": stage, "identity": identity, "settings": dict(record)})
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            shutil.rmtree(place, ignore_errors=True)
            os.replace(partial, place)
            shutil.rmtree(self.work(stage, identity), ignore_errors=True)
        return place
