"""Scores of any set of images: agreement with the requested classes and closeness to real images, as metric records. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.records import Metric, Missing, metrics_table
from pathsynth.metrics.agreement import Interval, agreement, macro_interval, wilson
from pathsynth.metrics.fidelity import frechet_distance, kid
from pathsynth.metrics.prdc import NEIGHBOURS, prdc
from pathsynth.vocabulary.labels import LabelSpace, label_space_of

if TYPE_CHECKING:
    import pandas as pd

BEFORE, AFTER = "before filtering", "after filtering"
FEWEST = 10
"""Images below which a kernel distance has no meaningful interval."""


class RealData(Protocol):
    """What a record says of the data that images stand for."""

    @property
    def name(self) -> str:
        """Name of the data set."""
        ...

    @property
    def space(self) -> LabelSpace:
        """Its classes."""
        ...


@dataclass(frozen=True)
class _NamedClasses:
    name: str
    space: LabelSpace


@dataclass(frozen=True)
class Evaluation:
    """Metric records, and what could not be measured and why.

    ``confusions``: matrices of counts (rows: requested), by "stage/scorer" or the scorer alone.
    ``judged``: the judge's probabilities, float (C,), of each image of a generated set, by requested class, slot and attempt.
    """

    metrics: tuple[Metric, ...]
    missing: tuple[Missing, ...]
    confusions: dict[str, list[list[int]]]
    judged: Mapping[tuple[str, int, int], np.ndarray] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """The metrics, a row each, with the columns of ``result.json``."""
        return metrics_table(self.metrics)


@dataclass(frozen=True)
class Scored:
    """Asked-for (or true) labels and a scorer's predictions of one set of images; broken images are predicted as −1."""

    stage: str | None
    scorer: str
    labels: np.ndarray
    predictions: np.ndarray


def evaluate_images(
    images: np.ndarray,
    labels: ArrayLike,
    classify: Callable[[np.ndarray], ArrayLike],
    classes: Sequence[str],
    *,
    real: np.ndarray | None = None,
    features: Callable[[np.ndarray], ArrayLike] | None = None,
    stage: str | None = None,
    scorer: str = "judge",
    data: str = "images",
    seed: int = 0,
) -> Evaluation:
    """Score generated images by a classifier and, if real ones are given, by how close they come to these in its features.

    Accuracy, recall and precision have Wilson's 95% intervals, macro scores Wilson's of the effective number of images; KID,
    precision, recall, density and coverage have their own (docs/explanation/evaluation.md), the Fréchet distance has none. Score filtered
    images by a classifier that did not filter them: the score by the one that did is 1 by construction.

    Args:
        images: uint8 (N, H, W, 3).
        labels: int (N,), the requested classes, by their place in ``classes``.
        classify: images to scores of the classes, (N, C); the highest one counts.
        classes: the names of the C classes.
        real: uint8 (M, H, W, 3), real images of all classes, as many of each as are requested.
        features: images to features, (N, F); given together with ``real``.
        stage: "before filtering" or "after filtering", as the records will say; None: neither.
        scorer: who ``classify`` is, as the records will say.
        data: what the images stand for, as the records will say.
        seed: of the resampling.

    Raises:
        RequestError: labels, images or what a function gives do not fit each other.
        UnknownLabelError: the names of the classes cannot be distinguished.

    >>> import numpy as np
    >>> grey = np.r_[np.full(40, 50), np.full(40, 200)].astype(np.uint8)
    >>> images = np.broadcast_to(grey[:, None, None, None], (80, 4, 4, 3))
    >>> def classify(images):
    ...     bright = images.mean(axis=(1, 2, 3)) / 255
    ...     return np.stack([1 - bright, bright], axis=1)
    >>> evaluation = evaluate_images(images, [0] * 38 + [1] * 42, classify, ["dark", "bright"])
    >>> table = evaluation.table()
    >>> table[table.metric == "accuracy"][["value", "low", "high", "n"]].round(3).to_dict("records")
    [{'value': 0.975, 'low': 0.913, 'high': 0.993, 'n': 80}]
    """
    if (real is None) != (features is None):
        raise RequestError("real images and features go together; give both, or neither")
    space, requested = label_space_of(classes), np.asarray(labels)
    are_labels = requested.shape == (len(images),) and requested.dtype.kind in "iu"
    if not len(images) or not are_labels or requested.min() < 0 or requested.max() >= len(space):
        raise RequestError(f"labels must be {len(images)} whole numbers (one an image, one at least) in 0..{len(space) - 1}")
    scores = _rows(classify, "classify", images)
    if scores.shape[1] != len(space):
        raise RequestError(f"classify gave {scores.shape[1]} columns for {len(space)} classes; return one for each")
    subject = _NamedClasses(data, space)
    scored = Scored(stage, scorer, requested.astype(np.int64), scores.argmax(axis=1))
    metrics, missing = agreement_metrics(scored, subject, seed, None), []
    if real is not None and features is not None:
        generated, others = _rows(features, "features", images), _rows(features, "features", real)
        if min(len(generated), len(others)) < FEWEST:
            few = f"{len(generated)} images or {len(others)} real ones are too few to compare with a distribution ({FEWEST} at least)"
            missing = [Missing(metric, few) for metric in ("kid", "coverage")]
        else:
            metrics += [
                Metric(
                    metric=name,
                    **interval_fields(i),
                    n=len(generated),
                    unit="image",
                    split="generated",
                    stage=stage,
                    scorer=scorer,
                    data=data,
                    seed=seed,
                )
                for name, i in distances_between(others, generated, seed).items()
            ]
    key = f"{stage}/{scorer}" if stage else scorer
    return Evaluation(tuple(metrics), tuple(missing), {key: confusion_counts(scored, space)})


def _rows(function: Callable[[np.ndarray], ArrayLike], name: str, images: np.ndarray) -> np.ndarray:
    """float64 (N, K): what a function gives for images."""
    rows = np.asarray(function(images), dtype=np.float64)
    if rows.ndim != 2 or len(rows) != len(images) or not np.isfinite(rows).all():
        raise RequestError(f"{name} gave {rows.shape} for {len(images)} images; return a row of finite numbers for each")
    return rows


def overall_metrics(scored: Scored, data: RealData, seed: int, prompts: str | None, split: str = "generated") -> list[Metric]:
    """Accuracy and macro scores over all classes."""
    hits = scored.labels == scored.predictions
    intervals = {"accuracy": wilson(int(hits.sum()), len(hits)), **macro_interval(scored.labels, scored.predictions, len(data.space), seed)}
    record = _records_of(scored, data, seed, prompts, split)
    return [record(metric=name, **interval_fields(i), n=len(hits)) for name, i in intervals.items()]


def _records_of(scored: Scored, data: RealData, seed: int, prompts: str | None, split: str) -> partial[Metric]:
    """What all records of one set of images by one scorer have in common."""
    common = partial(Metric, unit="image", split=split, stage=scored.stage, scorer=scored.scorer)
    return partial(common, prompts=prompts, data=data.name, seed=seed)


def agreement_metrics(scored: Scored, data: RealData, seed: int, prompts: str | None, split: str = "generated") -> list[Metric]:
    """Those, and precision, recall and F1 of each class."""
    result = agreement(scored.labels, scored.predictions, len(data.space))

    record = _records_of(scored, data, seed, prompts, split)
    hits = scored.labels == scored.predictions
    records = overall_metrics(scored, data, seed, prompts, split)
    for c in data.space.classes:
        requested = int((scored.labels == c.index).sum())
        answered = int((scored.predictions == c.index).sum())
        right = int((hits & (scored.labels == c.index)).sum())
        for metric, count in (("recall", requested), ("precision", answered)):
            interval = wilson(right, count) if count else Interval(0.0, 0.0, 1.0)
            records.append(record(metric=metric, **interval_fields(interval), n=count, class_=c.slug))
        records.append(record(metric="f1", value=float(result.f1[c.index]), n=requested, class_=c.slug))
    return records


def distances_between(real: np.ndarray, fake: np.ndarray, seed: int) -> dict[str, Interval]:
    """By name of the metric; those without an interval have NaN for its ends."""
    intervals = {"kid": kid(real, fake, seed), "frechet_distance": _without_interval(frechet_distance(real, fake))}
    if min(len(real), len(fake)) > NEIGHBOURS:
        scores = prdc(real, fake, seed)
        intervals |= {"coverage": scores.coverage, "density": scores.density}
        intervals |= {"feature_precision": scores.precision, "feature_recall": scores.recall}
    return intervals


def _without_interval(value: float) -> Interval:
    return Interval(value, float("nan"), float("nan"))


class IntervalFields(TypedDict):
    """The fields of a :class:`Metric` that an interval gives."""

    value: float
    low: float | None
    high: float | None


def interval_fields(interval: Interval) -> IntervalFields:
    """A value and the ends of its interval; both ends None where they are NaN, for a record cannot hold that."""
    if np.isnan(interval.low):
        return {"value": interval.value, "low": None, "high": None}
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def confusion_counts(scored: Scored, space: LabelSpace) -> list[list[int]]:
    """How often images of a class (row) were predicted as each class (column), C rows of C; those without a prediction are in none.

    Raises:
        ValueError: as :func:`pathsynth.metrics.agreement.agreement`.
    """
    return agreement(scored.labels, scored.predictions, len(space)).confusion.tolist()
