"""How far a classifier's probabilities mean what they say, and the temperature that mends them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from torchmetrics.functional.classification import multiclass_calibration_error

_COOLEST, _HOTTEST = 0.05, 20.0
_BINS = 10


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T at which softmax(logits / T) gives the labels the highest likelihood (Guo et al., arXiv 1706.04599, 4.2).

    Args:
        logits: float (N, C).
        labels: int (N,) in [0, C).

    Returns:
        T in [0.05, 20]; 1 without images, or where the logits are not finite. It changes no ranking within an image.
    """
    if len(labels) == 0 or not np.isfinite(logits).all():
        return 1.0
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean())

    optimum = minimize_scalar(loss, bounds=(np.log(_COOLEST), np.log(_HOTTEST)), method="bounded")
    return float(np.exp(optimum.x))


@dataclass(frozen=True)
class ConfidenceBin:
    """The images whose most probable class has a probability in one of ten equal parts of [0, 1].

    ``images``: how many, of which ``right`` are so; ``confidence``: the mean of that probability.
    """

    images: int
    right: int
    confidence: float


def reliability(probabilities: np.ndarray, labels: np.ndarray) -> list[ConfidenceBin]:
    """What a reliability diagram shows: the bins that hold an image, from low to high confidence (ibid., section 2).

    Args:
        probabilities: float (N, C) in [0, 1].
        labels: int (N,) in [0, C).
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    members = (bins == b for b in np.unique(bins))
    return [ConfidenceBin(int(chosen.sum()), int(right[chosen].sum()), float(confidence[chosen].mean())) for chosen in members]


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equally wide bins of confidence, weighted by their images (ibid., eq. 3).

    Args:
        probabilities: float (N, C) in [0, 1].
        labels: int (N,) in [0, C).
        bins: their number.
    """
    scores, truth = torch.from_numpy(probabilities), torch.from_numpy(labels)
    return float(multiclass_calibration_error(scores, truth, probabilities.shape[1], n_bins=bins, norm="l1"))
