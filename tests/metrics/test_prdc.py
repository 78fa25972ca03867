"""Precision, recall, density and coverage against their definitions; what they must do; and how much they hold in memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from pathsynth.metrics import neighbours
from pathsynth.metrics.prdc import NEIGHBOURS, prdc


def features(n: int, shift: float = 0.0, seed: int = 0, width: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, size=(n, width)).astype(np.float32)


def radii(own: np.ndarray) -> np.ndarray:
    return np.array([np.sort(np.linalg.norm(own - point, axis=1))[NEIGHBOURS] for point in own])


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_they_are_their_definitions(shift):
    real, fake = features(60), features(40, shift, seed=1)
    distances = np.array([np.linalg.norm(fake - r, axis=1) for r in real])
    inside, reached = distances < radii(real)[:, None], distances < radii(fake)[None, :]
    found = prdc(real, fake, seed=0)
    assert found.precision.value == pytest.approx(inside.any(axis=0).mean())
    assert found.recall.value == pytest.approx(reached.any(axis=1).mean())
    assert found.density.value == pytest.approx(inside.sum() / NEIGHBOURS / 40)
    assert found.coverage.value == pytest.approx(inside.any(axis=1).mean())
    for score in (found.precision, found.recall, found.density, found.coverage):
        assert score.low < score.value <= score.high


def test_saying_the_same_again_covers_no_more():
    real = np.arange(6.0).repeat(2)[:, None] * 10 + np.tile([[0.0], [1.0]], (6, 1))
    one = real[:1] + np.linspace(0, 0.1, 12)[:, None]
    found = prdc(real, one, seed=0)
    assert found.coverage.value == pytest.approx(np.mean(np.abs(real - one.T).min(axis=1) < radii(real)))
    assert found.precision.value == 1 and found.coverage.value < 1


def test_sets_that_are_one_or_far_apart_have_known_scores():
    real = features(50)
    same = prdc(real, real, seed=0)
    assert (same.precision.value, same.recall.value, same.coverage.value) == (1, 1, 1)
    assert 0.9 < same.precision.low < 1 and same.precision.high == 1
    apart = prdc(real, features(50, shift=100), seed=0)
    for score in (apart.precision, apart.recall, apart.density, apart.coverage):
        assert (score.value, score.low) == (0, 0) and 0 < score.high < 0.1


def test_intervals_narrow_with_more_images_and_repeat_with_their_seed():
    few, many = (prdc(features(n), features(n, 0.5, seed=1), seed=0) for n in (60, 960))
    assert (few.precision.high - few.precision.low) / (many.precision.high - many.precision.low) == pytest.approx(4, rel=0.4)
    sets = features(60), features(60, 0.5, seed=1)
    assert prdc(*sets, seed=3) == prdc(*sets, seed=3) != prdc(*sets, seed=4)


def test_sets_too_small_for_halves_have_values_alone():
    found = prdc(features(8), features(30, seed=1), seed=0)
    assert 0 <= found.coverage.value <= 1 and np.isnan([found.coverage.low, found.coverage.high, found.density.low]).all()


@pytest.mark.parametrize(("real", "fake"), [((5, 3), (40, 3)), ((40, 3), (5, 3)), ((9, 3), (9, 4))])
def test_too_little_is_refused(real, fake):
    with pytest.raises(ValueError, match="5 neighbours"):
        prdc(np.zeros(real), np.zeros(fake), seed=0)


@pytest.mark.slow
def test_no_matrix_of_all_distances_is_held(monkeypatch):
    """The two sets would have a matrix of 122 MiB; and the result does not depend on the blocks."""
    real, fake = features(4000, width=8), features(4000, 0.3, seed=1, width=8)
    monkeypatch.setattr(neighbours, "BLOCK_MEBIBYTES", 4)
    tracemalloc.start()
    found = prdc(real, fake, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80 * 2**20
    monkeypatch.setattr(neighbours, "BLOCK_MEBIBYTES", 256)
    assert prdc(real, fake, seed=0) == found
