"""Arrays of .npz archives: small ones are read, large ones mapped into memory, so that only the pages in use take any."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import zipfile
import zlib
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.local_cache import VARIABLE, cache_folder

IN_MEMORY = 64 * 2**20
"""Bytes up to which an array is read into memory."""

_LOCAL_HEADER, _NAME_LENGTH = 30, 26
"""Length of a member's own header in a zip file without its name, and where the lengths of name and extra field stand in it."""
_CHUNK = 2**20
_ABANDONED_SECONDS = 3600
_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError)


class ArrayHeader(NamedTuple):
    """Shape and type of an array, and whether its first index runs fastest."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype

    @property
    def bytes(self) -> int:
        """Bytes that the array takes in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def array_header(path: Path, key: str) -> ArrayHeader:
    """The header of an array, without its values.

    Raises:
        RequestError: the archive has no such array, or is truncated or none.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as member:
            return _read_header(member)
    except KeyError as error:
        raise RequestError(f"{path} has no array '{key}'; use a file in MedMNIST layout") from error
    except (*_FAULTS, OSError) as error:
        raise _unreadable(path, error) from error


def read_array(path: Path, key: str) -> np.ndarray:
    """A whole array, in memory.

    Raises:
        RequestError: the archive is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return archive[key]
    except (*_FAULTS, OSError) as error:
        raise _unreadable(path, error) from error


def open_array(path: Path, key: str, checksum: str) -> np.ndarray:
    """An array, read-only: in memory up to :data:`IN_MEMORY` bytes, else mapped.

    A member that is stored as it is, is mapped in its place in the archive. A compressed one is decoded once, into a .npy file in the
    cache folder that all processes share; it is named for ``checksum``, the archive's, and appears there whole or not at all.

    Raises:
        RequestError: the archive is damaged, or the cache folder cannot be written or has no room.
    """
    header = array_header(path, key)
    if header.bytes <= IN_MEMORY:
        array = read_array(path, key)
        array.flags.writeable = False
        return array
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(f"{key}.npy")
            if member.compress_type == zipfile.ZIP_STORED:
                return _mapped(path, _start(path, member), member.file_size)
            decoded = cache_folder() / "arrays" / f"{path.stem}-{checksum[:16]}-{key}.npy"
            if not decoded.is_file() or decoded.stat().st_size != member.file_size:
                _decode(archive, member, decoded)
        return _mapped(decoded, 0, member.file_size)
    except (*_FAULTS, OSError) as error:
        raise _unreadable(path, error) from error


def _read_header(file: IO[bytes]) -> ArrayHeader:
    version = npy.read_magic(file)
    return ArrayHeader(*(npy.read_array_header_1_0(file) if version == (1, 0) else npy.read_array_header_2_0(file)))


def _start(path: Path, member: zipfile.ZipInfo) -> int:
    """Where the bytes of a member begin (PKWARE APPNOTE 4.3.7); its own header may be longer than the archive's directory says."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        header = file.read(_LOCAL_HEADER)
    if len(header) < _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"no member at byte {member.header_offset}")
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (_NAME_LENGTH, _NAME_LENGTH + 2))
    return member.header_offset + _LOCAL_HEADER + name + extra


def _mapped(path: Path, start: int, length: int) -> np.ndarray:
    """The array whose .npy takes ``length`` bytes of a file from ``start`` on."""
    with path.open("rb") as file:
        file.seek(start)
        shape, fortran, dtype = header = _read_header(file)
        values = file.tell()
    if values + header.bytes != start + length:
        raise ValueError(f"{length:,} bytes do not hold an array {dtype} {shape}")
    return np.memmap(path, dtype, "r", values, shape, "F" if fortran else "C")


def _decode(archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: Path) -> None:
    """Write a member to a file of its own, in pieces; the archive's checksum of it is verified on the way."""
    print(f"decoding {member.filename} ({member.file_size / 1e9:.1f} GB) once, to {place}", flush=True)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(place)
        free = shutil.disk_usage(place.parent).free
        if free < member.file_size:
            raise RequestError(
                f"{place.parent} has {free / 1e9:.1f} GB free, and {member.filename} takes {member.file_size / 1e9:.1f}; "
                f"make room there, or set {VARIABLE} to another folder"
            )
        descriptor, partial = tempfile.mkstemp(prefix=f".{place.name}.", suffix=".partial", dir=place.parent)
    except OSError as error:
        raise RequestError(f"{place.parent} cannot be written ({error}); set {VARIABLE} to a folder that can") from error
    try:
        with os.fdopen(descriptor, "wb") as target, archive.open(member) as source:
            shutil.copyfileobj(source, target, _CHUNK)
            target.flush()
            os.fsync(target.fileno())
        os.chmod(partial, 0o444)
        os.replace(partial, place)
    finally:
        Path(partial).unlink(missing_ok=True)


def _clear_abandoned(place: Path) -> None:
    """Remove what a process that was killed left of the same array."""
    for partial in place.parent.glob(f".{place.name}.*.partial"):
        try:
            if time.time() - partial.stat().st_mtime > _ABANDONED_SECONDS:
                partial.unlink()
        except FileNotFoundError:  # another process was quicker
            pass


def _unreadable(path: Path, error: Exception) -> RequestError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return RequestError(f"{path} is truncated or no .npz archive ({reason}); fetch it again")
