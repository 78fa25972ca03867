"""What a user's processes share because it costs time to make and can be made again: checksums, what was read of many files, texts."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pathsynth
from pathsynth.ledger.atomic import write_json

VARIABLE = "PATHSYNTH_CACHE"

_LARGE = 64 * 2**20
"""Bytes from which on a checksum is remembered; smaller files are read in a moment."""
_SETTLED_SECONDS = 2
"""A file that changed just now may change again within the same tick of the clock."""


def cache_folder() -> Path:
    """The folder that ``PATHSYNTH_CACHE`` names, else ``pathsynth`` in the user's cache folder. It need not be there."""
    named = os.environ.get(VARIABLE)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named).expanduser() if named else Path(caches, "pathsynth")


def checksum(path: Path, algorithm: str) -> str:
    """Hex digest of a file, read once for as long as its length, time of change and inode stay the same.

    Remembered by this process, and of a large file in the cache folder, too, where that can be written.

    Raises:
        OSError: the file cannot be read.
    """
    return _checksum(path.absolute(), algorithm, file_stamp(path))


@functools.lru_cache(maxsize=64)
def _checksum(path: Path, algorithm: str, stamp: tuple[int, int, int]) -> str:
    size, changed_ns, _ = stamp
    if size < _LARGE:
        return file_digest(path, algorithm)
    note = cache_folder() / "checksums" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}-{algorithm}.json"
    known = _noted(note, stamp)
    if known:
        return known
    checksum = file_digest(path, algorithm)
    if file_stamp(path) == stamp and _is_settled(changed_ns):
        _note(note, path, stamp, checksum)
    return checksum


def file_stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file is written or replaced: its length, time of change and inode."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file, read now."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


def _noted(note: Path, stamp: tuple[int, int, int]) -> str | None:
    record = _read_object(note)
    return str(record["digest"]) if record.get("stamp") == list(stamp) and "digest" in record else None


def _note(note: Path, path: Path, stamp: tuple[int, int, int], digest: str) -> None:
    _write_object(note, {"path": str(path), "stamp": stamp, "digest": digest})


class FileNotes:
    """What was read of many files, under a name: a note holds as long as its file's length, time of change and inode stay the same.

    ``root``: the folder that the files are in; it distinguishes the notes of one folder from those of another.
    """

    def __init__(self, name: str, root: Path) -> None:
        self._place = cache_folder() / name / f"{_short_digest([pathsynth.__version__, str(root.absolute())])}.json"
        self._noted: dict[str, Any] = _read_object(self._place)
        self._new = False

    def value(self, path: Path, read: Callable[[], Any]) -> Any:
        """What ``read`` returned of the file, as JSON holds it; it is called where that is not known.

        Raises:
            OSError: there is no such file. What ``read`` raises goes on, and is not noted.
        """
        stamp = list(file_stamp(path))
        known = self._noted.get(str(path.absolute()))
        if isinstance(known, dict) and known.get("stamp") == stamp and "value" in known:
            return known["value"]
        value = read()
        if list(file_stamp(path)) == stamp and _is_settled(stamp[1]):
            self._noted[str(path.absolute())], self._new = {"stamp": stamp, "value": value}, True
        return value

    def save(self) -> None:
        """Keep what is new for other processes; of files that are gone nothing is kept."""
        if self._new:
            _write_object(self._place, {path: note for path, note in self._noted.items() if os.path.exists(path)})


def remembered_text(name: str, root: Path, key: Any, make: Callable[[], str]) -> str:
    """The text that ``make`` returns, made anew only where ``key`` (what it depends on, as JSON holds it) is not what it was."""
    place = cache_folder() / name / f"{_short_digest(str(root.absolute()))}.json"
    of_now, known = _short_digest([program_stamps(), key]), _read_object(place)
    if known.get("key") == of_now and isinstance(known.get("text"), str):
        return str(known["text"])
    text = make()
    _write_object(place, {"key": of_now, "text": text})
    return text


def program_stamps() -> list[Any]:
    """The program's version, and name, length and time of change of each of its files."""
    files = sorted(Path(pathsynth.__file__).parent.rglob("*.py"))
    return [pathsynth.__version__, [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]]


def _short_digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _is_settled(changed_ns: int) -> bool:
    return time.time() - changed_ns / 1e9 > _SETTLED_SECONDS


def _read_object(place: Path) -> dict[str, Any]:
    try:
        record = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _write_object(place: Path, record: dict[str, Any]) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_json(place, record)
    except OSError:  # a folder that cannot be written costs time, not the result
        pass
