"""Safetensors files that are written piece by piece are those that the library reads, and are mapped with the same values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pathsynth.data.tensor_file import TensorFile, TensorShape, map_tensor

RNG = np.random.default_rng(0)
TENSORS = {
    "half": RNG.normal(size=(5, 2, 3)).astype(np.float16),
    "labels": RNG.integers(9, size=7),
    "single": RNG.normal(size=(3, 1)).astype(np.float32),
    "none": np.empty((0, 4), np.float32),
}
SHAPES = {name: TensorShape(array.dtype.name, array.shape) for name, array in TENSORS.items()}


def test_the_library_reads_what_was_written_in_any_order(tmp_path):
    with TensorFile(tmp_path / "own", SHAPES, {"data": "ä"}) as file:
        for name, array in TENSORS.items():
            if len(array):
                file.write(name, array[2:], 2)
            file.write(name, array[:2])
    read = load_file(tmp_path / "own")
    assert read.keys() == TENSORS.keys()
    assert all(np.array_equal(read[name].numpy(), array) for name, array in TENSORS.items())
    with safe_open(tmp_path / "own", framework="np") as file:
        assert file.metadata() == {"data": "ä"}
    assert np.array_equal(map_tensor(tmp_path / "own", "half"), TENSORS["half"])


def test_what_the_library_writes_is_mapped_and_stays_as_it_is(tmp_path):
    save_file({name: torch.from_numpy(array) for name, array in TENSORS.items()}, tmp_path / "theirs", {"a": "b"})
    for name in ("half", "labels", "single"):
        mapped = map_tensor(tmp_path / "theirs", name)
        assert np.array_equal(mapped, TENSORS[name]) and mapped.dtype == TENSORS[name].dtype
        mapped[...] = 0
        assert np.array_equal(map_tensor(tmp_path / "theirs", name), TENSORS[name])


@pytest.mark.parametrize(
    "rows, first", [(np.zeros((2, 2, 3), np.float32), 0), (np.zeros((2, 3), np.float16), 0), (np.zeros((2, 2, 3), np.float16), 4)]
)
def test_rows_that_do_not_fit_are_refused(tmp_path, rows, first):
    with TensorFile(tmp_path / "own", SHAPES, {}) as file, pytest.raises(ValueError, match="do not fit half"):
        file.write("half", rows, first)
