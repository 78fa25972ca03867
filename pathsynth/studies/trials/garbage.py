"""What in the store of stages is of no use any more, and its removal. A stage is kept as long as a trial's manifest names it."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pathsynth.ledger.atomic import read_json
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.lease import Lease, acquire, is_held
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.studies.trials.trial_table import MANIFEST

_FOLDER = re.compile(r"(?P<identity>[0-9a-f]{12})(?P<kind>|(\.\w+)?\.partial|\.work)")

Stage = tuple[str, str]
"""A stage's name and identity."""


@dataclass(frozen=True)
class Garbage:
    """A folder of the store that can go, why, and the bytes of its files."""

    path: Path
    stage: Stage
    why: str
    size: int


def find_garbage(multirun: Path) -> list[Garbage]:
    """Stages that no trial of any study needs, and what killed builds and finished trainings left; not what is in use.

    Raises:
        RequestError: there is no store, or a manifest cannot be read, so that it is unknown what its trial needs.
    """
    root = multirun / STAGES
    if not root.is_dir():
        raise RequestError(f"no stages in {multirun}; name the folder of all studies (multirun=… of `pathsynth run`)")
    needed = needed_stages(multirun)
    store = StageStore(root)
    items = (_garbage(path, store, needed) for path in sorted(root.glob("*/*")) if path.is_dir() and not path.is_symlink())
    return [garbage for garbage in items if garbage and not _in_use(garbage)]


def needed_stages(multirun: Path) -> set[Stage]:
    """The stages that the manifests of all trials name, finished or not.

    Raises:
        RequestError: a folder or a manifest cannot be read.
    """
    needed: set[Stage] = set()
    for path in _manifests(multirun):
        try:
            stages = read_json(path)["plan"]["stages"]
            needed |= {(stage["name"], stage["identity"]) for stage in stages}
        except (OSError, ValueError, KeyError, TypeError) as error:
            remedy = "repair it, or delete its trial's folder, before anything is removed"
            raise RequestError(f"{path} cannot be read ({error}), so its stages are not known; {remedy}") from error
    return needed


def _manifests(multirun: Path) -> Iterator[Path]:
    """Folders are listed one by one: a pattern would pass over what it may not read."""
    try:
        studies = _folders(multirun)
        for folder in (*studies, *(trial for study in studies for trial in _folders(study))):
            if (folder / MANIFEST).exists():
                yield folder / MANIFEST
    except OSError as error:
        raise RequestError(f"{error.filename} cannot be read ({error.strerror}), so what its trials need is unknown") from error


def _folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _garbage(path: Path, store: StageStore, needed: set[Stage]) -> Garbage | None:
    name = _FOLDER.fullmatch(path.name)
    if not name:
        return None
    stage = (path.parent.name, name["identity"])
    why = _why(name["kind"], stage in needed, store.find(*stage) is not None)
    return Garbage(path, stage, why, sum(size for _, size in _files(path))) if why else None


def _why(kind: str, needed: bool, finished: bool) -> str:
    """Why a folder can go; empty if it is to stay."""
    if kind.endswith(".partial"):
        return "left by a killed build"
    if kind == ".work" and finished:
        return "checkpoints of a finished stage"
    return "" if needed else "no trial needs it"


def _files(folder: Path) -> Iterator[tuple[os.stat_result, int]]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            yield status, status.st_size


def freed(garbage: Iterable[Garbage]) -> int:
    """Bytes that the disk gets back: a file that a trial's folder shows too (a hard link) stays on it."""
    files = [status for item in garbage for status, _ in _files(item.path)]
    names = Counter((status.st_dev, status.st_ino) for status in files)
    sizes = {(status.st_dev, status.st_ino): status.st_size for status in files if names[status.st_dev, status.st_ino] >= status.st_nlink}
    return sum(sizes.values())


@dataclass(frozen=True)
class Left:
    """A folder that was not removed, and why; ``failed`` if it should have been."""

    path: Path
    why: str
    failed: bool = False


def remove(garbage: Sequence[Garbage], multirun: Path) -> list[Left]:
    """Remove what is still garbage, and tell what was left.

    Raises:
        RequestError: as :func:`needed_stages`; from there on nothing was removed.
    """
    return [left for item in garbage if (left := _removed(item, multirun))]


def _removed(item: Garbage, multirun: Path) -> Left | None:
    """Remove a folder. A stage is no stage any more before its first file goes, so that no process finds half of one."""
    with _alone(item) as lease:
        if lease is None:
            return Left(item.path, "is in use")
        # a trial may have begun since it was listed; its manifest was there before it looked for stages
        if not item.path.is_dir() or not _garbage(item.path, StageStore(multirun / STAGES), needed_stages(multirun)):
            return Left(item.path, "is needed now, or is gone")
        going = item.path if item.path.suffix == ".partial" else item.path.with_name(f"{item.stage[1]}.gone.partial")
        try:
            if not lease.current:
                return Left(item.path, "is in use")
            if going != item.path:
                shutil.rmtree(going, ignore_errors=True)
                os.replace(item.path, going)
            shutil.rmtree(going)
        except OSError as error:
            return Left(item.path, f"cannot be removed ({error.strerror})", failed=True)
    return None


def _in_use(item: Garbage) -> bool:
    return is_held(_lease(item))


@contextmanager
def _alone(item: Garbage) -> Iterator[Lease | None]:
    """Hold the stage's lease, if no other process does: the one that builds it has it.

    The lease's folder stays when its stage goes: its numbers must not start again as long as an earlier holder may wake up.
    """
    lease = acquire(_lease(item), wait=False)
    if lease is None:
        yield None
        return
    with lease.beat():
        yield lease


def _lease(item: Garbage) -> Path:
    return StageStore(item.path.parent.parent).lease(*item.stage)
