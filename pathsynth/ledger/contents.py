"""What a finished stage holds: its files on the disk, read-only, with size, time of change and hash; and whether that is still so."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pathsynth.ledger.atomic import read_json, sync
from pathsynth.ledger.local_cache import file_digest

RECORD = "stage.json"
_READ_ONLY = 0o444


def seal(folder: Path) -> dict[str, str]:
    """Make the files below ``folder`` read-only and have them and their folders on the disk.

    Returns:
        For each file, by its path in the folder, "<SHA-256> <bytes> <nanoseconds of the last change>".
    """
    digests: dict[str, str] = {}
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder comes before it
        if path.is_symlink():
            continue
        if path.is_file():
            make_read_only(path)
            status = path.stat()
            digests[path.relative_to(folder).as_posix()] = f"{file_digest(path)} {status.st_size} {status.st_mtime_ns}"
        sync(path)
    return dict(sorted(digests.items()))


def make_read_only(path: Path) -> None:
    """Keep a file from being changed by accident."""
    with suppress(PermissionError):  # a file system without permissions
        path.chmod(_READ_ONLY)


def damage(folder: Path) -> str:
    """What is wrong with a finished stage, in a few words; empty if nothing is.

    A file whose size and time of change are as they were counts as unchanged; of another time its content is read.
    """
    try:
        record = read_json(folder / RECORD)
        files = record.get("files", {})  # a stage of before contents were noted has none
        return next((f"{name} {why}" for name, line in files.items() if (why := _change(folder / name, line))), "")
    except FileNotFoundError:
        return "it is not finished"
    except (ValueError, AttributeError):
        return f"{RECORD} is damaged"


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of a finished stage when it was finished, by their paths in it; empty where its record does not tell."""
    try:
        return {name: line.split()[0] for name, line in read_json(folder / RECORD)["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return {}


def _change(path: Path, line: str) -> str:
    digest, size, changed = line.split()
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return "is missing"
    if status.st_size == int(size) and (status.st_mtime_ns == int(changed) or file_digest(path) == digest):
        return ""
    return "was changed"
