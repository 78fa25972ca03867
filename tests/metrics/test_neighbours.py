"""Neighbours against all distances, and blocks that hold every pair once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from pathsynth.metrics import neighbours as module
from pathsynth.metrics.neighbours import distance_blocks, nearest, neighbours


def features(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 12)).astype(np.float32)


SOME, OTHERS = features(300, 0), features(500, 1)


def test_the_nearest_is_the_nearest_and_a_copy_is_at_no_distance():
    distances, rows = nearest(SOME, OTHERS)
    assert np.allclose(distances, cdist(SOME, OTHERS).min(axis=1), rtol=1e-6)
    assert (rows == cdist(SOME, OTHERS).argmin(axis=1)).all()
    far = 1000 + OTHERS
    assert (nearest(far[:7], far)[0] == 0).all() and nearest(far[:7], far)[1].tolist() == list(range(7))
    assert [len(found) for found in nearest(SOME[:0], OTHERS)] == [0, 0]


def test_neighbours_come_from_near_to_far_without_the_image_itself():
    distances, rows = neighbours(SOME, 6)
    whole = cdist(SOME, SOME)
    assert np.allclose(distances, np.sort(whole, axis=1)[:, 1:7], rtol=1e-6)
    assert (rows == np.argsort(whole, axis=1)[:, 1:7]).all()


@pytest.mark.parametrize("block", [0.1, 256])
def test_blocks_hold_every_pair_once(block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_MEBIBYTES", block)
    blocks = list(distance_blocks(SOME, OTHERS))
    assert (len(blocks) > 1) == (block < 1)
    assert all(d.nbytes <= block * 2**20 for _, d in blocks)
    assert np.concatenate([np.arange(300)[rows] for rows, _ in blocks]).tolist() == list(range(300))
    assert np.allclose(np.concatenate([d for _, d in blocks]), cdist(SOME, OTHERS), rtol=1e-5)
