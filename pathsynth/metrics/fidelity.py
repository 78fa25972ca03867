"""Fidelity: how far the features of generated images lie from those of real ones, as distances of distributions."""

from __future__ import annotations

import numpy as np

from pathsynth.metrics.agreement import Interval

MOST = 2000
"""Images of each set that are compared; of a larger set a random choice, so that the kernel matrices stay small."""


def kid(real_features: np.ndarray, fake_features: np.ndarray, seed: int, resamples: int = 1000, level: float = 0.95) -> Interval:
    """Kernel distance: the unbiased squared MMD with the kernel k(x, y) = (x·y / d + 1)³ (Bińkowski et al. 2018).

    Being unbiased it is about 0, and may be negative, when both sets come from one distribution. Its scale is that of the
    features: values from different feature extractors cannot be compared.

    The interval is a percentile bootstrap over images of both sets; pairs of an image with its own copy are left out, which
    keeps the resampled distance unbiased too. It is too wide, never too narrow, where the distance is near 0.

    Args:
        real_features: float (N, d), at least two rows; of more than ``MOST`` a random ``MOST`` are used.
        fake_features: float (M, d), likewise.
        seed: of the resampling and of that choice.
        resamples: how many are drawn for the interval.
        level: of the interval, in (0, 1).

    Raises:
        ValueError: fewer than two images in a set, or features of different widths.
    """
    if min(len(real_features), len(fake_features)) < 2 or real_features.shape[1] != fake_features.shape[1]:
        raise ValueError(f"a kernel distance needs two sets of at least two rows, not {real_features.shape} and {fake_features.shape}")
    rng = np.random.default_rng(seed)
    real, fake = _at_most(real_features, MOST, rng), _at_most(fake_features, MOST, rng)
    kernels = _kernel(real, real), _kernel(fake, fake), _kernel(real, fake)
    value = _distances(*kernels, np.ones((1, len(real))), np.ones((1, len(fake))))[0]
    drawn = _distances(*kernels, _copies(len(real), resamples, rng), _copies(len(fake), resamples, rng))
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, (tail, 1 - tail))
    return Interval(float(value), float(low), float(high))


def frechet_distance(real_features: np.ndarray, fake_features: np.ndarray) -> float:
    """Squared Fréchet distance of two normal distributions fitted to features (Heusel et al. 2017, arXiv 1706.08500, equation 6).

    In Inception's features it is called FID; here the caller chooses them, and values of different extractors cannot be compared. It is
    biased: fewer images give a larger distance. Compare sets of one size.

    Args:
        real_features: float (N, d), at least two rows.
        fake_features: float (M, d), likewise.

    Raises:
        ValueError: fewer than two images in a set, or features of different widths.
    """
    if min(len(real_features), len(fake_features)) < 2 or real_features.shape[1] != fake_features.shape[1]:
        raise ValueError(f"a Fréchet distance needs two sets of at least two rows, not {real_features.shape} and {fake_features.shape}")
    real, fake = real_features.astype(np.float64), fake_features.astype(np.float64)
    covariances = [np.atleast_2d(np.cov(features, rowvar=False)) for features in (real, fake)]
    # the trace of the root of the product: its eigenvalues are real and not negative but for rounding
    roots = np.sqrt(np.maximum(np.linalg.eigvals(covariances[0] @ covariances[1]).real, 0))
    shift = real.mean(axis=0) - fake.mean(axis=0)
    return float(shift @ shift + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * roots.sum())


def _at_most(features: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    chosen = features if len(features) <= most else features[rng.choice(len(features), most, replace=False)]
    return chosen.astype(np.float64)


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _copies(n: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """float64 (resamples, n): how often each image was drawn."""
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)


def _distances(real: np.ndarray, fake: np.ndarray, cross: np.ndarray, real_weights: np.ndarray, fake_weights: np.ndarray) -> np.ndarray:
    """Unbiased squared MMD (R,) of weighted images: kernels (N, N), (M, M), (N, M); weights (R, N), (R, M)."""
    between = ((real_weights @ cross) * fake_weights).sum(axis=1) / (real_weights.sum(axis=1) * fake_weights.sum(axis=1))
    return _within(real, real_weights) + _within(fake, fake_weights) - 2 * between


def _within(kernel: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean kernel (R,) over pairs of different images."""
    squares = weights**2
    pairs = weights.sum(axis=1) ** 2 - squares.sum(axis=1)
    return (((weights @ kernel) * weights).sum(axis=1) - squares @ np.diagonal(kernel)) / pairs
