"""What colour alone gives away: a logistic regression on colour histograms, the mark beside which every agreement figure is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pathsynth.data.images import Images

_BINS = 8
_ROUNDS = 500
_ROWS = 256


@dataclass(frozen=True)
class ColourClassifier:
    """Linear in the histogram: ``weights`` float64 (C, 24), ``bias`` float64 (C,)."""

    weights: np.ndarray
    bias: np.ndarray

    def predict(self, images: Images) -> np.ndarray:
        """Classes, int64 (N,), of uint8 images (N, H, W, 3)."""
        return (histograms(images) @ self.weights.T + self.bias).argmax(axis=1)


def fit_colour(images: Images, labels: np.ndarray, classes: int) -> ColourClassifier:
    """Fit on uint8 images (N, H, W, 3) with labels int (N,) of at least two classes; a class without images is never predicted.

    Raises:
        ValueError: all images are of one class.
    """
    shares, scaler = histograms(images), StandardScaler()
    fitted = LogisticRegression(max_iter=_ROUNDS).fit(scaler.fit_transform(shares), labels)
    two = len(fitted.classes_) == 2  # scikit-learn then keeps the second class's row alone
    coefficients = np.concatenate([np.zeros_like(fitted.coef_), fitted.coef_]) if two else fitted.coef_
    intercepts = np.concatenate([[0.0], fitted.intercept_]) if two else fitted.intercept_
    weights, bias = np.zeros((classes, coefficients.shape[1])), np.full(classes, -np.inf)
    weights[fitted.classes_] = coefficients / scaler.scale_
    bias[fitted.classes_] = intercepts - weights[fitted.classes_] @ scaler.mean_
    return ColourClassifier(weights, bias)


def histograms(images: Images) -> np.ndarray:
    """Share of pixels in each of 8 levels of R, G and B: float32 (N, 24) of uint8 images (N, H, W, 3)."""
    parts = [_histograms(images[i : i + _ROWS]) for i in range(0, len(images), _ROWS)]
    return np.concatenate(parts) if parts else np.empty((0, 3 * _BINS), np.float32)


def _histograms(images: np.ndarray) -> np.ndarray:
    levels = images.reshape(len(images), -1, 3) // (256 // _BINS)
    return np.concatenate([(levels == level).mean(axis=1, dtype=np.float32) for level in range(_BINS)], axis=1)
