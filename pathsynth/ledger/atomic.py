"""Files that are whole or absent: written beside their place, synced, and moved into it in one step."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

_FICLONE = 0x40049409
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``; a reader sees the old file or the new one, never a part.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(path)  # a write to a full disk does not say where
        raise


def copy_file(source: str | Path, target: str | Path) -> None:
    """Copy a file's content; the two share their blocks, until one is changed, where the file system can do so (FICLONE)."""
    with open(source, "rb") as old, open(target, "wb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            shutil.copyfileobj(old, new, 1 << 20)


def sync(path: str | Path) -> None:
    """Have a file's content, or a folder's list of names, on the disk before anything that follows."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:  # some network file systems know no syncing of folders
            raise
    finally:
        os.close(descriptor)


def sync_names(folder: Path) -> None:
    """Have the names on the disk by which a folder is reached: :func:`sync` all folders above it that lie on its disk.

    A folder that was made, and even synced, is lost in a power cut whose parent was not. One that may not be read is passed over: it
    was there before.
    """
    for child, parent in pairwise((folder.absolute(), *folder.absolute().parents)):
        if os.path.ismount(child):
            return
        with suppress(PermissionError):
            sync(parent)


def sync_tree(path: Path) -> None:
    """:func:`sync` a file, or a folder with all that is in it."""
    if path.is_dir():
        for child in path.iterdir():
            if not child.is_symlink():
                sync_tree(child)
    sync(path)


def write_text(path: Path, content: str) -> None:
    """As :func:`write_bytes`, for text in UTF-8."""
    write_bytes(path, content.encode())


def write_json(path: Path, value: Any) -> None:
    """As :func:`write_bytes`, for what JSON can hold; numbers that are not finite are refused with ValueError."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """What stands in a JSON file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no JSON, numbers that are not finite, or lists nested too deep.
    """
    try:
        return json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
