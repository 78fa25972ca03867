"""Whether generated images repeat training images: nearest distances beside those of real images that were held out."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from pathsynth.metrics.agreement import Interval, wilson

QUANTILE = 0.01
_ROWS = 256


def nearest(features: np.ndarray, train_features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each row of ``features`` (N, d), the Euclidean distance to the nearest row of ``train_features`` (M, d), M ≥ 1, and which it is.

    Returns:
        float64 (N,) and int64 (N,).
    """
    distances, rows = np.empty(len(features)), np.empty(len(features), dtype=np.int64)
    for i in range(0, len(features), _ROWS):
        found = cdist(features[i : i + _ROWS], train_features)
        rows[i : i + _ROWS], distances[i : i + _ROWS] = found.argmin(axis=1), found.min(axis=1)
    return distances, rows


def copy_bound(held_out_features: np.ndarray, train_features: np.ndarray, quantile: float = QUANTILE) -> float:
    """The distance below which ``quantile`` of the real held-out images lie to their nearest training image."""
    return float(np.quantile(nearest(held_out_features, train_features)[0], quantile))


def near_copies(features: np.ndarray, train_features: np.ndarray, bound: float) -> Interval:
    """Share of images nearer than ``bound`` to a training image, with its Wilson interval.

    Of images that repeat the training set no more than new real ones do it is :data:`QUANTILE`; copies make it larger. A generator
    that draws typical images makes it larger, too: it tells that a look is due, not that something was copied.

    Args:
        features: float (N, d) of generated images, N ≥ 1.
        train_features: float (M, d), M ≥ 1.
        bound: of :func:`copy_bound`.
    """
    near = nearest(features, train_features)[0] < bound
    return wilson(int(near.sum()), len(near))
