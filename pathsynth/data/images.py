"""Images as rows that are read when they are indexed, wherever they lie."""

from __future__ import annotations

import mmap
from typing import Any, Protocol

import numpy as np

_RESIDENT_BYTES = 256 * 2**20
"""Of a mapped file that a process holds, about, before it gives them back: what is mapped counts as its memory until then."""
_FAULT_BYTES = 64 * 2**10
"""What Linux maps around each byte that is read."""


class Images(Protocol):
    """What an array uint8 (N, H, W, 3) and :class:`ImageRows` have in common: indexing the first axis gives arrays in memory."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    @property
    def ndim(self) -> int: ...

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
        self._resident = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._rows), *self._stack.shape[1:3], 3)

    @property
    def dtype(self) -> np.dtype:
        return self._stack.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        """uint8 (K, H, W, 3) for a slice or an integer or boolean array; (H, W, 3) for a number."""
        found = np.asarray(np.take(self._stack, self._rows[index], axis=0))
        self._resident += found.nbytes + found.size // max(1, int(np.prod(self._stack.shape[1:]))) * _FAULT_BYTES
        if self._resident > _RESIDENT_BYTES:
            release(self._stack)
            self._resident = 0
        return found if self._stack.ndim == 4 else np.repeat(found[..., None], 3, axis=-1)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    def take(self, rows: np.ndarray) -> ImageRows:
        """The chosen rows, still unread."""
        return ImageRows(self._stack, self._rows[rows])


def release(stack: np.ndarray) -> None:
    """Give back the memory of what was read of a mapped array; the system keeps it as long as nobody else needs the room.

    A process that reads a large file from end to end would else hold all of it, and be killed where its memory is limited.
    """
    mapped = stack.base
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
