"""The probability from which a classifier's answer is right often enough, class by class. No torch."""

from __future__ import annotations

import numpy as np


def precision_thresholds(probabilities: np.ndarray, labels: np.ndarray, target: float) -> np.ndarray:
    """The least probability of each class at which its answers have a wanted precision.

    Of the images that get a class, those from some probability on are kept; the threshold is the lowest at which the share of right
    ones among the kept is ``target`` or more. A class whose answers are all kept, or that was never answered, has no limit (0); one that
    is wrong where it is surest has the first number above that probability.

    Args:
        probabilities: float64 (N, C) of images that neither trained nor calibrated the classifier.
        labels: int (N,), their classes.
        target: the wanted precision, in (0, 1).

    Returns:
        float64 (C,), in [0, 1] but for rounding.
    """
    answers, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    return np.array([_threshold(probabilities[answers == c, c], labels[answers == c] == c, target) for c in range(classes)])


def _threshold(sureness: np.ndarray, right: np.ndarray, target: float) -> float:
    if not len(sureness):
        return 0.0
    order = np.argsort(-sureness, kind="stable")
    ordered, counts = sureness[order], np.arange(1, len(order) + 1)
    last_of_equals = np.append(ordered[1:] < ordered[:-1], True)
    enough = np.flatnonzero((right[order].cumsum() / counts >= target) & last_of_equals)
    if not len(enough):
        return float(np.nextafter(ordered[0], 2))
    return 0.0 if enough[-1] == len(order) - 1 else float(ordered[enough[-1]])
