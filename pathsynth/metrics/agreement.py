"""Agreement between the requested (or true) classes and a classifier's answers, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, hmean, mannwhitneyu, norm


@dataclass(frozen=True)
class Interval:
    """An estimate and the two ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """Scores of N predictions over C classes; a ratio whose denominator is zero counts as 0.

    ``confusion`` is int64 (C, C), rows: requested, columns: predicted (images without a prediction are in no column, but
    count in accuracy and recall). ``precision``, ``recall`` and ``f1`` are float64 (C,); macro scores are their plain means
    over all C classes.
    """

    confusion: np.ndarray
    accuracy: float
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    @property
    def macro_precision(self) -> float:
        """Mean precision of the classes, in [0, 1]."""
        return float(self.precision.mean())

    @property
    def macro_recall(self) -> float:
        """Mean recall of the classes, in [0, 1]."""
        return float(self.recall.mean())

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes, in [0, 1]."""
        return float(self.f1.mean())


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """A proportion and its Wilson score interval.

    Raises:
        ValueError: ``n`` is not positive, or ``successes`` lies outside 0..n.
    """
    interval = _binomial(successes, n).proportion_ci(confidence_level=level, method="wilson")
    return Interval(successes / n, float(interval.low), float(interval.high))


def effective_wilson(share: float, n: float, level: float = 0.95) -> Interval:
    """Wilson's interval of a share that is as certain as one of ``n`` > 0 independent trials, ``n`` not being whole (Wilson 1927, eq. 6).

    For a share of so many images the effective number of trials is theirs over the :func:`design_effect`.
    """
    z, n = float(norm.ppf((1 + level) / 2)), float(n)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2))
    return Interval(share, min(max(0.0, centre - half), share), max(min(1.0, centre + half), share))


def design_effect(variance: float, independent: float, least: float = 0.0) -> float:
    """The variance of a score over that of as many ``independent`` images (Kish 1965); above 0.

    ``least``: a variance that both get, so that a score which all but never changes counts as of independent images.
    """
    return (variance + least) / (independent + least) if independent + least else 1.0


def agreement(labels: np.ndarray, predictions: np.ndarray, classes: int) -> Agreement:
    """Score predictions against labels.

    Args:
        labels: int (N,) in 0..classes−1.
        predictions: int (N,) in 0..classes−1, or −1 for an image that got no prediction (always wrong).
        classes: C.

    Raises:
        ValueError: shapes differ, there are no images, or a value lies outside its range.
    """
    counts = _counts(labels, predictions, classes)
    precision, recall, f1 = _scores(counts)
    confusion = counts[:, :classes]
    return Agreement(confusion, float(np.trace(confusion) / counts.sum()), precision, recall, f1)


def macro_interval(
    labels: np.ndarray, predictions: np.ndarray, classes: int, seed: int, resamples: int = 2000, level: float = 0.95
) -> dict[str, Interval]:
    """``macro_precision``, ``macro_recall`` and ``macro_f1`` with Wilson's interval of as many images as their variance is worth.

    The variance is a bootstrap's, stratified by true class: the images of each class are resampled, with replacement, one fewer than
    there were, which keeps it unbiased (Rao and Wu 1988). For counts this is a multinomial draw of each row of the confusion matrix.
    A percentile bootstrap is too narrow where few predictions are wrong, and has no width where none is.

    Args:
        labels: int (N,) in 0..classes−1.
        predictions: int (N,), likewise, or −1, which is always wrong.
        classes: how many there are.
        seed: of the draws.
        resamples: how many are drawn.
        level: of the interval, in (0, 1).
    """
    counts = _counts(labels, predictions, classes)
    rng = np.random.default_rng(seed)
    drawn = np.stack([_resample(row, resamples, rng) for row in counts], axis=1)
    requested = counts.sum(axis=1)
    present, n = requested > 0, float(hmean(requested[requested > 0])) * int((requested > 0).sum())
    names = ("macro_precision", "macro_recall", "macro_f1")
    return {
        name: _macro_interval(score, values, present, n, level)
        for name, score, values in zip(names, _scores(counts), _scores(drawn), strict=True)
    }


def panel_accuracy(labels: np.ndarray, predictions: np.ndarray) -> Interval:
    """The mean accuracy of several judges on the same images, with Wilson's interval of as many images as its variance is worth.

    Images are the sample, judges are given: an image that all judges take for the same counts once.

    Args:
        labels: int (N,), N ≥ 1.
        predictions: int (J, N), a row a judge; −1 is always wrong.
    """
    hits = (predictions == labels).mean(axis=0)
    value, n = float(hits.mean()), len(hits)
    variance = float(hits.var(ddof=1)) / n if n > 1 else value * (1 - value)
    return effective_wilson(value, n / design_effect(variance, value * (1 - value) / n, 0.5 / n**2))


def panel_macro_interval(
    labels: np.ndarray, predictions: np.ndarray, classes: int, seed: int, resamples: int = 2000, level: float = 0.95
) -> dict[str, Interval]:
    """As :func:`macro_interval`, of the mean of several judges' scores; a draw holds the same images for all of them.

    Args:
        labels: int (N,).
        predictions: int (J, N), a row a judge; −1 is always wrong.
        classes: how many there are.
        seed: of the draws.
        resamples: how many are drawn.
        level: of the interval, in (0, 1).
    """
    rng = np.random.default_rng(seed)
    requested = np.bincount(labels, minlength=classes)
    hits, answered = (np.zeros((len(predictions), resamples, classes)) for _ in range(2))
    drawn_of = np.zeros(classes)
    for label in np.flatnonzero(requested):
        of_class = predictions[:, labels == label]
        drawn_of[label] = max(requested[label] - 1, 1)
        draws = rng.multinomial(drawn_of[label], np.full(requested[label], 1 / requested[label]), size=resamples)
        for judge, predicted in enumerate(of_class):
            counts = draws @ (predicted[:, None] == np.arange(classes)).astype(np.int64)
            hits[judge, :, label] = counts[:, label]
            answered[judge] += counts
    scores = [_scores(_counts(labels, predicted, classes)) for predicted in predictions]
    drawn = _ratios(hits, answered, drawn_of)
    present, n = requested > 0, float(hmean(requested[requested > 0])) * int((requested > 0).sum())
    names = ("macro_precision", "macro_recall", "macro_f1")
    return {
        name: _macro_interval(np.mean([score[place] for score in scores], axis=0), drawn[place].mean(axis=0), present, n, level)
        for place, name in enumerate(names)
    }


def _macro_interval(score: np.ndarray, drawn: np.ndarray, present: np.ndarray, n: float, level: float) -> Interval:
    """Of a score by class (C,) and its draws (R, C); a class that is not ``present``, bool (C,), scores 0 for certain.

    ``n``: images whose mean of equally likely hits is as precise as that of these over the classes.
    """
    mean, variance, share = float(score[present].mean()), float(drawn[:, present].mean(axis=1).var()), float(present.mean())
    interval = effective_wilson(mean, n / design_effect(variance, mean * (1 - mean) / n, 0.5 / n**2), level)
    return Interval(share * interval.value, share * interval.low, share * interval.high)


def accuracy_auc(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """ACC and AUC as MedMNIST defines them for multi-class sets: by arg-max, and the mean one-versus-rest ROC area.

    Args:
        labels: int (N,) or (N, 1).
        scores: float (N, C), larger means more likely.

    Raises:
        ValueError: a class has no image, or all of them, so that its ROC area is not defined.
    """
    labels = labels.reshape(-1)
    absent = [c for c in range(scores.shape[1]) if not 0 < int((labels == c).sum()) < len(labels)]
    if absent:
        raise ValueError(f"the ROC area is not defined for classes without images, or without others beside them: {absent}")
    areas = [_roc_area(scores[labels == c, c], scores[labels != c, c]) for c in range(scores.shape[1])]
    return float((scores.argmax(axis=1) == labels).mean()), float(np.mean(areas))


def _roc_area(positive: np.ndarray, negative: np.ndarray) -> float:
    """The chance that a positive outranks a negative, ties counting half."""
    return float(mannwhitneyu(positive, negative, method="asymptotic").statistic) / (len(positive) * len(negative))


def _binomial(successes: int, n: int):
    if n < 1:
        raise ValueError(f"a proportion of {n} trials has no interval")
    return binomtest(successes, n)


def _counts(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """int64 (C, C + 1): the confusion matrix and, last, a column for images without a prediction."""
    if labels.shape != predictions.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(f"labels and predictions must be two equally long rows, not {labels.shape} and {predictions.shape}")
    if labels.min() < 0 or labels.max() >= classes or predictions.min() < -1 or predictions.max() >= classes:
        raise ValueError(f"labels must lie in 0..{classes - 1}, predictions in -1..{classes - 1}")
    columns = np.where(predictions < 0, classes, predictions)
    flat = np.bincount(labels * (classes + 1) + columns, minlength=classes * (classes + 1))
    return flat.reshape(classes, classes + 1).astype(np.int64)


def _resample(row: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """int64 (resamples, C + 1): one class's predictions resampled, one fewer."""
    n = int(row.sum())
    return rng.multinomial(max(n - 1, 1), row / n, size=resamples) if n else np.zeros((resamples, len(row)), dtype=np.int64)


def _scores(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1, each (..., C), of counts (..., C, C + 1)."""
    confusion = counts[..., :-1]
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    return _ratios(hits, confusion.sum(axis=-2), counts.sum(axis=-1))


def _ratios(hits: np.ndarray, answered: np.ndarray, requested: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1, each (..., C), of counts (..., C)."""
    return _ratio(hits, answered), _ratio(hits, np.broadcast_to(requested, hits.shape)), _ratio(2 * hits, answered + requested)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
