"""Images as rows that are read when they are indexed, wherever they lie."""

from __future__ import annotations

import mmap
from typing import Any, Protocol

import numpy as np

_RESIDENT_BYTES = 256 * 2**20
"""Of a mapped file that a process holds, about, before it gives them back: what is mapped counts as its memory until then."""
_FAULT_BYTES = 2 * 2**20
"""The most that Linux maps around a byte that is read: a whole folio of its cache, as large as a huge page."""


class Images(Protocol):
    """What an array uint8 (N, H, W, 3) and :class:`ImageRows` have in common: indexing the first axis gives arrays in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, 3)."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Always uint8."""
        ...

    @property
    def ndim(self) -> int:
        """Always 4."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...

    def __array__(self) -> np.ndarray: ...


class ImageRows:
    """Chosen rows of a stack of images, which may be mapped from a file. Nothing is read before it is indexed.

    Args:
        stack: uint8 (N, H, W, 3), or (N, H, W) for grey images, which are given three equal channels as they are read.
        rows: int64 (M,) in the order wanted; None: all.
    """

    def __init__(self, stack: np.ndarray, rows: np.ndarray | None = None) -> None:
        self._stack, self._rows = stack, np.arange(len(stack)) if rows is None else rows
        self._pages = MappedPages(stack)

    @property
    def shape(self) -> tuple[int, ...]:
        """(M, H, W, 3), for a stack of any number of channels."""
        return (len(self._rows), *self._stack.shape[1:3], 3)

    @property
    def dtype(self) -> np.dtype:
        """That of the stack, uint8."""
        return self._stack.dtype

    @property
    def ndim(self) -> int:
        """Always 4, for grey images too."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        """uint8 (K, H, W, 3) for a slice or an integer or boolean array; (H, W, 3) for a number."""
        pixels = np.asarray(np.take(self._stack, self._rows[index], axis=0))
        self._pages.count(pixels.size // max(1, int(np.prod(self._stack.shape[1:]))))
        return pixels if self._stack.ndim == 4 else np.repeat(pixels[..., None], 3, axis=-1)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    def take(self, rows: np.ndarray) -> ImageRows:
        """The chosen rows, still unread."""
        return ImageRows(self._stack, self._rows[rows])


class MappedPages:
    """Gives back, now and then, the memory of what was read of a mapped array; the system keeps it while no process needs the room.

    A process that reads a large file from end to end would else hold all of it, and be killed where its memory is limited. Of an
    array in memory nothing is given back.
    """

    def __init__(self, array: np.ndarray) -> None:
        self._mapped = array.base if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") else None
        self._row_bytes = array[:1].nbytes + _FAULT_BYTES
        self._resident = 0

    def count(self, rows: int) -> None:
        """Note that rows (of the first axis) were read and copied."""
        self._resident += rows * self._row_bytes
        if self._mapped is not None and self._resident > _RESIDENT_BYTES:
            self._mapped.madvise(mmap.MADV_DONTNEED)
            self._resident = 0
