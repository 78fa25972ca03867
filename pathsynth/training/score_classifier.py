"""What a classifier scores on real images: accuracy, macro scores, calibration, a confusion matrix."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.special import softmax

from pathsynth.data.dataset import DataSet, LabelledImages
from pathsynth.data.tensors import to_float
from pathsynth.ledger.records import Metric
from pathsynth.metrics.agreement import Agreement, Interval, accuracy_auc, agreement, macro_interval, wilson
from pathsynth.metrics.calibration import ConfidenceBin, expected_calibration_error, reliability
from pathsynth.metrics.image_scores import interval_fields
from pathsynth.models.image_classifier import Classifier
from pathsynth.training.classifier_batches import VALIDATION_BATCH
from pathsynth.vocabulary.labels import LabelSpace

SCORES = "scores.json"
"""The scores beside a classifier, as a list of metric records."""


@dataclass(frozen=True)
class ClassifierScores:
    """What a classifier scores on the n real images of a split; ``auc`` is None where a class has no image.

    Of val these are the half on which neither its epoch nor its temperature was chosen (:meth:`DataSet.assessment`).

    ``ece`` is the expected calibration error of its probabilities, ``ece_uncalibrated`` that of the plain softmax. ``wrong``:
    bool (n,), where its answer is not the label. ``probabilities``: calibrated, float64 (n, C). ``reliability``: of its probabilities.
    """

    split: str
    n: int
    agreement: Agreement
    accuracy: Interval
    macro: dict[str, Interval]
    auc: float | None
    ece: float
    ece_uncalibrated: float
    wrong: np.ndarray
    probabilities: np.ndarray
    reliability: list[ConfidenceBin]

    def records(self, space: LabelSpace, data: str, seed: int, scorer: str | None = None) -> list[Metric]:
        """The scores as metric records of ``data``; ``seed`` is the classifier's, ``scorer`` its role (gate, judge)."""

        record = partial(Metric, unit="image", split=self.split, scorer=scorer, data=data, seed=seed)
        scores = {"accuracy": self.accuracy, **self.macro}
        metrics = [record(metric=name, **interval_fields(i), n=self.n) for name, i in scores.items()]
        if self.auc is not None:
            metrics.append(record(metric="auc", value=self.auc, n=self.n))
        calibration = {"ece": self.ece, "ece_uncalibrated": self.ece_uncalibrated}
        metrics += [record(metric=name, value=value, n=self.n) for name, value in calibration.items()]
        confusion = self.agreement.confusion
        for c in space.classes:
            right = int(confusion[c.index, c.index])
            for metric, count in (("recall", int(confusion[c.index].sum())), ("precision", int(confusion[:, c.index].sum()))):
                if count:
                    metrics.append(record(metric=metric, **interval_fields(wilson(right, count)), n=count, class_=c.slug))
            f1 = float(self.agreement.f1[c.index])
            metrics.append(record(metric="f1", value=f1, n=int(confusion[c.index].sum()), class_=c.slug))
        return metrics


def score_classifier(classifier: Classifier, data: DataSet, splits: Iterable[str], seed: int) -> tuple[ClassifierScores, ...]:
    """Score a classifier on the real images of each split, of val on the half that chose nothing; ``seed`` is the bootstrap's.

    val is left out where it is too small to have such a half.
    """
    parts = {split: data.assessment(split) for split in splits}
    return tuple(_scores(classifier, split, images, len(data.space), seed) for split, images in parts.items() if images is not None)


def _scores(classifier: Classifier, split: str, images: LabelledImages, classes: int, seed: int) -> ClassifierScores:
    logits = classifier_logits(classifier, images)
    probabilities = softmax(logits / classifier.temperature, axis=1)
    predictions = probabilities.argmax(axis=1)
    complete = len(np.unique(images.labels)) == classes > 1
    return ClassifierScores(
        split=split,
        n=len(images),
        agreement=agreement(images.labels, predictions, classes),
        accuracy=wilson(int((predictions == images.labels).sum()), len(images)),
        macro=macro_interval(images.labels, predictions, classes, seed),
        auc=accuracy_auc(images.labels, probabilities)[1] if complete else None,
        ece=expected_calibration_error(probabilities, images.labels),
        ece_uncalibrated=expected_calibration_error(softmax(logits, axis=1), images.labels),
        wrong=predictions != images.labels,
        probabilities=probabilities,
        reliability=reliability(probabilities, images.labels),
    )


@torch.no_grad()
def classifier_logits(classifier: Classifier, images: LabelledImages) -> np.ndarray:
    """float64 (N, C)."""
    classifier.eval()
    device = next(classifier.parameters()).device
    batches = (images.images[i : i + VALIDATION_BATCH] for i in range(0, len(images), VALIDATION_BATCH))
    return torch.cat([classifier.logits(to_float(batch).to(device)).cpu() for batch in batches]).numpy()
