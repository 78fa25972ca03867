"""The correlation of errors on tables whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from pathsynth.metrics.independence import error_correlation


def errors(neither: int, second: int, first: int, both: int) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(False, False)] * neither + [(False, True)] * second + [(True, False)] * first + [(True, True)] * both
    table = np.array(pairs)
    return table[:, 0], table[:, 1]


def test_the_same_errors_correlate_fully_and_opposite_ones_inversely():
    wrong = np.arange(40) % 4 == 0
    same = error_correlation(wrong, wrong, seed=0)
    assert same and (same.value, same.high) == (1, 1) and 0.7 < same.low < 1, "forty images do not prove that all errors are common"
    opposite = error_correlation(np.arange(40) % 2 == 0, np.arange(40) % 2 == 1, seed=0)
    assert opposite and opposite.value == -1


def test_independent_errors_do_not_correlate():
    found = error_correlation(*errors(64, 16, 16, 4), seed=0)
    assert found and found.value == 0 and found.low < 0 < found.high


def test_it_is_the_correlation_of_the_indicators():
    first, second = errors(50, 10, 5, 20)
    found = error_correlation(first, second, seed=0)
    assert found and found.value == pytest.approx(np.corrcoef(first, second)[0, 1])
    assert found.low < found.value < found.high
    assert found == error_correlation(first, second, seed=0)


def test_a_classifier_without_errors_has_none():
    assert error_correlation(np.zeros(5, bool), np.arange(5) % 2 == 0, seed=0) is None


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="equally long"):
        error_correlation(np.zeros(5, bool), np.zeros(4, bool), seed=0)
