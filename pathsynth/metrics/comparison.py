"""Which configuration of a sweep is better, and how sure that is: scores of configurations over training seeds.

A score is modelled as configuration + seed + noise, fitted by least squares to all trials there are, so that a configuration without
some seed is compared at the seeds that it has (an incomplete block design). The noise is pooled over the whole sweep. Where the noise of
configurations plainly differs, their own is used instead:

- a trial far below the sweep, and far below what the others of its configuration agree on, has diverged, and is left out like one that
  failed;
- a configuration that is noisier than the rest (Cochran's test as in ISO 5725-2, one after the other, 0.5%) is left out of the pool,
  and Welch's test is used for it;
- where best and runner-up together are noisier than the rest of the pool (F test, 0.5%), Welch's test is used for the best.

A configuration's own noise is Shukla's stability variance (Heredity 29, 1972), solved for designs that are incomplete.

No torch; SciPy is loaded at its first use, because it loads slowly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

LEVEL = 0.95
"""Of the claim that one configuration leads, of the contenders, and of all intervals."""
_TAIL = (1 - LEVEL) / 2
_PLAIN = 0.005
"""The level of the tests whether noise differs."""
_LEAST = 1e-18
"""Variances below it count as this, for a sweep without any noise."""
_FAR = 7
"""Robust standard deviations below its expectation at which a trial counts as diverged."""
_SUSPECT = 4
"""The same, the trial itself among those that tell the standard deviation, from where on it is looked at."""
_AGREE = 3
"""The same, within which the other trials of its configuration must lie."""
_FEWEST = 8
"""Degrees of freedom below which this cannot be seen."""
_POWER = 0.8
_MOST_SEEDS = 200
_TUKEY = 60
"""Configurations up to which all pairs are corrected by the studentized range, whose quantile takes long for more."""
_SOFTNESS = 0.3
"""Noise that is added before the leader is chosen again, to correct its score: as a share of the standard error of a mean."""


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its 95% interval (None: the sweep has no degrees of freedom for one)."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a sweep of K configurations shows; configurations are numbered from 0 in the order they were given.

    ``means``: fitted mean of each at the average seed (NaN: it shares no seed with the rest, directly or by others, and is not compared).
    ``errors``: standard error of each mean but for what a seed does to all; None without degrees of freedom. ``student``: by how many
    standard errors the difference of two that were chosen beforehand is plain. ``order``: those compared, best first. ``lead``: of the
    best over the best of the others; its low end is above 0 exactly if ``separable``.
    ``contenders``: the best, and those that do not differ from it beyond noise. ``score``: of the best, corrected for the choice; None
    where that cannot be corrected. ``more_seeds``: how many more would detect a lead of this size with a power of 0.8; None: not known, or
    more than 200. ``noise``: standard deviation of a trial around configuration and seed, with ``freedom`` degrees of freedom.
    ``noisy``: configurations that are not in the pool. ``seeds``: how many there are. ``diverged``: configuration and column of each
    trial that was left out.
    """

    means: tuple[float, ...]
    errors: tuple[float, ...] | None = None
    student: float | None = None
    order: tuple[int, ...]
    lead: Interval | None = None
    separable: bool
    contenders: tuple[int, ...]
    score: Interval | None = None
    more_seeds: int | None = None
    noise: float | None = None
    freedom: int = 0
    noisy: tuple[int, ...] = ()
    seeds: int
    diverged: tuple[tuple[int, int], ...] = ()


def compare(scores: np.ndarray) -> Comparison:
    """Compare configurations over seeds.

    The best is said to lead if it exceeds every other by more than the two-sided 5% quantile of Student's t. The selection of the best
    and of the runner-up needs no more (Gutmann & Maymin, Annals of Statistics 15, 1987): the hardest case, two equal leaders far ahead of
    the rest, is one two-sided t test. Contenders are Hsu's multiple comparisons with the best (Annals of Statistics 9, 1981) at 97.5%,
    so that a lead and a set that misses the best together stay within 5%; with a separable lead the leader is the only one.

    Args:
        scores: float (K, S), a row for each configuration and a column for each seed; NaN where there is no score. Each row has a score.

    Raises:
        ValueError: there is no configuration, or one without a score.
    """
    if not len(scores) or not np.isfinite(scores).any(axis=1).all():
        raise ValueError("every configuration needs a score")
    scores, diverged = _without_diverged(scores)
    there, table = _comparable(scores)
    fitted = _fit(table)
    k, seeds = table.shape
    means = _placed(fitted.means, there, len(scores))
    ranks = np.argsort(-fitted.means, kind="stable")
    first, noise = int(ranks[0]), fitted.noise
    order = tuple(int(i) for i in there[ranks])
    if noise is None or k < 2:
        lead = Interval(float(fitted.means[first] - fitted.means[ranks[1]]), None, None) if k > 1 else None
        score = Interval(float(fitted.means[0]), *_student(table[0])) if k == 1 else None
        return Comparison(
            means=tuple(means.tolist()),
            order=order,
            lead=lead,
            separable=False,
            contenders=order,
            score=score,
            seeds=seeds,
            diverged=diverged,
        )
    from scipy.special import stdtrit

    errors = np.sqrt(noise.variance(fitted.weights**2 @ fitted.member)[0])
    beside = _beside(first, ranks[1], fitted)
    contenders = tuple(int(i) for i in there[ranks] if beside.near[np.flatnonzero(there == i)[0]])
    more = None if beside.separable else _more_seeds(float(beside.lead.value), beside.spread, seeds, noise.df)
    return Comparison(
        means=tuple(means.tolist()),
        errors=tuple(_placed(errors, there, len(scores)).tolist()),
        student=float(stdtrit(noise.df, 1 - _TAIL)),
        order=order,
        lead=beside.lead,
        separable=beside.separable,
        contenders=contenders,
        score=_score(fitted.means, errors, noise.df),
        more_seeds=more,
        noise=math.sqrt(noise.pooled),
        freedom=noise.df,
        noisy=tuple(int(i) for i in there[~noise.pool]),
        seeds=seeds,
        diverged=diverged,
    )


@dataclass(frozen=True)
class Level:
    """A value of a setting, and the fitted mean of its trials at the average of all else."""

    value: str
    mean: float
    trials: int


@dataclass(frozen=True)
class Effect:
    """What one setting, or two settings together, change.

    Of one setting: ``difference`` is that of its best level from its worst; ``contrast`` names them ("16 over 4"). Of two: the difference
    of differences that is largest against its error ("2e-3 over 6e-3, more at 16 than at 4"). ``settings``: one, or two; settings that
    never vary apart are one ("a with b").
    """

    settings: tuple[str, ...]
    contrast: str
    difference: Interval
    levels: tuple[Level, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether the interval excludes zero."""
        return self.difference.low is not None and self.difference.low > 0


def effects(scores: np.ndarray, settings: Sequence[Mapping[str, str]]) -> tuple[Effect, ...]:
    """What each varied setting changes, by all trials with seeds as blocks: main effects, then the interactions of two.

    The intervals of all main effects hold together with 95%, and so do those of all interactions: studentized range (Tukey–Kramer) for
    the levels of a setting and Bonferroni between settings; Bonferroni for interactions. The noise is that of :func:`compare`. An effect
    that the trials there are cannot tell from others is left out.

    Args:
        scores: as for :func:`compare`.
        settings: for each row, the varied settings; the same keys in each.
    """
    there, scores = _comparable(_without_diverged(scores)[0])
    factors = _factors([settings[i] for i in there])
    fitted = _fit(scores)
    columns = np.nonzero(np.isfinite(scores))[1]
    codes = {name: (fitted.member @ code).round().astype(int) for name, (code, _) in factors.items()}
    blocks = [np.eye(scores.shape[1])[columns], *(np.eye(len(values))[codes[name]] for name, (_, values) in factors.items())]
    values = scores[np.isfinite(scores)]
    main = _Model.of(blocks)
    starts = np.cumsum([block.shape[1] for block in blocks])
    setting_effects = []
    for number, (name, (_, labels)) in enumerate(factors.items()):
        steps = main.average(blocks, number + 1, starts[number])
        effect = _main_effect(name, labels, np.bincount(codes[name]), steps, main, values, fitted, len(factors))
        setting_effects += [effect] if effect else []
    pairs = list(itertools.combinations(factors, 2))
    for one, two in pairs:
        effect = _interaction(one, two, factors, codes, blocks, values, fitted, len(pairs))
        setting_effects += [effect] if effect else []
    return tuple(setting_effects)


@dataclass(frozen=True)
class FittedMeans:
    """Means of K configurations at the average seed (NaN: not comparable), and what their differences are measured by.

    ``errors``: standard errors (None: no degrees of freedom); the difference of two has the root of their sum of squares. ``corrected``:
    by how many of these a difference is plain, whichever two of the K are looked at (Tukey–Kramer; of many configurations Bonferroni).
    """

    means: tuple[float, ...]
    errors: tuple[float, ...] | None
    corrected: float | None


def fitted_means(scores: np.ndarray) -> FittedMeans:
    """The fit of :func:`compare` for any score, without a verdict. Trials that diverged are for the caller to leave out.

    Args:
        scores: float (K, S) as for :func:`compare`; a row without any score has no mean.
    """
    measured = np.flatnonzero(np.isfinite(scores).any(axis=1))
    if not len(measured):
        return FittedMeans((math.nan,) * len(scores), None, None)
    there, table = _comparable(scores[measured])
    fitted, places = _fit(table), measured[there]
    means = _placed(fitted.means, places, len(scores))
    if fitted.noise is None or len(there) < 2:
        return FittedMeans(tuple(means.tolist()), None, None)
    from scipy.special import stdtrit

    errors = np.sqrt(fitted.noise.variance(fitted.weights**2 @ fitted.member)[0])
    count, df = len(there), float(fitted.noise.df)
    if count <= _TUKEY:
        corrected = _range_quantile(count, df, LEVEL) / math.sqrt(2)
    else:
        corrected = float(stdtrit(df, 1 - _TAIL / (count * (count - 1) / 2)))
    return FittedMeans(tuple(means.tolist()), tuple(_placed(errors, places, len(scores)).tolist()), corrected)


# --- the fit


@dataclass(frozen=True, eq=False)
class _Design:
    """What least squares make of which trials there are: N trials of K configurations at S seeds.

    ``weights`` (K, N): from scores to means. ``shifts`` (S, N): from scores to what each seed does to all, 0 in the mean. ``residual``
    (N, N): from scores to residuals. ``member`` (N, K): 1 where a trial is of a configuration. ``unmix`` (K, K): from sums of squared
    residuals to separate variances, with ``separate_df`` (K,) each. ``correlation``: the least between differences from one configuration.
    """

    weights: np.ndarray
    shifts: np.ndarray
    residual: np.ndarray
    member: np.ndarray
    unmix: np.ndarray
    separate_df: np.ndarray
    df: int
    correlation: float


@dataclass(frozen=True, eq=False)
class _Noise:
    """Variances of a trial.

    ``pooled`` over the configurations in ``pool`` (K,), with ``df``; ``separate`` (K,) of each, with ``separate_df`` (K,).
    """

    pooled: float
    df: int
    separate: np.ndarray
    separate_df: np.ndarray
    pool: np.ndarray

    def variance(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Variance and degrees of freedom of estimates to which the trials of each configuration contribute ``q`` (..., K) of theirs."""
        inside, outside = q[..., self.pool].sum(-1), q[..., ~self.pool]
        variances, separate_df = self.separate[~self.pool], np.maximum(self.separate_df[~self.pool], 1)
        variance = inside * self.pooled + outside @ variances
        return variance, variance**2 / np.maximum((inside * self.pooled) ** 2 / self.df + outside**2 @ (variances**2 / separate_df), 1e-300)

    def welch(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same with each configuration's own variance (Satterthwaite)."""
        df = np.maximum(self.separate_df, 1)
        variance = q @ self.separate
        return variance, variance**2 / np.maximum(q**2 @ (self.separate**2 / df), 1e-300)


@dataclass(frozen=True, eq=False)
class _Fit:
    """Fitted ``means`` (K,), by ``weights`` (K, N) of the scores; ``member`` as in the design; ``noise``: None without any freedom."""

    means: np.ndarray
    weights: np.ndarray
    member: np.ndarray
    noise: _Noise | None
    correlation: float


def _without_diverged(scores: np.ndarray) -> tuple[np.ndarray, tuple[tuple[int, int], ...]]:
    """The scores with NaN for trials that diverged, and where these are.

    A trial's residual is judged by the median absolute deviation of the others' without it: several that diverged do not hide each other.
    Its configuration's other trials, two at least, must agree: else the configuration is a noisy one. And it must be as far below the
    middle of the whole sweep: else it is only a good configuration's worse trial.
    """
    outliers: list[tuple[int, int]] = []
    while True:
        there = np.isfinite(scores)
        if _design(there.tobytes(), there.shape).df < _FEWEST or len(scores) < 3:
            return scores, tuple(outliers)
        residuals, scale = _standardized(scores)
        row, column = np.unravel_index(np.argmin(residuals), residuals.shape)
        if residuals[row, column] > -_SUSPECT * scale:
            return scores, tuple(outliers)
        rest = np.where(np.arange(scores.size).reshape(scores.shape) == row * scores.shape[1] + column, np.nan, scores)
        others, without = _standardized(rest)
        agree = there[row].sum() > 2 and np.abs(others[row]).max() < _AGREE * without
        low = max(residuals[row, column], scores[row, column] - np.nanmedian(scores))
        if not agree or low > -_FAR * without:
            return scores, tuple(outliers)
        scores = rest
        outliers.append((int(row), int(column)))


def _standardized(scores: np.ndarray) -> tuple[np.ndarray, float]:
    """Residuals of equal variance, float (K, S), 0 where there is no trial, and their robust standard deviation."""
    there = np.isfinite(scores)
    design = _design(there.tobytes(), there.shape)
    freedom = np.diag(design.residual)
    usable = freedom > 1e-6
    residuals = np.where(usable, design.residual @ scores[there] / np.sqrt(np.maximum(freedom, 1e-6)), 0.0)
    placed = np.zeros(scores.shape)
    placed[there] = residuals
    return placed, max(1.4826 * float(np.median(np.abs(residuals[usable]))), 1e-6)


def _fit(scores: np.ndarray) -> _Fit:
    """Least squares over the configurations in the pool; the others' means and noise are taken around the seeds' shifts found there."""
    there = np.isfinite(scores)
    whole = _design(there.tobytes(), there.shape)
    middle = scores[there].mean()
    values = scores[there] - middle
    if not whole.df:
        return _Fit(whole.weights @ values + middle, whole.weights, whole.member, None, whole.correlation)
    pool = np.ones(len(scores), dtype=bool)
    design, separate = whole, _separate_variances(values, whole)
    while (worst := _outlier(separate, design)) is not None:
        rest = pool.copy()
        rest[np.flatnonzero(pool)[worst]] = False
        if not there[rest].max(axis=0).all() or len(_connected(there[rest])) < rest.sum():
            break  # what is left would not tell the seeds' shifts
        left = _design(there[rest].tobytes(), there[rest].shape)
        if not left.df:
            break
        pool, design = rest, left
        separate = _separate_variances(values[whole.member[:, pool].any(axis=1)], design)
    inside: np.ndarray = whole.member[:, pool].max(axis=1) > 0
    weights, variances = whole.weights.copy(), np.zeros(len(scores))
    weights[np.ix_(pool, ~inside)] = 0
    weights[np.ix_(pool, inside)], variances[pool] = design.weights, separate
    for i in np.flatnonzero(~pool):
        trials = np.flatnonzero(whole.member[:, i])
        around = np.eye(len(values))[trials]
        around[:, inside] -= design.shifts[there[i]]
        weights[i], variances[i] = around.mean(axis=0), np.var(around @ values, ddof=1)
    pooled = float((design.residual @ values[inside]) @ values[inside] / design.df)
    noise = _Noise(max(pooled, _LEAST), design.df, np.maximum(variances, _LEAST), whole.separate_df, pool)
    return _Fit(weights @ values + middle, weights, whole.member, noise, design.correlation)


def _separate_variances(values: np.ndarray, design: _Design) -> np.ndarray:
    """Float (K,): of each configuration, at least a thousandth of the pooled one; the pooled one where it has one seed or K is 2."""
    squares = (design.residual @ values) ** 2 @ design.member
    pooled = squares.sum() / design.df
    if len(squares) < 3:
        return np.full(len(squares), pooled)
    return np.where(design.separate_df > 0, np.maximum(design.unmix @ squares, pooled / 1000), pooled)


def _outlier(variances: np.ndarray, design: _Design) -> int | None:
    """The configuration that is plainly noisier than the rest of at least two; None where there is none."""
    from scipy.special import fdtrc

    df = design.separate_df
    if (df > 0).sum() < 3:
        return None
    worst = int(np.argmax(np.where(df > 0, variances, 0)))
    rest = np.arange(len(df)) != worst
    rest_df = df[rest].sum()
    ratio = variances[worst] * rest_df / max(float(variances[rest] @ df[rest]), _LEAST)
    # the seeds' shifts take their share of the degrees of freedom
    chance = fdtrc(df[worst], rest_df * design.df / df.sum(), ratio)
    return worst if chance < _PLAIN / (df > 0).sum() else None


@lru_cache(maxsize=256)
def _design(pattern: bytes, shape: tuple[int, ...]) -> _Design:
    there = np.frombuffer(pattern, dtype=bool).reshape(shape)
    rows, columns = np.nonzero(there)
    member = np.eye(shape[0])[rows]
    effects = (np.eye(shape[1]) - 1 / shape[1])[columns]
    x = np.hstack([member, effects])
    inverse = np.linalg.pinv(x)
    residual = np.eye(len(rows)) - x @ inverse
    df = len(rows) - int(np.linalg.matrix_rank(x))
    mixed = member.T @ residual**2 @ member
    weights, shifts = inverse[: shape[0]], (np.eye(shape[1]) - 1 / shape[1]) @ inverse[shape[0] :]
    return _Design(weights, shifts, residual, member, np.linalg.pinv(mixed), there.sum(1) - 1, df, _least_correlation(weights))


def _least_correlation(weights: np.ndarray) -> float:
    """Of the differences of any two configurations from a third, trials being equally noisy; ½ where the design is complete."""
    covariance = weights @ weights.T
    least = 0.5
    for i in range(len(covariance) if len(covariance) > 2 else 0):
        to = covariance - covariance[i] - covariance[i][:, None] + covariance[i, i]
        to = np.delete(np.delete(to, i, 0), i, 1)
        spread = np.sqrt(np.diag(to))
        least = min(least, float((to / spread / spread[:, None]).min()))
    return round(least, 6)


def _comparable(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the configurations that can be compared, and their scores at the seeds that one of them has."""
    there = _connected(np.isfinite(scores))
    table = scores[there]
    return there, table[:, np.isfinite(table).max(axis=0)]


def _connected(there: np.ndarray) -> np.ndarray:
    """The numbers of the configurations, int (k,), in the largest group whose members share seeds, directly or by others."""
    groups: list[np.ndarray] = []
    left = set(range(len(there)))
    while left:
        group: np.ndarray = np.zeros(len(there), dtype=bool)
        seeds: np.ndarray = there[min(left)]
        while True:
            reached: np.ndarray = there[:, seeds].max(axis=1)
            if (reached == group).all():
                break
            group, seeds = reached, there[reached].max(axis=0)
        groups.append(np.flatnonzero(group))
        left -= set(groups[-1].tolist())
    return max(groups, key=lambda g: (len(g), int(there[g].sum())))


# --- the best beside the others


@dataclass(frozen=True, eq=False)
class _Beside:
    """``near`` (K,): which do not differ from the best beyond noise. ``spread``: standard deviation of the lead at a single seed."""

    lead: Interval
    separable: bool
    near: np.ndarray
    spread: float


def _beside(first: int, second: int, fitted: _Fit) -> _Beside:
    from scipy.special import stdtrit

    noise = fitted.noise
    assert noise is not None
    k = len(fitted.means)
    q = (fitted.weights[first] - fitted.weights) ** 2 @ fitted.member
    variance, df = noise.variance(q)
    pooled = np.broadcast_to(noise.pool & noise.pool[first], k)
    if _noisy_pair(first, second, noise):
        (variance, df), pooled = noise.welch(q), np.zeros(k, dtype=bool)
    error = np.sqrt(variance)
    error[first], df[first] = 0, noise.df
    difference = fitted.means[first] - fitted.means
    student = stdtrit(df, 1 - _TAIL)
    several = np.where(pooled, _with_best(k - 1, noise.df, fitted.correlation), stdtrit(df, 1 - _TAIL / (k - 1)))
    others = np.arange(k) != first
    separable = bool((difference > student * error)[others].all())
    low = float((difference - (student if separable else several) * error)[others].min())
    near = np.zeros(k, dtype=bool) if separable else difference <= several * error
    near[first] = True
    high = float(difference[second] + several[second] * error[second])
    seeds = float((noise.separate_df[[first, second]] + 1).mean())
    return _Beside(Interval(float(difference[second]), low, high), separable, near, float(error[second] * math.sqrt(seeds)))


def _noisy_pair(first: int, second: int, noise: _Noise) -> bool:
    """Whether best and runner-up, both in the pool, are together plainly noisier than the rest of it."""
    from scipy.special import fdtrc

    df = np.where(noise.pool, noise.separate_df, 0)
    pair = np.isin(np.arange(len(df)), (first, second))
    if not df[pair].all() or not df[~pair].any():
        return False
    ratio = (noise.separate[pair] @ df[pair] / df[pair].sum()) / (noise.separate[~pair] @ df[~pair] / df[~pair].sum())
    rest_df = df[~pair].sum() * noise.df / df.sum()
    return bool(fdtrc(df[pair].sum(), rest_df, ratio) < _PLAIN)


def _with_best(others: int, df: float, correlation: float) -> float:
    """Critical value of comparisons with the best; Bonferroni's where differences are negatively correlated."""
    from scipy.special import stdtrit

    if correlation < 0:
        return float(stdtrit(df, 1 - _TAIL / others))
    return dunnett_quantile(others, df, correlation, 1 - _TAIL)


@lru_cache(maxsize=4096)
def dunnett_quantile(count: int, df: float, correlation: float, level: float) -> float:
    """The value that the largest of ``count`` t statistics stays below with probability ``level`` (one-sided; Dunnett 1955).

    Args:
        count: comparisons with one control, at least 1.
        df: degrees of freedom of the common variance, at least 1.
        correlation: of any two of them, in [0, 1); ½ where all means have the same variance.
        level: in (0, 1).
    """
    from scipy.special import gammaincinv, log_ndtr, stdtrit

    if count == 1:
        return float(stdtrit(df, level))
    nodes, masses = np.polynomial.hermite_e.hermegauss(48)
    middles = (np.arange(240) + 0.5) / 240
    scale = np.sqrt(2 * gammaincinv(df / 2, middles) / df)[:, None]

    def below(value: float) -> float:
        inner = (value * scale + math.sqrt(correlation) * nodes) / math.sqrt(1 - correlation)
        return float((np.exp(count * log_ndtr(inner)) @ masses).mean() / masses.sum())

    return _root(below, level, float(stdtrit(df, level)), float(stdtrit(df, 1 - (1 - level) / count)) + 0.1)


def _root(rising: Callable[[float], float], level: float, low: float, high: float) -> float:
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < level else (low, middle)
    return (low + high) / 2


def _more_seeds(difference: float, spread: float, seeds: int, df: float) -> int | None:
    """How many more seeds tell the difference of two configurations with a power of 0.8, the noise being what it is."""
    from scipy.special import nctdtr, stdtrit

    if difference <= 0 or seeds < 2:
        return None
    n = np.arange(seeds + 1, seeds + _MOST_SEEDS + 1)
    freedom = df * (n - 1) / (seeds - 1)
    power = 1 - nctdtr(freedom, difference / (spread / np.sqrt(n)), stdtrit(freedom, 1 - _TAIL))
    enough = np.flatnonzero(power >= _POWER)
    return int(n[enough[0]] - seeds) if len(enough) else None


# --- the score of the best


def _score(means: np.ndarray, errors: np.ndarray, df: float) -> Interval:
    """The corrected mean of the best. Its interval takes the choice among all into account, and is for these seeds."""
    from scipy.special import stdtrit

    best = int(np.argmax(means))
    low = means[best] - dunnett_quantile(len(means), df, 0.0, 1 - _TAIL) * errors[best]
    high = means[best] + float(stdtrit(df, 1 - _TAIL)) * errors[best]
    return Interval(selected_mean(means, errors), float(low), float(high))


def selected_mean(means: np.ndarray, errors: np.ndarray) -> float:
    """An estimate of the best one's expected score that is not raised by its having been chosen.

    The best is chosen from ``means + e`` and scored by ``means − e / a²`` with noise e of ``a`` times their standard errors (a = 0.3): the
    two are independent, so that the second is unbiased for what the first chooses (data fission: Rasines & Young, Biometrika 110,
    2023; Leiner et al., JASA 2023). The mean over all such noise is computed, nothing is drawn. No estimate is unbiased for the choice
    without added noise (Putter & Rubinstein 1968); that this one is nearly so is tested by simulation.

    Args:
        means: float (K,), normal around their expectations but for what they have in common.
        errors: float (K,), positive standard errors.
    """
    from scipy.special import log_ndtr

    within = means > means.max() - _SOFTNESS * 5 * np.hypot(errors, errors[np.argmax(means)])  # others are never chosen
    means, errors = means[within], errors[within]
    if len(means) == 1:
        return float(means[0])
    nodes, masses = np.polynomial.hermite_e.hermegauss(32)
    tau = _SOFTNESS * errors
    rivals = ~np.eye(len(means), dtype=bool)
    apart = (means[:, None] - means) / tau
    behind = apart[..., None] + (tau[:, None] / tau)[..., None] * nodes
    log_below = log_ndtr(behind) * rivals[..., None]
    chosen = np.exp(log_below.sum(1))
    slope = np.exp(-(behind**2) / 2 - log_below) / math.sqrt(2 * math.pi) * (rivals / tau)[..., None]
    share = masses / masses.sum()
    return float(((means[:, None] - errors[:, None] ** 2 * slope.sum(1)) * chosen).sum(0) @ share / (chosen.sum(0) @ share))


def _student(values: np.ndarray) -> tuple[float | None, float | None]:
    """Student's interval of one configuration's mean over its seeds."""
    finite = values[np.isfinite(values)]
    if len(finite) < 2:
        return None, None
    from scipy.special import stdtrit

    half = float(stdtrit(len(finite) - 1, 1 - _TAIL) * finite.std(ddof=1) / math.sqrt(len(finite)))
    return float(finite.mean()) - half, float(finite.mean()) + half


def _placed(values: np.ndarray, where: np.ndarray, count: int) -> np.ndarray:
    whole = np.full(count, np.nan)
    whole[where] = values
    return whole


# --- effects of settings


_Factors = dict[str, tuple[np.ndarray, list[str]]]
"""By setting: the number of its value for each configuration, int (K,), and its values."""


def _factors(settings: Sequence[Mapping[str, str]]) -> _Factors:
    """The settings with more than one value; those that part the configurations alike are one."""
    groups: dict[tuple[int, ...], tuple[list[str], list[str]]] = {}
    for name in settings[0]:
        values = list(dict.fromkeys(s[name] for s in settings))
        if len(values) > 1:
            names, _ = groups.setdefault(tuple(values.index(s[name]) for s in settings), ([], values))
            names.append(name)
    return {" with ".join(names): (np.array(code), values) for code, (names, values) in groups.items()}


@dataclass(frozen=True, eq=False)
class _Model:
    """A linear model of the trials; ``inverse`` (P, N) gives its coefficients, ``space`` (P, P) projects onto what they can tell."""

    inverse: np.ndarray
    space: np.ndarray

    @classmethod
    def of(cls, blocks: Sequence[np.ndarray]) -> _Model:
        x = np.hstack(blocks)
        inverse = np.linalg.pinv(x)
        return cls(inverse, inverse @ x)

    def average(self, blocks: Sequence[np.ndarray], number: int, start: int) -> np.ndarray:
        """(L, P): for each level of a block, the level itself at the average of the levels of the others."""
        others = np.concatenate([np.full(b.shape[1], 0.0 if i == number else 1 / b.shape[1]) for i, b in enumerate(blocks)])
        levels = np.zeros((blocks[number].shape[1], len(others)))
        levels[:, start : start + len(levels)] = np.eye(len(levels))
        return others + levels

    def can_detect(self, contrasts: np.ndarray) -> bool:
        return bool(np.abs(contrasts @ self.space - contrasts).max() < 1e-6)


def _main_effect(
    name: str,
    labels: Sequence[str],
    trials: np.ndarray,
    steps: np.ndarray,
    model: _Model,
    values: np.ndarray,
    fitted: _Fit,
    terms: int,
) -> Effect | None:
    if not model.can_detect(steps):
        return None
    weights = steps @ model.inverse
    means = weights @ values
    best, worst = int(np.argmax(means)), int(np.argmin(means))
    difference = float(means[best] - means[worst])
    interval = Interval(difference, None, None)
    if fitted.noise is not None:
        variance, df = fitted.noise.variance((weights[best] - weights[worst]) ** 2 @ fitted.member)
        half = _range_quantile(len(labels), round(float(df), 6), 1 - (1 - LEVEL) / terms) * math.sqrt(float(variance) / 2)
        interval = Interval(difference, difference - half, difference + half)
    levels = tuple(Level(label, float(mean), int(n)) for label, mean, n in zip(labels, means, trials, strict=True))
    return Effect((name,), f"{labels[best]} over {labels[worst]}", interval, levels)


@lru_cache(maxsize=256)
def _range_quantile(levels: int, df: float, level: float) -> float:
    from scipy.stats import studentized_range  # slow to import

    return float(studentized_range.ppf(level, levels, df))


def _interaction(
    one: str,
    two: str,
    factors: _Factors,
    codes: Mapping[str, np.ndarray],
    blocks: Sequence[np.ndarray],
    values: np.ndarray,
    fitted: _Fit,
    terms: int,
) -> Effect | None:
    """The difference of differences that is largest against its error, of the values of two settings."""
    firsts, seconds = factors[one][1], factors[two][1]
    cells = codes[one] * len(seconds) + codes[two]
    model = _Model.of([*blocks, np.eye(len(firsts) * len(seconds))[cells]])
    before = sum(block.shape[1] for block in blocks)
    present = set(cells.tolist())
    intervals: list[tuple[float, float, float, float, str]] = []
    for (i, j), (k, m) in itertools.product(itertools.combinations(range(len(firsts)), 2), itertools.combinations(range(len(seconds)), 2)):
        corners = [i * len(seconds) + k, j * len(seconds) + m, i * len(seconds) + m, j * len(seconds) + k]
        contrast = np.zeros(len(model.space))
        contrast[[before + c for c in corners]] = (1, 1, -1, -1)
        if not present.issuperset(corners) or not model.can_detect(contrast[None]):
            continue
        weights = contrast @ model.inverse
        value = float(weights @ values)
        variance, df = (1.0, 1.0) if fitted.noise is None else fitted.noise.variance(weights**2 @ fitted.member)
        high, low = (seconds[k], seconds[m]) if value > 0 else (seconds[m], seconds[k])
        error = math.sqrt(float(variance))
        words = f"{high} over {low}, more at {firsts[i]} than at {firsts[j]}"
        intervals.append((abs(value) / error, abs(value), error, float(df), words))
    if not intervals:
        return None
    _, value, error, df, words = max(intervals)
    if fitted.noise is None:
        return Effect((one, two), words, Interval(value, None, None))
    from scipy.special import stdtrit

    half = float(stdtrit(df, 1 - (1 - LEVEL) / 2 / terms / len(intervals))) * error
    return Effect((one, two), words, Interval(value, value - half, value + half))
