"""Colour alone: what differs in colour is told apart, what differs in structure alone is not."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pathsynth.metrics.colour import fit_colour, histograms


def plain(levels: list[int], n: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """``n`` noisy grey images a level."""
    rng = np.random.default_rng(0)
    images = [rng.integers(level - 20, level + 20, (4, 4, 3), dtype=np.uint8) for level in levels for _ in range(n)]
    return np.stack(images), np.repeat(np.arange(len(levels)), n)


def test_histograms_are_shares_of_each_channel():
    images = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    images[0, 0, 0] = (255, 40, 0)
    rows = histograms(images).reshape(8, 3)
    assert rows.sum(axis=0).tolist() == [1, 1, 1]
    assert (rows[0].tolist(), rows[7, 0], rows[1, 1]) == ([0.75, 0.75, 1.0], 0.25, 0.25)


@pytest.mark.parametrize("levels", [[60, 190], [40, 120, 200]])
def test_colours_are_reported_apart_as_scikit_learn_tells_them(levels):
    images, labels = plain(levels)
    found = fit_colour(images, labels, len(levels))
    assert (found.predict(images) == labels).all()
    theirs = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(histograms(images), labels)
    others = np.random.default_rng(1).integers(0, 256, (200, 4, 4, 3), dtype=np.uint8)
    assert (found.predict(others) == theirs.predict(histograms(others))).all()


def test_structure_alone_is_not_seen():
    stripes = np.zeros((4, 4, 3), dtype=np.uint8)
    stripes[::2] = 200
    images = np.stack([stripes, stripes.transpose(1, 0, 2)] * 10)
    assert len(set(fit_colour(images, np.arange(20) % 2, 2).predict(images).tolist())) == 1


def test_a_class_without_images_is_never_predicted():
    images, labels = plain([40, 120, 200])
    found = fit_colour(images, np.array([0, 2, 3])[labels], 5)
    assert set(found.predict(images).tolist()) == {0, 2, 3}
