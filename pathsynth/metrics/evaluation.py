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
from pathsynth.metrics.fidelity import coverage, frechet_distance, kid, precision_recall_density
from pathsynth.metrics.memorisation import copy_bound, near_copies
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
    """What generated sets are compared with.

    ``features``: of the real images, float64 (N, F); ``train``: of the training images, float32 (M, F); ``bound``: the distance to them
    below which 1% of the real images lie. ``metrics``: what as many real training images as a set has first attempts reach.
    """

    features: np.ndarray
    train: np.ndarray
    bound: float
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
    train = features(judge, data.split("train").images)
    return Reference(real, train.astype(np.float32), copy_bound(real, train), tuple(_reached_by_real(real, train, data.name, n, seed)))


def evaluate_set(
    rows: Sequence[AttemptRow],
    folder: Path,
    judge: Classifier,
    data: DataSet,
    reference: Reference,
    seed: int,
    prompts: str = "canonical",
) -> Evaluation:
    """Score a generated set.

    Args:
        rows: every attempt of the set, in any order.
        folder: where the rows' image paths start.
        judge: the independent classifier.
        data: the real data.
        reference: of as many images as the set has first attempts.
        seed: of the bootstrap, and recorded with every metric.
        prompts: what kind the images were asked for with; recorded with every metric of generated images.
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
    metrics = [m for s in scored for m in _agreement_metrics(s, data, seed, prompts)]
    metrics += _acceptance_metrics(rows, data, seed, prompts)
    missing = [] if accepted else [Missing("judge after filtering", "the gate accepted no image")]
    for stage, chosen in ((BEFORE, first), (AFTER, accepted)):
        found, absent = _closeness(chosen, folder, judge, reference, (prompts, data.name, seed), stage)
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


def _agreement_metrics(scored: _Scored, data: DataSet, seed: int, prompts: str) -> list[Metric]:
    classes = len(data.space)
    n = len(scored.labels)
    result = agreement(scored.labels, scored.predictions, classes)

    def record(metric: str, value: float, low: float | None, high: float | None, count: int, slug: str | None = None) -> Metric:
        return Metric(
            metric, value, low, high, count, "image", slug, "generated", scored.stage, scored.scorer, prompts, data.name, seed
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


def _acceptance_metrics(rows: Sequence[AttemptRow], data: DataSet, seed: int, prompts: str) -> list[Metric]:
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
            return Metric(metric, value, low, high, n, unit, slug, "generated", BEFORE, "gate", prompts, data.name, seed)

        for metric, hits in (("acceptance", sum(r.accepted for r in first)), ("slots_accepted", accepted)):
            interval = wilson(hits, slots)
            records.append(record(metric, interval.value, interval.low, interval.high, slots, "slot"))
        records.append(record("exhausted_slots", float(slots - accepted), None, None, slots, "slot"))
        if accepted:
            records.append(record("attempts_per_accepted", len(group) / accepted, None, None, accepted, "image"))
    return records


def _closeness(
    rows: Sequence[AttemptRow], folder: Path, judge: Classifier, reference: Reference, origin: tuple[str, str, int], stage: str
) -> tuple[list[Metric], list[Missing]]:
    """How close a set is to the real images, how much of them it covers, and how near training images it comes; in the judge's features.

    ``origin``: kind of prompts, data and seed, as every record has them.
    """
    kept = [r for r in rows if r.image]
    if len(kept) < _FEWEST:
        reason = f"{len(kept)} images are too few to compare with a distribution ({_FEWEST} at least)"
        return [], [Missing(f"{metric} {stage}", reason) for metric in ("kid", "coverage")]
    fake = features(judge, _read(kept, folder))
    prompts, data, seed = origin
    found = {**_distances(reference.features, fake, seed), "near_copies": near_copies(fake, reference.train, reference.bound)}
    return [
        Metric(name, i.value, *_ends(i), len(kept), "image", None, "generated", stage, "judge", prompts, data, seed)
        for name, i in found.items()
    ], []


def _distances(real: np.ndarray, fake: np.ndarray, seed: int) -> dict[str, Interval]:
    """By name of the metric; those without an interval have NaN for its ends."""
    found = {"kid": kid(real, fake, seed), "frechet_distance": _without_interval(frechet_distance(real, fake))}
    if min(len(real), len(fake)) > _NEIGHBOURS:
        precision, recall, density = precision_recall_density(real, fake, _NEIGHBOURS)
        found |= {"coverage": coverage(real, fake, _NEIGHBOURS), "density": _without_interval(density)}
        found |= {"feature_precision": precision, "feature_recall": recall}
    return found


def _without_interval(value: float) -> Interval:
    return Interval(value, float("nan"), float("nan"))


def _ends(interval: Interval) -> tuple[float | None, float | None]:
    return (None, None) if np.isnan(interval.low) else (interval.low, interval.high)


def _reached_by_real(real: np.ndarray, train: np.ndarray, data: str, n: int, seed: int) -> list[Metric]:
    """What as many real training images as there are first attempts reach: the marks of a perfect generator."""
    chosen = np.random.default_rng(seed).permutation(len(train))[:n]
    if len(real) <= _NEIGHBOURS or len(chosen) < _FEWEST:
        return []
    return [
        Metric(name, i.value, *_ends(i), len(chosen), "image", None, "train", None, "judge", None, data, seed)
        for name, i in _distances(real, train[np.sort(chosen)], seed).items()
    ]


@torch.no_grad()
def features(classifier: Classifier, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Penultimate features, float64 (N, F), of uint8 images (N, H, W, 3)."""
    device = next(classifier.parameters()).device
    batches = [to_float(images[i : i + batch_size]).to(device) for i in range(0, len(images), batch_size)]
    return np.concatenate([classifier.features(batch).double().cpu().numpy() for batch in batches])


def _confusion(scored: _Scored, space: LabelSpace) -> list[list[int]]:
    return agreement(scored.labels, scored.predictions, len(space)).confusion.tolist()
