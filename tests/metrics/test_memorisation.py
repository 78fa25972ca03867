"""Near copies: a planted copy is caught, and new images of the same kind are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from pathsynth.metrics.memorisation import QUANTILE, copy_bound, near_copies, nearest


def features(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 12))


TRAIN, HELD_OUT = features(400, 0), features(600, 1)


def test_distances_are_to_the_nearest_whatever_the_number_of_rows():
    distances, rows = nearest(HELD_OUT, TRAIN)
    assert np.allclose(distances, cdist(HELD_OUT, TRAIN).min(axis=1))
    assert np.allclose(distances, np.linalg.norm(HELD_OUT - TRAIN[rows], axis=1))
    assert [len(found) for found in nearest(HELD_OUT[:0], TRAIN)] == [0, 0]


def test_new_images_of_the_same_kind_are_as_near_as_held_out_ones():
    bound = copy_bound(HELD_OUT, TRAIN)
    assert near_copies(HELD_OUT, TRAIN, bound).value == pytest.approx(QUANTILE, abs=0.002)
    found = near_copies(features(2000, 2), TRAIN, bound)
    assert found.low <= QUANTILE <= found.high


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_planted_copies_are_counted(noise):
    fresh, copies = features(95, 3), TRAIN[:5] + noise * features(5, 4)
    bound = copy_bound(HELD_OUT, TRAIN)
    without = near_copies(fresh, TRAIN, bound)
    found = near_copies(np.concatenate([fresh, copies]), TRAIN, bound)
    assert found.value == pytest.approx((95 * without.value + 5) / 100)
    assert found.value >= 0.05 and found.low > QUANTILE
