"""The least probability at which answers are right often enough, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pathsynth.metrics.thresholds import precision_thresholds


def rows(*sureness: float, answer: int = 0) -> np.ndarray:
    """Probabilities of two classes; the answer has the given one."""
    found = np.empty((len(sureness), 2))
    found[:, answer], found[:, 1 - answer] = sureness, 1 - np.array(sureness)
    return found


@pytest.mark.parametrize(
    ("right", "target", "limit"),
    [
        ((1, 1, 1, 1), 0.95, 0.0),  # all are right: no limit
        ((1, 1, 0, 1), 0.75, 0.0),  # right often enough without one
        ((1, 1, 0, 1), 0.8, 0.8),  # the third costs too much
        ((1, 0, 1, 1), 0.75, 0.0),
        ((1, 0, 0, 1), 0.6, 0.9),
        ((0, 1, 1, 1), 0.7, 0.0),
    ],
)
def test_the_lowest_limit_that_keeps_the_wanted_precision(right, target, limit):
    probabilities = rows(0.9, 0.8, 0.7, 0.6)
    labels = np.where(right, 0, 1)
    assert precision_thresholds(probabilities, labels, target)[0] == pytest.approx(limit)


def test_a_class_that_is_wrong_where_it_is_surest_keeps_nothing():
    limit = precision_thresholds(rows(0.9, 0.6), np.array([1, 1]), 0.5)[0]
    assert 0.9 < limit < 0.9001


def test_a_class_that_was_never_answered_has_no_limit():
    assert precision_thresholds(rows(0.9), np.array([0]), 0.95)[1] == 0


def test_images_that_are_equally_sure_are_kept_or_left_together():
    limits = precision_thresholds(rows(0.9, 0.8, 0.8, 0.7), np.array([0, 0, 1, 1]), 0.9)
    assert limits[0] == pytest.approx(0.9)


def test_each_class_has_its_own():
    probabilities = np.concatenate([rows(0.9, 0.6), rows(0.95, 0.7, answer=1)])
    assert precision_thresholds(probabilities, np.array([0, 1, 1, 1]), 0.9).tolist() == pytest.approx([0.9, 0.0])
