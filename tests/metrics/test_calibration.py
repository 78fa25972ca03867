"""Calibration: a temperature that was applied is found again, and the error has known values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from pathsynth.metrics.calibration import ConfidenceBin, expected_calibration_error, fit_temperature, reliability


def calibrated(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, 4) and labels drawn from just the probabilities that they stand for."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 4)) * 2
    return logits, np.array([rng.choice(4, p=p) for p in softmax(logits, axis=1)])


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_temperature_is_found_again_and_mends_the_error(temperature):
    logits, labels = calibrated(4000)
    found = fit_temperature(logits * temperature, labels)
    assert found == pytest.approx(temperature, rel=0.06)
    mended = expected_calibration_error(softmax(logits * temperature / found, axis=1), labels)
    assert mended < 0.03
    if temperature != 1:
        assert expected_calibration_error(softmax(logits * temperature, axis=1), labels) > 2 * mended


def test_without_anything_to_go_by_nothing_is_changed():
    assert fit_temperature(np.empty((0, 4)), np.empty(0, dtype=np.int64)) == 1
    assert fit_temperature(np.full((2, 4), np.nan), np.zeros(2, dtype=np.int64)) == 1


def test_the_error_has_known_values():
    sure = np.eye(3)[[0, 1, 2, 0]]
    assert expected_calibration_error(sure, np.array([0, 1, 2, 0])) == 0
    assert expected_calibration_error(sure, np.array([1, 2, 0, 1])) == 1
    assert expected_calibration_error(sure, np.array([0, 1, 0, 1])) == 0.5


def test_bins_hold_every_image_once_and_give_the_error_back():
    logits, labels = calibrated(500)
    probabilities = softmax(logits * 2, axis=1)
    bins = reliability(probabilities, labels)
    assert sum(b.images for b in bins) == 500 and sum(b.right for b in bins) == (probabilities.argmax(axis=1) == labels).sum()
    assert all(bins[i].confidence < bins[i + 1].confidence for i in range(len(bins) - 1))
    gaps = sum(abs(b.right / b.images - b.confidence) * b.images for b in bins) / 500
    assert gaps == pytest.approx(expected_calibration_error(probabilities, labels, bins=10), abs=1e-6)


def test_a_sure_answer_lies_in_the_last_bin():
    assert reliability(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 0])) == [ConfidenceBin(2, 1, 1.0)]
