"""The images of a folder, decoded once: an array for each split, on the disk, which every process maps instead of decoding again."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from pathsynth.data.dataset import LabelledImages
from pathsynth.data.decode import Header, decode, middle_square
from pathsynth.data.images import ImageRows
from pathsynth.ledger.atomic import read_json
from pathsynth.ledger.errors import RequestError, StageError

_CHUNK_BYTES, _CHUNK_IMAGES = 32 * 2**20, 1024
"""Most of what is decoded between two marks: what a kill makes lost for each process, and what each holds in memory."""

_NO_HEADER = Header(0, 0, "", 8, 1, 1, ())

Count = Callable[[int, int], None]
"""Called with the images that are done, and all."""


@dataclass(frozen=True)
class Inspection:
    """What decoding found of one image.

    ``pixels``: size and checksum of what is seen, the same for equal images, and hardly ever for others; ``fault``: why the image cannot be
    read, else empty. ``brightest``: as :class:`pathsynth.data.decode.Decoded` has it.
    """

    header: Header = _NO_HEADER
    pixels: str = ""
    brightest: int | None = None
    fault: str = ""

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON; :meth:`from_json` reads it."""
        return {**vars(self), "header": vars(self.header)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Inspection:
        """The record that :meth:`to_json` wrote."""
        header = Header(**{**record["header"], "steps": tuple(record["header"]["steps"])})
        return cls(**{**record, "header": header})


def inspect_image(path: Path) -> Inspection:
    """Decode an image to see whether it can be, and what it is."""
    return _inspected(path, None)[0]


def pixel_digest(path: Path) -> str:
    """Size and hash of what is seen of an image that can be read; unlike a checksum, never the same for two that differ."""
    image = decode(path).image
    return f"{image.width}×{image.height} {hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest()}"


def _inspected(path: Path, size: int | None) -> tuple[Inspection, np.ndarray | None]:
    """What was found of an image, and its middle square, uint8 (size, size, 3), where one is wanted and it can be read."""
    try:
        decoded = decode(path)
    except RequestError as error:
        return Inspection(fault=str(error)), None
    image, pixels = decoded.image, np.asarray(decoded.image)
    content = f"{image.width}×{image.height} {zlib.crc32(np.ascontiguousarray(pixels).data):08x}"
    square = pixels if image.size == (size, size) else middle_square(image, size) if size else None
    return Inspection(decoded.header, content, decoded.brightest), square


def decode_images(
    files: Mapping[str, Sequence[Path]], size: int, folder: Path, work: Path, workers: int, count: Count = lambda done, total: None
) -> dict[str, list[Inspection]]:
    """Write ``<split>.npy``, uint8 (N, size, size, 3), to ``folder``: the middle squares of images that memory need not hold.

    The arrays are filled in ``work``, chunk by chunk, by as many processes as ``workers`` says. A chunk that is there is marked with the
    checksum of its bytes: what continues from a killed attempt decodes no marked chunk again, and takes no half-written one for whole.

    Returns:
        What was found of each image, by split. The rows of images that cannot be read are black.

    Raises:
        RequestError: the disk has no room for the arrays.
        StageError: a process that decodes was killed.
    """
    work.mkdir(parents=True, exist_ok=True)
    _require_room(work, sum(map(len, files.values())) * size * size * 3)
    chunks = [chunk for split, paths in files.items() for chunk in _chunks(split, paths, size, work)]
    total, done = sum(len(chunk.paths) for chunk in chunks), 0
    count(done, total)
    for chunk in _finished(chunks, workers):
        done += len(chunk.paths)
        count(done, total)
    inspections: dict[str, list[Inspection]] = {split: [] for split in files}
    for chunk in chunks:
        inspections[chunk.split] += [Inspection.from_json(record) for record in read_json(chunk.mark)["images"]]
    for split in files:
        _place(work / f"{split}.npy", folder / f"{split}.npy")
    return inspections


def write_labels(folder: Path, split: str, labels: np.ndarray, groups: np.ndarray | None) -> None:
    """Write what else is known of a split's images beside their array: int64 (N,) each."""
    np.save(folder / f"{split}_labels.npy", labels)
    if groups is not None:
        np.save(folder / f"{split}_groups.npy", groups)


def read_split(folder: Path, split: str) -> LabelledImages:
    """A split that :func:`decode_images` and :func:`write_labels` have written. Images are read as they are indexed.

    Raises:
        StageError: a file is missing or damaged.
    """
    groups = folder / f"{split}_groups.npy"
    try:
        stack = np.load(folder / f"{split}.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / f"{split}_labels.npy", allow_pickle=False)
        return LabelledImages(ImageRows(stack), labels, np.load(groups, allow_pickle=False) if groups.is_file() else None)
    except (OSError, ValueError, EOFError) as error:
        raise StageError(f"the decoded images in {folder} cannot be read ({error}); delete that folder, and run again") from error


@dataclass(frozen=True)
class _Chunk:
    """Images that follow one another in the array of a split, from byte ``start`` of its file on.

    ``mark``: the file that says that they are there.
    """

    split: str
    array: Path
    start: int
    size: int
    paths: tuple[Path, ...]
    mark: Path

    @property
    def bytes(self) -> int:
        return len(self.paths) * self.size * self.size * 3


def _chunks(split: str, paths: Sequence[Path], size: int, work: Path) -> Iterator[_Chunk]:
    """The chunks of a split, whose array is there, empty or partly filled, when the first is returned."""
    array, shape, row = work / f"{split}.npy", (len(paths), size, size, 3), size * size * 3
    if not _fits(array, shape):
        array.unlink(missing_ok=True)
        npy.open_memmap(array, mode="w+", dtype=np.uint8, shape=shape)
    values = array.stat().st_size - len(paths) * row
    step = max(1, min(_CHUNK_IMAGES, _CHUNK_BYTES // row))
    for first in range(0, len(paths), step):
        yield _Chunk(split, array, values + first * row, size, tuple(paths[first : first + step]), work / f"{split}-{first}.json")


def _fits(array: Path, shape: tuple[int, ...]) -> bool:
    try:
        stored = np.load(array, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False
    return stored.shape == shape and stored.dtype == np.uint8


def _finished(chunks: Sequence[_Chunk], workers: int) -> Iterator[_Chunk]:
    """The chunks as they are done; a single one is decoded by this process.

    Processes, not threads: much of what small images take is Python's own work. They are started afresh, for a process that has loaded
    torch cannot be forked safely.
    """
    if min(workers, len(chunks)) < 2:
        for chunk in chunks:
            _fill(chunk)
            yield chunk
        return
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(min(workers, len(chunks)), context, initializer=_begin_worker, initargs=(theirs,))
    try:
        waiting: dict[Future[None], _Chunk] = {pool.submit(_fill, chunk): chunk for chunk in chunks}
        for future in as_completed(waiting):
            future.result()
            yield waiting.pop(future)
    except BrokenProcessPool as error:
        raise StageError("a process that decodes images was killed (out of memory?); run again: it continues where it was") from error
    except BaseException:
        ours.close()  # a chunk can take minutes, and who stops does not wait for one
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        ours.close()
        theirs.close()


def _begin_worker(other_end: Connection) -> None:
    """Leave Ctrl-C to the process that started this one, and end when that stops or is gone: its end alone wakes nobody at work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        other_end.poll(None)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _fill(chunk: _Chunk) -> None:
    """Decode a chunk into its place, unless it is there."""
    if _is_whole(chunk):
        return
    squares = np.zeros((len(chunk.paths), chunk.size, chunk.size, 3), np.uint8)
    results = []
    for row, path in zip(squares, chunk.paths, strict=True):
        inspection, square = _inspected(path, chunk.size)
        if square is not None:
            row[...] = square
        results.append(inspection.to_json())
    with chunk.array.open("r+b") as file:
        file.seek(chunk.start)
        file.write(squares.data)
    chunk.mark.write_text(json.dumps({"checksum": zlib.crc32(squares.data), "images": results}), encoding="utf-8")


def _is_whole(chunk: _Chunk) -> bool:
    """Whether mark and bytes are there, whole, and belong together: nothing has waited for either to reach the disk."""
    try:
        record = read_json(chunk.mark)
        with chunk.array.open("rb") as file:
            file.seek(chunk.start)
            there = file.read(chunk.bytes)
        return record["checksum"] == zlib.crc32(there) and len(record["images"]) == len(chunk.paths)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _require_room(folder: Path, needed: int) -> None:
    there = sum(path.stat().st_blocks * 512 for path in folder.glob("*.npy"))
    free = shutil.disk_usage(folder).free
    if needed - there > free:
        raise RequestError(
            f"the decoded images take {needed / 1e9:.1f} GB, and {folder.parent} has {free / 1e9:.1f} GB free; make room there, "
            "set multirun=… to another disk, or lower data.size"
        )


def _place(array: Path, target: Path) -> None:
    """Give the array its place and keep it in the work folder, too: only a finished stage can do without that."""
    try:
        os.link(array, target)
    except OSError:  # a file system without hard links
        os.replace(array, target)
