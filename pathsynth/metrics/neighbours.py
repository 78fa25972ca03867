"""Neighbours in a feature space, in blocks: no N × N matrix of distances is ever held."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sklearn.metrics import pairwise_distances_argmin_min, pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

BLOCK_MEBIBYTES = 256
"""Of distances that are held at once."""


def nearest(features: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each row of ``features`` (N, d), the Euclidean distance to the nearest row of ``among`` (M, d), M ≥ 1, and which it is.

    Returns:
        float64 (N,), 0 for an exact copy, and int64 (N,).
    """
    if not len(features):
        return np.empty(0), np.empty(0, dtype=np.int64)
    rows = pairwise_distances_argmin_min(features, among)[0].astype(np.int64)
    # scikit-learn takes a distance from inner products, whose rounding would hide that a copy is one
    return np.linalg.norm(np.subtract(features, among[rows], dtype=np.float64), axis=1), rows


def neighbours(features: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``most`` nearest other rows of each row of ``features`` (N, d), N > ``most``, from near to far.

    Returns:
        Euclidean distances, float64 (N, most), and rows, int64 (N, most).
    """
    return NearestNeighbors(n_neighbors=most, algorithm="brute").fit(features.astype(np.float64)).kneighbors()


def distance_blocks(features: np.ndarray, others: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of ``features`` (N, d), block by block, and their Euclidean distances to all ``others`` (M, d).

    Yields:
        The rows, and float64 (rows, M) of at most :data:`BLOCK_MEBIBYTES`.
    """
    start = 0
    blocks = pairwise_distances_chunked(features.astype(np.float64), others.astype(np.float64), working_memory=BLOCK_MEBIBYTES)
    for distances in blocks:
        yield slice(start, start + len(distances)), distances
        start += len(distances)
