"""What the jobs of one command tell the process that closes it: each leaves a record, whichever launcher ran it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from pathsynth.ledger.atomic import write_json

FOLDER_VARIABLE = "PATHSYNTH_OUTCOMES"
_FILE = "outcome.json"


@dataclass(frozen=True)
class Outcome:
    """A job's trial (its state is told by the trial's own folder), or why there is none."""

    name: str
    folder: Path | None
    refused: str


def write_outcome(number: int, outcome: Outcome) -> None:
    """Leave a job's record where the command that started it looks; a job that no such command started leaves none."""
    root = os.environ.get(FOLDER_VARIABLE)
    if not root:
        return
    place = Path(root) / str(number)
    place.mkdir(parents=True, exist_ok=True)
    folder = str(outcome.folder.absolute()) if outcome.folder else None
    write_json(place / _FILE, {"name": outcome.name, "folder": folder, "refused": outcome.refused})


def read_outcomes(root: Path) -> list[Outcome]:
    """The records of a command's jobs, in the order of their numbers."""
    numbered = {int(path.parent.name): path for path in root.glob(f"*/{_FILE}") if path.parent.name.isdigit()}
    records = [json.loads(numbered[number].read_text(encoding="utf-8")) for number in sorted(numbered)]
    return [Outcome(r["name"], Path(r["folder"]) if r["folder"] else None, r["refused"]) for r in records]
