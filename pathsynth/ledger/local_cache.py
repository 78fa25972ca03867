"""What a user's processes share because it costs minutes to make and can be made again: a folder, and checksums of large files in it."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import time
from pathlib import Path

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
    return _checksum(path.absolute(), algorithm, _stamp(path))


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
    if _stamp(path) == stamp and time.time() - changed_ns / 1e9 > _SETTLED_SECONDS:
        _note(note, path, stamp, checksum)
    return checksum


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file, read now."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


def _noted(note: Path, stamp: tuple[int, int, int]) -> str | None:
    try:
        record = json.loads(note.read_text(encoding="utf-8"))
        return str(record["digest"]) if tuple(record["stamp"]) == stamp else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _note(note: Path, path: Path, stamp: tuple[int, int, int], digest: str) -> None:
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        write_json(note, {"path": str(path), "stamp": stamp, "digest": digest})
    except OSError:  # a folder that cannot be written costs time, not the result
        pass
