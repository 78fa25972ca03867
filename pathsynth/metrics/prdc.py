"""Precision, recall, density and coverage: how two sets of images interlock, by balls around each image of either."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from pathsynth.metrics.agreement import Interval, design_effect, effective_wilson, wilson
from pathsynth.metrics.neighbours import distance_blocks, neighbours

NEIGHBOURS = 5
SPLITS = 100
"""How often the sets are cut in halves to learn how much chance moves a score: their own noise is then 1% of an interval's width."""
_RANKS = 8 * NEIGHBOURS
"""Neighbours that are looked up: of so many, fewer than five lie in an image's own half once in a hundred million times."""


@dataclass(frozen=True)
class Prdc:
    """Each score with its 95% interval; its ends are NaN where a set is too small to be cut in halves."""

    precision: Interval
    recall: Interval
    density: Interval
    coverage: Interval


@dataclass(frozen=True)
class _Balls:
    """Which points lie in which balls: in the whole sets (row 0), and within each image's own half in every split (the other rows).

    ``points``: int64 (1 + S, N), how many points lie in the ball of each centre; ``balls``: int64 (1 + S, M), in how many balls each
    point lies; ``centre_halves``: bool (1 + S, N) and ``point_halves``: bool (1 + S, M), the half of each image.
    """

    points: np.ndarray
    balls: np.ndarray
    centre_halves: np.ndarray
    point_halves: np.ndarray


def prdc(real_features: np.ndarray, fake_features: np.ndarray, seed: int) -> Prdc:
    """Improved precision and recall, density and coverage.

    The former two are those of Kynkäänniemi et al. 2019 (arXiv 1904.06991, equation 1), the latter of Naeem et al. 2020 (arXiv 2002.09797,
    equations 8 and 9).

    Around each image of a set lies a ball that reaches to its fifth neighbour in that set. Precision: the share of generated images
    inside some real image's ball. Recall: the share of real images inside some generated one's. Coverage: the share of real balls that
    hold a generated image. Density: real balls that a generated image lies in, on average, over five; it may exceed 1 where images
    crowd among the typical real ones. More images cover more: compare sets of one size.

    The intervals are for the long-run mean over other real and other generated sets of these sizes. A ball depends on several images,
    so that images count as independent neither in Wilson's interval nor in a bootstrap, whose copies are neighbours at no distance.
    Instead both sets are cut in random halves: the scores of two halves have no image in common, and the mean square of their
    difference is an unbiased estimate of twice the variance at half the size (replication by half-samples, McCarthy 1969). From that
    comes the design effect, the variance over that of independent images, and the interval of as many independent images.

    Args:
        real_features: float (N, d), more than five rows.
        fake_features: float (M, d), likewise.
        seed: of the halves.

    Raises:
        ValueError: too few images, or features of different widths.
    """
    if min(len(real_features), len(fake_features)) <= NEIGHBOURS or real_features.shape[1] != fake_features.shape[1]:
        raise ValueError(f"balls of {NEIGHBOURS} neighbours cannot be computed from {real_features.shape} and {fake_features.shape}")
    rng = np.random.default_rng(seed)
    real_halves, fake_halves = _halves(len(real_features), rng), _halves(len(fake_features), rng)
    around_real = _balls(real_features, fake_features, real_halves, fake_halves)
    around_fake = _balls(fake_features, real_features, fake_halves, real_halves)
    scores = Prdc(
        precision=_share(around_real.balls > 0, fake_halves),
        recall=_share(around_fake.balls > 0, real_halves),
        density=_density(around_real),
        coverage=_share(around_real.points > 0, real_halves),
    )
    small = min(len(real_features), len(fake_features)) < 2 * (NEIGHBOURS + 1)
    return _without_intervals(scores) if small else scores


def _halves(n: int, rng: np.random.Generator) -> np.ndarray:
    """Random halves, bool (1 + SPLITS, n): which images are in the first half; in row 0 all are."""
    first = rng.permuted(np.tile(np.arange(n) < n // 2, (SPLITS, 1)), axis=1)
    return np.concatenate([np.ones((1, n), dtype=bool), first])


def _balls(centres: np.ndarray, points: np.ndarray, centre_halves: np.ndarray, point_halves: np.ndarray) -> _Balls:
    """The balls around ``centres`` (N, d), and the ``points`` (M, d) in them."""
    radii = _radii(centres, centre_halves)
    largest = radii.max(axis=0)
    counts, around = np.zeros(radii.shape, dtype=np.int64), np.zeros(point_halves.shape, dtype=np.int64)
    for rows, distances in distance_blocks(points, centres):
        point, centre = np.nonzero(distances < largest)
        near, place = distances[point, centre], point + rows.start
        for s in range(len(radii)):
            inside = (near < radii[s, centre]) & (centre_halves[s, centre] == point_halves[s, place])
            counts[s] += np.bincount(centre[inside], minlength=len(centres))
            around[s, rows] = np.bincount(point[inside], minlength=len(distances))
    return _Balls(counts, around, centre_halves, point_halves)


def _radii(centres: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """float64 (1 + SPLITS, N): how far the fifth neighbour of each image is among those of its own half."""
    distances, rows = neighbours(centres, min(_RANKS, len(centres) - 1))
    radii = np.empty(halves.shape)
    for s, half in enumerate(halves):
        reached = (half[rows] == half[:, None]).cumsum(axis=1) >= NEIGHBOURS
        rank = np.where(reached[:, -1], reached.argmax(axis=1), -1)
        radii[s] = distances[np.arange(len(rows)), rank]
    return radii


def _by_half(values: np.ndarray, halves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The means (SPLITS, 2), and the variances of a mean of as many independent values, of ``values`` (1 + SPLITS, n) in either half."""
    members = np.stack([halves[1:], ~halves[1:]], axis=1)
    counts, split = members.sum(axis=2), values[1:, None, :]
    means = (split * members).sum(axis=2) / counts
    squares = (split**2 * members).sum(axis=2) / counts
    return means, (squares - means**2) / counts


def _share(hits: np.ndarray, halves: np.ndarray) -> Interval:
    """Of ``hits``, bool (1 + SPLITS, n)."""
    n = hits.shape[1]
    means, _ = _by_half(hits.astype(np.float64), halves)
    mean = means.mean()
    effect = design_effect(_variance(means), mean * (1 - mean) / (n / 2), 2 / n**2)
    return effective_wilson(float(hits[0].mean()), n / effect)


def _density(real: _Balls) -> Interval:
    """On a logarithmic scale: its noise is relative, and it cannot be negative. Both sets of counts bring noise, so both are compared."""
    n, m = real.points.shape[1], real.balls.shape[1]
    value = float(real.balls[0].mean() / NEIGHBOURS)
    if not value:
        return Interval(0.0, 0.0, wilson(0, m).high)  # as if a share of the images were like the real ones, whose density is 1
    by_points, noise = _by_half(real.balls / NEIGHBOURS, real.point_halves)
    _, other = _by_half(real.points / NEIGHBOURS * n / m, real.centre_halves)
    whole = (np.var(real.balls[0]) / m + np.var(real.points[0] * n / m) / n) / NEIGHBOURS**2
    effect = design_effect(_variance(by_points), float((noise + other).mean()))
    half = norm.ppf(0.975) * np.sqrt(effect * whole) / value
    return Interval(value, value * float(np.exp(-half)), value * float(np.exp(half)))


def _variance(halves: np.ndarray) -> float:
    """Of a half's score, from the scores of both halves (SPLITS, 2), which have no image in common."""
    return float(np.square(halves[:, 0] - halves[:, 1]).mean() / 2)


def _without_intervals(scores: Prdc) -> Prdc:
    nan = float("nan")
    return Prdc(*(Interval(s.value, nan, nan) for s in (scores.precision, scores.recall, scores.density, scores.coverage)))
