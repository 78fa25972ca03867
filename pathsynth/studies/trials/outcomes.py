"""What the jobs of one command tell the process that closes it: each leaves a record, whichever launcher ran it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pathsynth.ledger.atomic import read_json, write_json, write_text
from pathsynth.training.pruning import SearchedTrial

FOLDER_VARIABLE = "PATHSYNTH_OUTCOMES"
SHARED_STAGES_VARIABLE = "PATHSYNTH_SHARED_STAGES"
"""Names the stages, separated by commas, that a trial's process builds for other trials, too; unset for a whole trial."""
_OUTCOMES, _PLACES, _PASS_OVER, _SEARCHES = "outcomes", "places.json", "pass-over-busy", "searches"
_ANNOUNCED, _SHARED = "announced.json", "shared-stages.json"


@dataclass(frozen=True)
class Outcome:
    """A job's trial (the trial's own folder has its state), or why there is none.

    ``folder`` is the trial's (None: refused, and ``refused`` says why); ``busy``: another process was carrying it out; ``own``:
    this command is or was carrying it out.
    """

    name: str
    folder: Path | None
    refused: str
    busy: bool = False
    own: bool = False


def number_jobs(places: Sequence[int]) -> int:
    """Give the next numbers, in their order, to the jobs at those places in the running command's sweep; the first such number."""
    root = Path(os.environ[FOLDER_VARIABLE])
    before = _places(root)
    root.mkdir(parents=True, exist_ok=True)
    write_json(root / _PLACES, [*before, *places])
    return len(before)


def place_of(number: int) -> int:
    """The place in the sweep of the job that a launcher calls ``number``: jobs that are settled before it starts have no number."""
    places = _places(Path(os.environ.get(FOLDER_VARIABLE, "")))
    return places[number] if number < len(places) else number


def _places(root: Path) -> list[int]:
    path = root / _PLACES
    return [int(place) for place in read_json(path)] if path.is_file() else []


def announce_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Leave a record of every job before any is carried out, in the order of the sweep; what a job writes itself takes its place.

    One file, for a thousand would each wait for the disk.
    """
    root = os.environ.get(FOLDER_VARIABLE)
    if root:
        Path(root).mkdir(parents=True, exist_ok=True)
        write_json(Path(root) / _ANNOUNCED, [_to_json(outcome) for outcome in outcomes])


def write_outcome(place: int, outcome: Outcome) -> None:
    """Leave a job's record where the command that started it looks; a job that no such command started leaves none."""
    root = os.environ.get(FOLDER_VARIABLE)
    if not root:
        return
    path = _path(Path(root), place)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, _to_json(outcome))


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
    """Whether the command tries busy trials again later."""
    root = os.environ.get(FOLDER_VARIABLE)
    return bool(root) and (Path(root or "") / _PASS_OVER).exists()


def write_searched(place: int, searched: SearchedTrial) -> None:
    """Leave with a job's place which trial of a search it carries out; on the disk, for a launcher's workers may be elsewhere."""
    path = Path(os.environ[FOLDER_VARIABLE]) / _SEARCHES / f"{place}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, searched.to_text())


def read_searched(place: int) -> str | None:
    """What :func:`write_searched` left, as it stands in a trial's environment; None for a job of no search."""
    path = Path(os.environ.get(FOLDER_VARIABLE, "")) / _SEARCHES / f"{place}.json"
    return path.read_text(encoding="utf-8") if path.is_file() else None


def write_shared_stages(stages: Mapping[int, Sequence[str]]) -> None:
    """Let the jobs at some places of the running command build those stages of their trials and no more; {}: all are whole trials again."""
    root = Path(os.environ[FOLDER_VARIABLE])
    root.mkdir(parents=True, exist_ok=True)
    write_json(root / _SHARED, {str(place): list(names) for place, names in stages.items()})


def read_shared_stages(place: int) -> tuple[str, ...]:
    """The stages that :func:`write_shared_stages` names for the job; empty where it carries out its whole trial."""
    path = Path(os.environ.get(FOLDER_VARIABLE, "")) / _SHARED
    return tuple(read_json(path).get(str(place), ())) if path.is_file() else ()


def read_outcomes(root: Path) -> list[Outcome]:
    """The records of a command's jobs, in the order of the sweep; of a trial that came up twice, the last."""
    by_place = dict(enumerate(_announced(root)))
    by_place |= {int(path.stem): _read(path) for path in (root / _OUTCOMES).glob("*.json") if path.stem.isdigit()}
    outcomes = [by_place[place] for place in sorted(by_place)]
    return list({outcome.folder or (outcome.name, outcome.refused): outcome for outcome in outcomes}.values())


class ChangedOutcomes:
    """The records of a command's jobs, read again and again: each time those alone that have changed, for a command may have thousands."""

    def __init__(self, root: Path) -> None:
        self._folder = root / _OUTCOMES
        self._read: dict[str, tuple[int, Outcome]] = {}

    def read(self) -> list[Outcome]:
        """All records, in no order."""
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                changed = entry.stat().st_mtime_ns
                if entry.name.endswith(".json") and self._read.get(entry.name, (0,))[0] != changed:
                    self._read[entry.name] = (changed, _read(Path(entry.path)))
        return [outcome for _, outcome in self._read.values()]


def read_outcome(place: int) -> Outcome | None:
    """The record of one job of the running command; None if it left none."""
    root = Path(os.environ.get(FOLDER_VARIABLE, ""))
    path = _path(root, place)
    if path.is_file():
        return _read(path)
    announced = _announced(root)
    return announced[place] if place < len(announced) else None


def has_claimed_trial() -> bool:
    """Whether the running command has begun to carry out a trial."""
    root = os.environ.get(FOLDER_VARIABLE)
    return bool(root) and any(outcome.own for outcome in read_outcomes(Path(root or "")))


def _path(root: Path, place: int) -> Path:
    return root / _OUTCOMES / f"{place}.json"


def _announced(root: Path) -> list[Outcome]:
    path = root / _ANNOUNCED
    return [_from_json(record) for record in read_json(path)] if path.is_file() else []


def _read(path: Path) -> Outcome:
    return _from_json(read_json(path))


def _to_json(outcome: Outcome) -> dict[str, Any]:
    return {**asdict(outcome), "folder": str(outcome.folder.absolute()) if outcome.folder else None}


def _from_json(record: Mapping[str, Any]) -> Outcome:
    return Outcome(**{**record, "folder": Path(record["folder"]) if record["folder"] else None})
