"""Safetensors files that need not fit into memory: written piece by piece, and mapped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np

_CODES = {"float16": "F16", "float32": "F32", "int64": "I64"}
_LENGTH_BYTES = 8
"""Of the number that a file begins with: the length of its header, which is JSON; the tensors' bytes follow."""


class TensorShape(NamedTuple):
    """A tensor's type, as NumPy calls it, and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Bytes that the tensor takes in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


class TensorFile:
    """A safetensors file with room for tensors of known shapes, whose rows are written in any order.

    Args:
        path: the file; what is there is replaced.
        shapes: of each tensor, by name.
        metadata: words about the file, by name.
    """

    def __init__(self, path: Path, shapes: Mapping[str, TensorShape], metadata: Mapping[str, str]) -> None:
        self._shapes, self._starts, end = dict(shapes), {}, 0
        header: dict[str, object] = {"__metadata__": dict(metadata)}
        for name in sorted(shapes, key=lambda name: (-np.dtype(shapes[name].dtype).itemsize, name)):  # so that all are aligned
            dtype, shape = shapes[name]
            self._starts[name], end = end, end + shapes[name].bytes
            header[name] = {"dtype": _CODES[dtype], "shape": list(shape), "data_offsets": [self._starts[name], end]}
        words = json.dumps(header, ensure_ascii=True).encode()
        words += b" " * (-len(words) % _LENGTH_BYTES)
        self._values = _LENGTH_BYTES + len(words)
        self._file = path.open("wb")
        self._file.write(len(words).to_bytes(_LENGTH_BYTES, "little") + words)
        self._file.truncate(self._values + end)

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def write(self, name: str, rows: np.ndarray, first: int = 0) -> None:
        """Write rows of a tensor, from the ``first`` on.

        Raises:
            ValueError: they do not fit.
        """
        dtype, shape = self._shapes[name]
        if rows.dtype != dtype or rows.shape[1:] != shape[1:] or first + len(rows) > shape[0]:
            raise ValueError(f"rows {first} to {first + len(rows)} of {rows.dtype} {rows.shape} do not fit {name}, {dtype} {shape}")
        row_bytes = self._shapes[name].bytes // max(1, shape[0])
        self._file.seek(self._values + self._starts[name] + first * row_bytes)
        self._file.write(np.ascontiguousarray(rows).data)


def map_tensor(path: Path, name: str) -> np.memmap:
    """A tensor of a safetensors file, mapped; what is written to it stays in memory.

    Raises:
        OSError, ValueError, KeyError: the file or its header is damaged, or there is no such tensor.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        header = json.loads(file.read(length))[name]
    dtype = next(dtype for dtype, code in _CODES.items() if code == header["dtype"])
    return np.memmap(path, dtype, "c", _LENGTH_BYTES + length + header["data_offsets"][0], tuple(header["shape"]))
