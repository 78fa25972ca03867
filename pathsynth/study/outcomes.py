"""What the jobs of one command tell the process that closes it: each leaves a record, whichever launcher ran it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from pathsynth.ledger.atomic import read_json, write_json, write_text
from pathsynth.training.pruning import SearchedTrial

FOLDER_VARIABLE = "PATHSYNTH_OUTCOMES"
_FILE, _PASS_OVER, _SEARCHED = "outcome.json", "pass-over-busy", "search.json"


@dataclass(frozen=True)
class Outcome:
    """A job's trial (its state is told by the trial's own folder), or why there is none.

    ``folder`` is the trial's (None: refused, and ``refused`` says why); ``busy``: another process was carrying it out; ``own``:
    this command is or was carrying it out.
    """

    name: str
    folder: Path | None
    refused: str
    busy: bool = False
    own: bool = False


def write_outcome(number: int, outcome: Outcome) -> None:
    """Leave a job's record where the command that started it looks; a job that no such command started leaves none."""
    root = os.environ.get(FOLDER_VARIABLE)
    if not root:
        return
    place = Path(root) / str(number)
    place.mkdir(parents=True, exist_ok=True)
    folder = str(outcome.folder.absolute()) if outcome.folder else None
    write_json(place / _FILE, {**asdict(outcome), "folder": folder})


def pass_over_busy(on: bool) -> None:
    """Let the jobs of the running command pass over trials that another process is carrying out, or wait for them again.

    A mark on the disk, for a launcher's workers may keep the environment of the time when they began.
    """
    root = os.environ.get(FOLDER_VARIABLE)
    if root and on:
        Path(root).mkdir(parents=True, exist_ok=True)
        (Path(root) / _PASS_OVER).touch()
    elif root:
        (Path(root) / _PASS_OVER).unlink(missing_ok=True)


def passes_over_busy() -> bool:
    """Whether somebody will come back to a trial that is busy."""
    root = os.environ.get(FOLDER_VARIABLE)
    return bool(root) and (Path(root or "") / _PASS_OVER).exists()


def write_searched(number: int, searched: SearchedTrial) -> None:
    """Leave with a job's number which trial of a search it carries out; on the disk, as a launcher's workers read no environment twice."""
    place = Path(os.environ[FOLDER_VARIABLE]) / str(number)
    place.mkdir(parents=True, exist_ok=True)
    write_text(place / _SEARCHED, searched.to_text())


def read_searched(number: int) -> str | None:
    """What :func:`write_searched` left, as it stands in a trial's environment; None for a job of no search."""
    path = Path(os.environ.get(FOLDER_VARIABLE, "")) / str(number) / _SEARCHED
    return path.read_text(encoding="utf-8") if path.is_file() else None


def read_outcomes(root: Path) -> list[Outcome]:
    """The records of a command's jobs, in the order of their numbers; of a trial that came up twice, the last."""
    numbered = {int(path.parent.name): path for path in root.glob(f"*/{_FILE}") if path.parent.name.isdigit()}
    outcomes = [_read(numbered[number]) for number in sorted(numbered)]
    return list({outcome.folder or (outcome.name, outcome.refused): outcome for outcome in outcomes}.values())


def read_outcome(number: int) -> Outcome | None:
    """The record of one job of the running command; None if it left none."""
    path = Path(os.environ.get(FOLDER_VARIABLE, "")) / str(number) / _FILE
    return _read(path) if path.is_file() else None


def has_own_trial() -> bool:
    """Whether the running command has begun to carry out a trial."""
    root = os.environ.get(FOLDER_VARIABLE)
    return bool(root) and any(outcome.own for outcome in read_outcomes(Path(root or "")))


def _read(path: Path) -> Outcome:
    record = read_json(path)
    return Outcome(**{**record, "folder": Path(record["folder"]) if record["folder"] else None})
