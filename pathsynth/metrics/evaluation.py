"""The evaluation protocol: from a generated set to metric records, each with its n, interval, stage and scorer.

First attempts alone are scored "before filtering": they are what the adapter draws when nobody helps it. "After
filtering" means the accepted image of each slot; only the judge scores it, for the gate's score of what it accepted is
1 by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pathsynth.data.dataset import DataSet
from pathsynth.data.tensors import to_float
from pathsynth.ledger.records import Metric, Missing
from pathsynth.metrics.agreement import Interval, agreement, macro_interval, wilson
from pathsynth.metrics.fidelity import coverage, kid
from pathsynth.models.classifier import Classifier
from pathsynth.sampling.attempts import AttemptRow
from pathsynth.sampling.gate import class_probabilities
from pathsynth.sampling.pictures import read_png
from pathsynth.vocabulary.labels import LabelSpace

BEFORE, AFTER = "before filtering", "after filtering"
_FEWEST = 10
"""Images below which a kernel distance has no meaningful interval."""
_NEIGHBOURS = 5


@dataclass(frozen=True)
class Evaluation:
    """Metric records, what could not be measured and why, and confusion matrices (rows: asked for) by "stage/scorer"."""

    metrics: tuple[Metric, ...]
    missing: tuple[Missing, ...]
    confusions: dict[str, list[list[int]]]


@dataclass(frozen=True)
class _Scored:
    """Asked-for labels and a scorer's predictions of one set of images; broken images are predicted as −1."""

    stage: str
    scorer: str
    labels: np.ndarray
    predictions: np.ndarray


@dataclass(frozen=True)
class Reference:
    """What generated sets are compared with: ``features`` of the real images, float64 (N, F), and what real training images reach."""

    features: np.ndarray
    metrics: tuple[Metric, ...]


def real_reference(judge: Classifier, data: DataSet, split: str, n: int, seed: int) -> Reference:
    """The reference for sets of ``n`` images.

    Args:
        judge: the independent classifier; distances are taken in its features.
        data: the real data; its ``split`` ("val" or "test") is the reference of KID and coverage.
        split: see ``data``.
        n: training images whose coverage is measured.
        seed: which training images are drawn; recorded with the metric.
    """
    real = features(judge, data.split(split).images)
    return Reference(real, tuple(_coverage_of_real(judge, real, data, n, seed)))


def evaluate_set(rows: Sequence[AttemptRow], folder: Path, judge: Classifier, data: DataSet, reference: Reference, seed: int) -> Evaluation:
    """Score a generated set.

    Args:
        rows: every attempt of the set, in any order.
        folder: where the rows' image paths start.
        judge: the independent classifier.
        data: the real data.
        reference: of as many images as the set has first attempts.
        seed: of the bootstrap, and recorded with every metric.
    """
    space = data.space
    first = [r for r in rows if r.attempt == 0]
    accepted = [r for r in rows if r.accepted]
    judged = {BEFORE: _judge(first, folder, judge), AFTER: _judge(accepted, folder, judge)}
    scored = [
        _Scored(BEFORE, "gate", _labels(first), np.array([r.predicted for r in first])),
        _Scored(BEFORE, "judge", _labels(first), judged[BEFORE]),
        *([_Scored(AFTER, "judge", _labels(accepted), judged[AFTER])] if accepted else []),
    ]
    metrics = [m for s in scored for m in _agreement_metrics(s, data, seed)]
    metrics += _acceptance_metrics(rows, data, seed)
    missing = [] if accepted else [Missing("judge after filtering", "the gate accepted no image")]
    for stage, chosen in ((BEFORE, first), (AFTER, accepted)):
        found, absent = _closeness(chosen, folder, judge, reference.features, data.name, stage, seed)
        metrics += found
        missing += absent
    metrics += reference.metrics
    confusions = {f"{s.stage}/{s.scorer}": _confusion(s, space) for s in scored}
    return Evaluation(tuple(metrics), tuple(missing), confusions)


def _labels(rows: Sequence[AttemptRow]) -> np.ndarray:
    return np.array([r.label for r in rows], dtype=np.int64)


def _judge(rows: Sequence[AttemptRow], folder: Path, judge: Classifier) -> np.ndarray:
    predictions = np.full(len(rows), -1, dtype=np.int64)
    kept = [i for i, r in enumerate(rows) if r.image]
    if kept:
        predictions[kept] = class_probabilities(judge, _read(rows, folder)).argmax(axis=1)
    return predictions


def _read(rows: Sequence[AttemptRow], folder: Path) -> np.ndarray:
    return np.stack([read_png(folder / r.image) for r in rows if r.image])


def _agreement_metrics(scored: _Scored, data: DataSet, seed: int) -> list[Metric]:
    classes = len(data.space)
    n = len(scored.labels)
    result = agreement(scored.labels, scored.predictions, classes)

    def record(metric: str, value: float, low: float | None, high: float | None, count: int, slug: str | None = None) -> Metric:
        return Metric(
            metric, value, low, high, count, "image", slug, "generated", scored.stage, scored.scorer, "canonical", data.name, seed
        )

    hits = scored.labels == scored.predictions
    accuracy = wilson(int(hits.sum()), n)
    records = [record("accuracy", accuracy.value, accuracy.low, accuracy.high, n)]
    for name, interval in macro_interval(scored.labels, scored.predictions, classes, seed).items():
        records.append(record(name, interval.value, interval.low, interval.high, n))
    for c in data.space.classes:
        asked = int((scored.labels == c.index).sum())
        answered = int((scored.predictions == c.index).sum())
        right = int((hits & (scored.labels == c.index)).sum())
        for metric, count in (("recall", asked), ("precision", answered)):
            interval = wilson(right, count) if count else Interval(0.0, 0.0, 1.0)
            records.append(record(metric, interval.value, interval.low, interval.high, count, c.slug))
        records.append(record("f1", float(result.f1[c.index]), None, None, asked, c.slug))
    return records


def _acceptance_metrics(rows: Sequence[AttemptRow], data: DataSet, seed: int) -> list[Metric]:
    """Acceptance is the share of first attempts that the rule accepts: later attempts exist only where the first failed."""
    groups: list[tuple[str | None, list[AttemptRow]]] = [(None, list(rows))]
    groups += [(c.slug, [r for r in rows if r.label == c.index]) for c in data.space.classes]
    records = []
    for slug, group in groups:
        first = [r for r in group if r.attempt == 0]
        if not first:
            continue
        slots, accepted = len(first), sum(r.accepted for r in group)

        def record(metric: str, value: float, low: float | None, high: float | None, n: int, unit: str, slug: str | None = slug) -> Metric:
            return Metric(metric, value, low, high, n, unit, slug, "generated", BEFORE, "gate", "canonical", data.name, seed)

        for metric, hits in (("acceptance", sum(r.accepted for r in first)), ("slots_accepted", accepted)):
            interval = wilson(hits, slots)
            records.append(record(metric, interval.value, interval.low, interval.high, slots, "slot"))
        records.append(record("exhausted_slots", float(slots - accepted), None, None, slots, "slot"))
        if accepted:
            records.append(record("attempts_per_accepted", len(group) / accepted, None, None, accepted, "image"))
    return records


def _closeness(
    rows: Sequence[AttemptRow], folder: Path, judge: Classifier, real: np.ndarray, data: str, stage: str, seed: int
) -> tuple[list[Metric], list[Missing]]:
    """KID to the real images, and how many of them are covered, in the judge's features."""
    kept = [r for r in rows if r.image]
    if len(kept) < _FEWEST:
        reason = f"{len(kept)} images are too few to compare with a distribution ({_FEWEST} at least)"
        return [], [Missing(f"{metric} {stage}", reason) for metric in ("kid", "coverage")]
    fake = features(judge, _read(kept, folder))

    def record(metric: str, interval: Interval) -> Metric:
        value, low, high = interval.value, interval.low, interval.high
        return Metric(metric, value, low, high, len(kept), "image", None, "generated", stage, "judge", "canonical", data, seed)

    covered = [record("coverage", coverage(real, fake, _NEIGHBOURS))] if len(real) > _NEIGHBOURS else []
    return [record("kid", kid(real, fake, seed)), *covered], []


def _coverage_of_real(judge: Classifier, real: np.ndarray, data: DataSet, n: int, seed: int) -> list[Metric]:
    """What as many real training images as there are first attempts cover: the mark that a perfect generator would reach."""
    train = data.split("train").images
    chosen = np.random.default_rng(seed).permutation(len(train))[:n]
    if len(real) <= _NEIGHBOURS or len(chosen) < _FEWEST:
        return []
    found = coverage(real, features(judge, train[np.sort(chosen)]), _NEIGHBOURS)
    value, low, high = found.value, found.low, found.high
    return [Metric("coverage", value, low, high, len(chosen), "image", None, "train", None, "judge", None, data.name, seed)]


@torch.no_grad()
def features(classifier: Classifier, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Penultimate features, float64 (N, F), of uint8 images (N, H, W, 3)."""
    device = next(classifier.parameters()).device
    batches = [to_float(images[i : i + batch_size]).to(device) for i in range(0, len(images), batch_size)]
    return np.concatenate([classifier.features(batch).double().cpu().numpy() for batch in batches])


def _confusion(scored: _Scored, space: LabelSpace) -> list[list[int]]:
    return agreement(scored.labels, scored.predictions, len(space)).confusion.tolist()
