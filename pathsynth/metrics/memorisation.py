"""Whether generated images repeat training images: nearest distances beside those of real images that were held out."""

from __future__ import annotations

import numpy as np

from pathsynth.metrics.agreement import Interval
from pathsynth.metrics.neighbours import nearest

QUANTILE = 0.01


def copy_bound(held_out_distances: np.ndarray) -> float:
    """The distance below which :data:`QUANTILE` of the real held-out images lie to their nearest training image.

    ``held_out_distances``: float (H,), H ≥ 1, of the held-out images by :func:`pathsynth.metrics.neighbours.nearest`.
    """
    return float(np.quantile(held_out_distances, QUANTILE))


def near_copies(
    features: np.ndarray, train_features: np.ndarray, held_out_distances: np.ndarray, seed: int, draws: int = 10_000, level: float = 0.95
) -> Interval:
    """Share of images nearer than :func:`copy_bound` to a training image.

    Of images that repeat the training set no more than new real ones do it is :data:`QUANTILE`; copies make it larger. A generator
    that draws typical images makes it larger, too: it tells that a look is due, not that something was copied.

    The interval carries both noises. Bounds are drawn by a Bayesian bootstrap of the held-out distances (Rubin 1981), the share below
    each of them from its posterior with Jeffreys' prior (Brown, Cai and DasGupta 2001, section 3.1.1); the interval holds ``level`` of
    these shares. It is too wide, never too narrow, while fewer than about twenty images, generated or held out, lie below the bound.

    Args:
        features: float (N, d) of generated images, N ≥ 1.
        train_features: float (M, d), M ≥ 1.
        held_out_distances: see :func:`copy_bound`.
        seed: of the draws.
        draws: how many shares are drawn.
        level: of the interval, in (0, 1).
    """
    rng = np.random.default_rng(seed)
    distances = np.sort(nearest(features, train_features)[0])
    near = np.searchsorted(distances, _bounds(held_out_distances, draws, rng))
    shares = rng.beta(near + 0.5, len(distances) - near + 0.5)
    low, high = np.quantile(shares, ((1 - level) / 2, (1 + level) / 2))
    value = float((distances < copy_bound(held_out_distances)).mean())
    return Interval(value, min(float(low), value), max(float(high), value))


def _bounds(held_out_distances: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """float64 (draws,): distances that may be the quantile of the distribution that the held-out distances (H,) were drawn from.

    Its levels at the ordered distances are those of H ordered uniform numbers. Drawn are the levels on either side of the quantile: the
    largest of as many numbers as lie below it, and the smallest of the others; between them the distance is interpolated.
    """
    n = len(held_out_distances)
    ordered = np.concatenate([[0.0], np.sort(held_out_distances), [held_out_distances.max()]])
    below = rng.binomial(n, QUANTILE, size=draws)
    largest = np.where(below > 0, rng.random(draws) ** (1 / np.maximum(below, 1)), 0)
    smallest = 1 - rng.random(draws) ** (1 / np.maximum(n - below, 1))
    under, over = QUANTILE * (1 - largest), (1 - QUANTILE) * smallest
    return ordered[below] + under / (under + over) * (ordered[below + 1] - ordered[below])
