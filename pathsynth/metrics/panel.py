"""What several judges say of the same images: each of them, their mean, the worst of them, and their majority. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pathsynth.ledger.records import PANEL_MAJORITY, PANEL_MEAN, PANEL_WORST, Metric
from pathsynth.metrics.agreement import panel_accuracy, panel_macro_interval
from pathsynth.metrics.image_scores import Evaluation, RealData, Scored, agreement_metrics, confusion_counts


def evaluate_panel(
    labels: np.ndarray,
    answers: Mapping[str, np.ndarray],
    data: RealData,
    seed: int,
    *,
    stage: str | None,
    split: str = "generated",
    prompts: str | None = None,
) -> Evaluation:
    """Score one set of images by every judge of a panel, and by the panel as a whole.

    ``panel_mean`` is the mean of the judges' scores; its interval is of the images that were drawn, with these judges given.
    ``panel_worst`` is the lowest of each score and has the interval of the judge that gave it; as the least of several it is a little
    lower than that judge deserves. ``panel_majority`` counts the class that most judges name, of equally many the one with the
    higher mean probability.

    Args:
        labels: int64 (N,), N ≥ 1, the requested classes (or true).
        answers: of each judge, by its name as a scorer, calibrated probabilities float (N, C), a row of NaN for an image without a picture.
        data: what the images stand for.
        seed: of the resampling, and recorded with every metric.
        stage: of the records: before or after filtering; None for real images.
        split: of the records.
        prompts: of the records; None for real images.
    """
    votes = {name: _predictions(rows) for name, rows in answers.items()}
    each = [Scored(stage, name, labels, predicted) for name, predicted in votes.items()]
    majority = Scored(stage, PANEL_MAJORITY, labels, majority_vote(np.stack(list(answers.values()))))
    of_each = {scored.scorer: agreement_metrics(scored, data, seed, prompts, split) for scored in each}
    metrics = [metric for records in of_each.values() for metric in records]
    metrics += agreement_metrics(majority, data, seed, prompts, split)
    metrics += _mean(labels, np.stack(list(votes.values())), data, seed, list(of_each.values()))
    metrics += _worst(list(of_each.values()))
    confusions = {f"{stage or split}/{scored.scorer}": confusion_counts(scored, data.space) for scored in (*each, majority)}
    return Evaluation(tuple(metrics), (), confusions)


def majority_vote(answers: np.ndarray) -> np.ndarray:
    """int64 (N,): the class that most judges name, of equally many the one with the higher mean probability; −1 without a picture.

    ``answers``: float (J, N, C), a row of NaN for an image without a picture.
    """
    absent = np.isnan(answers).any(axis=(0, 2))
    known = np.nan_to_num(answers)
    votes = (known.argmax(axis=2)[..., None] == np.arange(answers.shape[2])).sum(axis=0)
    return np.where(absent, -1, (votes + known.mean(axis=0) / 2).argmax(axis=1)).astype(np.int64)


def _predictions(answers: np.ndarray) -> np.ndarray:
    """int64 (N,): the class of the highest probability, −1 where there is none."""
    absent = np.isnan(answers).any(axis=1)
    return np.where(absent, -1, np.nan_to_num(answers).argmax(axis=1)).astype(np.int64)


def _mean(labels: np.ndarray, predictions: np.ndarray, data: RealData, seed: int, of_each: list[list[Metric]]) -> list[Metric]:
    """Records like those of a judge, with the means of all: over all classes, and of each class its recall, and F1 without an interval."""
    overall = {"accuracy": panel_accuracy(labels, predictions), **panel_macro_interval(labels, predictions, len(data.space), seed)}
    index = {c.slug: c.index for c in data.space.classes}
    records = []
    for same in zip(*of_each, strict=True):
        like = same[0]
        if like.class_ is None:
            interval = overall[like.metric]
            records.append(replace(like, scorer=PANEL_MEAN, value=interval.value, low=interval.low, high=interval.high))
        elif like.metric == "recall" and like.n:
            of_class = labels == index[like.class_]
            interval = panel_accuracy(labels[of_class], predictions[:, of_class])
            records.append(replace(like, scorer=PANEL_MEAN, value=interval.value, low=interval.low, high=interval.high))
        elif like.metric == "f1":
            records.append(replace(like, scorer=PANEL_MEAN, value=float(np.mean([m.value for m in same]))))
    return records


def _worst(of_each: list[list[Metric]]) -> list[Metric]:
    """Of each score over all classes, and of each class's recall and F1, the lowest record."""
    metrics = []
    for records in zip(*of_each, strict=True):
        if records[0].class_ is None or records[0].metric in ("recall", "f1"):
            metrics.append(replace(min(records, key=lambda m: m.value), scorer=PANEL_WORST))
    return metrics
