"""The published result that ours stands beside (Choudhary, arXiv 2506.00786): before filtering, 90 images, ten a class."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperScores:
    """Precision, recall and F1 in [0, 1] of one class, or their means over the classes."""

    precision: float
    recall: float
    f1: float


IMAGES = 90
MACRO = PaperScores(precision=0.6817, recall=0.7111, f1=0.6727)
MACRO_F1_INTERVAL = (0.60, 0.73)
"""95% bootstrap interval, recomputed from the published confusion matrix (to two digits)."""

BY_CLASS = {
    "adipose": PaperScores(1.0, 1.0, 1.0),
    "background": PaperScores(0.909, 1.0, 0.952),
    "debris": PaperScores(0.833, 1.0, 0.909),
    "lymphocytes": PaperScores(1.0, 0.6, 0.750),
    "mucus": PaperScores(0.353, 0.6, 0.444),
    "smooth-muscle": PaperScores(0.625, 1.0, 0.769),
    "normal-mucosa": PaperScores(0.0, 0.0, 0.0),
    "cancer-stroma": PaperScores(0.615, 0.8, 0.696),
    "adenocarcinoma": PaperScores(0.8, 0.4, 0.533),
}
"""By class slug; rows recomputed from the published confusion matrix."""
