"""Near copies: a planted copy is caught, new images of the same kind are not, and few held-out images make the share unsure."""

from __future__ import annotations

import numpy as np
import pytest

from pathsynth.metrics.memorisation import QUANTILE, copy_bound, near_copies
from pathsynth.metrics.neighbours import nearest


def features(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 12))


TRAIN, HELD_OUT = features(400, 0), features(600, 1)
DISTANCES = nearest(HELD_OUT, TRAIN)[0]


def test_new_images_of_the_same_kind_are_as_near_as_held_out_ones():
    assert np.mean(copy_bound(DISTANCES) > DISTANCES) == QUANTILE
    found = near_copies(features(2000, 2), TRAIN, DISTANCES, seed=0)
    assert found.low <= QUANTILE <= found.high


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_planted_copies_are_counted(noise):
    fresh, copies = features(95, 3), TRAIN[:5] + noise * features(5, 4)
    without = near_copies(fresh, TRAIN, DISTANCES, seed=0)
    found = near_copies(np.concatenate([fresh, copies]), TRAIN, DISTANCES, seed=0)
    assert found.value == pytest.approx((95 * without.value + 5) / 100)
    assert found.value >= 0.05 and found.low > QUANTILE


def test_the_noise_of_the_bound_widens_the_interval():
    generated = np.concatenate([TRAIN, TRAIN]) + 0.5 * features(800, 5)
    few, many = (near_copies(generated, TRAIN, nearest(features(n, 6), TRAIN)[0], seed=0) for n in (200, 20_000))
    assert few.high - few.low > 1.5 * (many.high - many.low)


def test_draws_repeat_with_their_seed():
    first, again, other = (near_copies(features(100, 7), TRAIN, DISTANCES, seed) for seed in (0, 0, 1))
    assert first == again != other
