"""Whether generated images repeat training images: nearest distances beside those of real images that were held out."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from pathsynth.metrics.agreement import Interval, wilson

QUANTILE = 0.01
_ROWS = 256


def nearest_distances(features: np.ndarray, train_features: np.ndarray) -> np.ndarray:
    """Euclidean distance, float64 (N,), of each row of ``features`` (N, d) to the nearest of ``train_features`` (M, d); M ≥ 1."""
    parts = [cdist(features[i : i + _ROWS], train_features).min(axis=1) for i in range(0, len(features), _ROWS)]
    return np.concatenate(parts) if parts else np.empty(0)


def copy_bound(held_out_features: np.ndarray, train_features: np.ndarray, quantile: float = QUANTILE) -> float:
    """The distance below which ``quantile`` of the real held-out images lie to their nearest training image."""
    return float(np.quantile(nearest_distances(held_out_features, train_features), quantile))


def near_copies(features: np.ndarray, train_features: np.ndarray, bound: float) -> Interval:
    """Share of images nearer than ``bound`` to a training image, with its Wilson interval.

    Of images that repeat the training set no more than new real ones do it is :data:`QUANTILE`; copies make it larger. A generator
    that draws typical images makes it larger, too: it tells that a look is due, not that something was copied.

    Args:
        features: float (N, d) of generated images, N ≥ 1.
        train_features: float (M, d), M ≥ 1.
        bound: of :func:`copy_bound`.
    """
    near = nearest_distances(features, train_features) < bound
    return wilson(int(near.sum()), len(near))
