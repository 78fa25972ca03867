"""Rows are read as they are indexed, and are those that the whole stack has there."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pathsynth.data.dataset import LabelledImages
from pathsynth.data.images import ImageRows

STACK = np.random.default_rng(0).integers(256, size=(12, 4, 4, 3), dtype=np.uint8)
ROWS = np.array([7, 2, 2, 11, 0])


@pytest.mark.parametrize("index", [3, -1, slice(1, 4), slice(None, None, 2), np.array([4, 0]), np.arange(5) % 2 == 0], ids=str)
def test_any_index_gives_what_the_chosen_rows_have_there(index):
    found = ImageRows(STACK, ROWS)[index]
    assert np.array_equal(found, STACK[ROWS][index])
    found[...] = 0
    assert STACK.any(axis=(1, 2, 3)).all(), "what was read is a copy"


def test_grey_images_get_three_equal_channels():
    grey = ImageRows(STACK[..., 0], ROWS)
    assert (grey.shape, grey.ndim, len(grey)) == ((5, 4, 4, 3), 4, 5)
    assert np.array_equal(grey[1:3], np.repeat(STACK[[2, 2], ..., :1], 3, axis=-1))
    assert grey[0].shape == (4, 4, 3)


def test_a_choice_of_a_choice_reads_nothing():
    class Unread(np.ndarray):
        def take(self, *words, **named):
            raise AssertionError("read")

    labels = np.arange(12)
    some = LabelledImages(ImageRows(STACK.view(Unread)), labels).take(labels % 2 == 0).take(np.array([5, 0]))
    assert some.labels.tolist() == [10, 0] and some.images.shape == (2, 4, 4, 3)
    with pytest.raises(AssertionError, match="read"):
        some.images[0]


def test_they_stand_for_an_array_where_one_is_needed():
    assert np.array_equal(np.concatenate([ImageRows(STACK, ROWS), STACK]), np.concatenate([STACK[ROWS], STACK]))


MEASURE = """
import resource, sys
import numpy as np
from pathsynth.data.images import ImageRows
rows = ImageRows(np.load(sys.argv[1], mmap_mode="r"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
order = np.random.default_rng(0).permutation(len(rows))
total = sum(int(rows[order[i : i + 50]].max()) for i in range(0, len(rows), 50))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_reading_every_image_of_a_mapped_array_holds_a_part_of_it_in_memory(tmp_path):
    stack = np.lib.format.open_memmap(tmp_path / "large.npy", mode="w+", dtype=np.uint8, shape=(4500, 224, 224, 3))  # 677 MB, sparse
    del stack
    ended = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path / "large.npy")], capture_output=True, text=True, check=True)
    assert int(ended.stdout) < 450, "megabytes"
