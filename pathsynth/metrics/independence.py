"""How independent two classifiers are: whether they err on the same images."""

from __future__ import annotations

import numpy as np

from pathsynth.metrics.agreement import Interval


def error_correlation(
    first_wrong: np.ndarray, second_wrong: np.ndarray, seed: int, resamples: int = 2000, level: float = 0.95
) -> Interval | None:
    """Correlation of two classifiers' errors (the phi coefficient, Yule 1912) with an interval over images.

    0: one's errors tell nothing of the other's, so a judge that confirms what a gate accepted adds evidence; 1: they err on the
    same images, and the judge confirms the gate's mistakes. It bounds from real images how independent the judging is.

    The interval holds ``level`` of the coefficients of a Bayesian bootstrap (Rubin 1981) with Jeffreys' prior, half an image in each cell
    of the table: few images are wrong, and cells that are empty by chance would make a plain bootstrap too narrow.

    Args:
        first_wrong: bool (N,), N ≥ 1, the images on which the first classifier is wrong.
        second_wrong: bool (N,), those of the same images on which the second one is.
        seed: of the resampling.
        resamples: how many coefficients are drawn.
        level: of the interval, in (0, 1).

    Returns:
        The coefficient in [−1, 1], or None where it is not defined: a classifier errs on no image, or on all.

    Raises:
        ValueError: the two differ in length, or are empty.
    """
    if first_wrong.shape != second_wrong.shape or first_wrong.ndim != 1 or not len(first_wrong):
        raise ValueError(f"errors on the same images are two equally long rows, not {first_wrong.shape} and {second_wrong.shape}")
    counts = np.bincount(2 * first_wrong.astype(np.int64) + second_wrong, minlength=4)
    value = float(_phi(counts))
    if np.isnan(value):
        return None
    drawn = _phi(np.random.default_rng(seed).dirichlet(counts + 0.5, size=resamples))
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, (tail, 1 - tail))
    return Interval(value, min(float(low), value), max(float(high), value))


def _phi(counts: np.ndarray) -> np.ndarray:
    """Of counts (…, 4): neither wrong, the second alone, the first alone, both. NaN where an error rate is 0 or 1."""
    neither, second, first, both = np.moveaxis(counts.astype(np.float64), -1, 0)
    scale = (first + both) * (neither + second) * (second + both) * (neither + first)
    return np.divide(both * neither - first * second, np.sqrt(scale), out=np.full(np.shape(scale), np.nan), where=scale > 0)
