"""Kernel and Fréchet distance against their formulas, another implementation, and what they must do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from pathsynth.metrics import fidelity
from pathsynth.metrics.fidelity import frechet_distance, kid


def features(n: int, shift: float = 0.0, seed: int = 0, width: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, size=(n, width)).astype(np.float32)


def direct(x: np.ndarray, y: np.ndarray) -> float:
    """The formula, term by term."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (float(np.dot(a.astype(float), b.astype(float))) / len(a) + 1) ** 3

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_it_is_the_formula_and_lies_within_its_interval():
    real, fake = features(40), features(25, shift=0.7, seed=1)
    found = kid(real, fake, seed=0)
    assert found.value == pytest.approx(direct(real, fake), rel=1e-9)
    assert 0 < found.low < found.value < found.high


def test_it_is_that_of_torchmetrics():
    real, fake = features(60), features(60, shift=0.3, seed=1)
    theirs = poly_mmd(torch.from_numpy(real).double(), torch.from_numpy(fake).double())
    assert kid(real, fake, seed=0).value == pytest.approx(float(theirs), rel=1e-9)


def test_the_same_distribution_is_at_no_distance_on_average():
    found = [kid(features(80, seed=2 * s), features(80, seed=2 * s + 1), seed=s, resamples=200) for s in range(30)]
    values = np.array([f.value for f in found])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
    assert values.min() < 0
    assert sum(f.low <= 0 <= f.high for f in found) >= 28


def test_it_grows_with_the_shift():
    values = [kid(features(80), features(80, shift=shift, seed=1), seed=0).value for shift in (0, 0.3, 0.6, 1.2)]
    assert values == sorted(values)


def test_larger_sets_are_thinned_by_the_seed(monkeypatch):
    monkeypatch.setattr(fidelity, "MOST", 30)
    real, fake = features(100), features(100, shift=0.5, seed=1)
    assert kid(real, fake, seed=0) == kid(real, fake, seed=0)
    assert kid(real, fake, seed=0).value != kid(real, fake, seed=1).value
    assert kid(real[:30], fake[:30], seed=0).value == kid(real[:30], fake[:30], seed=1).value


@pytest.mark.parametrize(("n", "width"), [(1, 16), (5, 8)])
def test_too_few_images_or_other_features_are_refused(n, width):
    with pytest.raises(ValueError, match="two sets"):
        kid(features(5), features(n, width=width), seed=0)


def test_frechet_distance_is_that_of_torchmetrics_and_known_where_it_is_known():
    from torchmetrics.image.fid import _compute_fid

    real, fake = features(200).astype(np.float64), features(150, shift=0.3, seed=1).astype(np.float64)
    moments = [torch.from_numpy(m) for x in (real, fake) for m in (x.mean(axis=0), np.cov(x, rowvar=False))]
    assert frechet_distance(real, fake) == pytest.approx(float(_compute_fid(*moments)), rel=1e-6)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(real, real + 2) == pytest.approx(4 * real.shape[1], rel=1e-9)
    with pytest.raises(ValueError, match="two rows"):
        frechet_distance(real, fake[:1])
