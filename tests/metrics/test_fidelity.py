"""Kernel distance and coverage against their formulas, another implementation, and what they must do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from pathsynth.metrics import fidelity
from pathsynth.metrics.fidelity import coverage, frechet_distance, kid, precision_recall_density


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


def test_the_interval_covers_the_distance_of_large_samples():
    large = np.mean([kid(features(2000, seed=s), features(2000, shift=0.5, seed=s + 50), 0, resamples=1).value for s in range(3)])
    found = [kid(features(80, seed=s + 100), features(80, shift=0.5, seed=s + 200), seed=s, resamples=200) for s in range(40)]
    assert sum(f.low <= large <= f.high for f in found) >= 34


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


def test_coverage_counts_the_real_images_that_are_reached():
    real = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    assert coverage(real, np.array([[1.2]]), nearest=2).value == 3 / 6
    assert coverage(real, np.array([[1.2], [1.3], [0.9]]), nearest=2).value == 3 / 6, "saying the same again covers no more"
    assert coverage(real, np.array([[1.2], [10.5]]), nearest=2).value == 1
    assert coverage(real, np.array([[100.0]]), nearest=2).value == 0


def test_coverage_is_its_definition_and_that_of_real_images_is_high():
    real, fake = features(60), features(40, shift=0.8, seed=1)
    radii = [sorted(np.linalg.norm(real - x, axis=1))[5] for x in real]
    expected = np.mean([np.linalg.norm(fake - x, axis=1).min() < radius for x, radius in zip(real, radii, strict=True)])
    found = coverage(real, fake)
    assert found.value == pytest.approx(expected) and found.low < found.value < found.high
    assert coverage(real, features(60, seed=2)).value > 0.9
    assert coverage(real, real).value == 1


@pytest.mark.parametrize(("real", "fake"), [((5, 3), (4, 3)), ((9, 3), (0, 3)), ((9, 3), (9, 4))])
def test_coverage_of_too_little_is_refused(real, fake):
    with pytest.raises(ValueError, match="coverage"):
        coverage(np.zeros(real), np.zeros(fake))


def test_precision_recall_and_density_are_their_definitions():
    real, fake = features(40), features(30, shift=0.4, seed=1)
    precision, recall, density = precision_recall_density(real, fake, nearest=3)

    def radius(point: np.ndarray, own: np.ndarray) -> float:
        return float(np.sort(np.linalg.norm(own - point, axis=1))[3])

    inside = np.array([[np.linalg.norm(r - f) < radius(r, real) for f in fake] for r in real])
    reached = np.array([[np.linalg.norm(r - f) < radius(f, fake) for f in fake] for r in real])
    assert precision.value == pytest.approx(inside.any(axis=0).mean())
    assert recall.value == pytest.approx(reached.any(axis=1).mean())
    assert density == pytest.approx(inside.sum() / 3 / 30)


def test_sets_that_are_one_or_far_apart_have_known_scores():
    real = features(50)
    precision, recall, density = precision_recall_density(real, real)
    assert (precision.value, recall.value) == (1, 1) and density == pytest.approx(1)
    precision, recall, density = precision_recall_density(real, features(50, shift=100))
    assert (precision.value, recall.value, density) == (0, 0, 0)
    with pytest.raises(ValueError, match="5 neighbours"):
        precision_recall_density(real, features(5))


def test_frechet_distance_is_that_of_torchmetrics_and_known_where_it_is_known():
    from torchmetrics.image.fid import _compute_fid

    real, fake = features(200).astype(np.float64), features(150, shift=0.3, seed=1).astype(np.float64)
    moments = [torch.from_numpy(m) for x in (real, fake) for m in (x.mean(axis=0), np.cov(x, rowvar=False))]
    assert frechet_distance(real, fake) == pytest.approx(float(_compute_fid(*moments)), rel=1e-6)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(real, real + 2) == pytest.approx(4 * real.shape[1], rel=1e-9)
    with pytest.raises(ValueError, match="two rows"):
        frechet_distance(real, fake[:1])
