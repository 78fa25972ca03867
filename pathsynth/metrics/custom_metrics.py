"""Metrics of the user's own: what they see of a generated set, what they give, and the records that this becomes. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Protocol

import numpy as np

from pathsynth.ledger.errors import StageError, summarize_error, summarize_value
from pathsynth.ledger.records import Metric, Missing
from pathsynth.metrics.image_scores import AFTER, BEFORE


@dataclass(frozen=True)
class MetricValue:
    """One number of a metric, with its 95% interval and what it rests on.

    ``value``: NaN where it cannot be measured, for the ``reason``. ``low`` and ``high``: None where no interval is defined. ``n`` counts
    ``unit``. ``stage``: "before filtering" or "after filtering"; None: about the real images. ``class_``: the slug of a class; None: over
    all. ``part``: distinguishes several values of one metric; it is added to the metric's name.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    unit: str = "image"
    stage: str | None = AFTER
    class_: str | None = None
    part: str = ""
    reason: str = ""


@dataclass(frozen=True)
class ImageSample:
    """Generated images, uint8 (N, H, W, 3), with the class each was asked to be and what both classifiers say of it.

    ``labels``: int64 (N,), numbers of classes. ``gate`` and ``judge``: probabilities of the C classes, float64 (N, C).
    """

    images: np.ndarray
    labels: np.ndarray
    gate: np.ndarray
    judge: np.ndarray


@dataclass(frozen=True)
class RealSample:
    """The real images that generated ones are compared with, uint8 (M, H, W, 3), and their ``labels``, int64 (M,)."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class EvaluationData:
    """What a metric sees.

    ``before``: the first attempt at each slot, whether or not it was accepted; ``after``: the accepted image of each slot. Attempts that
    gave no picture (not finite) are in neither. ``real``: the images of ``evaluate.split``. ``classes``: slugs, by label. ``seed``: for
    resampling.
    """

    before: ImageSample
    after: ImageSample
    real: RealSample
    classes: tuple[str, ...]
    seed: int


class ImageMetric(Protocol):
    """A metric of the user's own: any class with this method."""

    def measure(self, data: EvaluationData) -> MetricValue | Sequence[MetricValue]:
        """One value, or several that differ in ``part``, ``stage`` or ``class_``. It draws random numbers from ``data.seed`` alone."""
        ...


@dataclass(frozen=True)
class RecordContext:
    """What the records of an evaluation have in common, as in :class:`Metric`; ``split`` is that of the real images."""

    split: str
    prompts: str
    data: str
    seed: int


def measure_all(
    metrics: Mapping[str, ImageMetric], data: EvaluationData, context: RecordContext
) -> tuple[list[Metric], list[Missing]]:
    """The records of the user's own metrics, by their names, and what they could not measure.

    Raises:
        StageError: a metric fails, or gives what is no :class:`MetricValue` of these data; the message names it.
    """
    records: list[Metric] = []
    missing: list[Missing] = []
    for name, metric in metrics.items():
        named = f"the metric evaluate.metrics.{name} ({type(metric).__module__}.{type(metric).__qualname__})"
        places = set()
        for value in _measured(metric, data, named):
            _check(value, data.classes, named)
            place = (value.part, value.stage, value.class_)
            if place in places:
                raise StageError(f"{named} gave two values of the same stage and class; give each a part of its own")
            places.add(place)
            record = _record(name, value, context)
            if reason := _absence(value):
                missing.append(Missing(" ".join(word for word in (record.metric, value.stage, value.class_) if word), reason))
            else:
                records.append(record)
    return records, missing


def _measured(metric: ImageMetric, data: EvaluationData, named: str) -> Sequence[MetricValue]:
    try:
        measured = metric.measure(data)
    except Exception as error:  # a user's metric may raise any exception
        raise StageError(f"{named} failed ({summarize_error(error)}); correct its measure(data)") from error
    values = [measured] if isinstance(measured, MetricValue) else measured
    if not isinstance(values, (list, tuple)) or not all(isinstance(value, MetricValue) for value in values):
        raise StageError(f"{named} gave {type(measured).__name__}; return a pathsynth.MetricValue, or a list of them")
    return values


def _check(value: MetricValue, classes: Sequence[str], named: str) -> None:
    """Raises StageError for a field that no record can have; a number that is not finite is none of these."""
    for key in ("value", "low", "high"):
        number = getattr(value, key)
        if not (number is None and key != "value") and (not isinstance(number, Real) or isinstance(number, bool)):
            raise StageError(f"{named} gave {key}={summarize_value(number)}; give a number{'' if key == 'value' else ', or None'}")
    if not isinstance(value.n, (int, np.integer)) or isinstance(value.n, bool) or value.n < 0:
        raise StageError(f"{named} gave n={summarize_value(value.n)}; give how many it rests on, a whole number of 0 or more")
    if value.stage not in (BEFORE, AFTER, None):
        raise StageError(f"{named} gave stage={summarize_value(value.stage)}; give {BEFORE!r}, {AFTER!r}, or None for the real images")
    if value.class_ is not None and value.class_ not in classes:
        raise StageError(f"{named} gave class_={summarize_value(value.class_)}; give one of {', '.join(classes)}, or None")
    if not all(isinstance(text, str) for text in (value.unit, value.part, value.reason)) or not value.unit:
        words = ", ".join(f"{key}={summarize_value(getattr(value, key))}" for key in ("unit", "part", "reason"))
        raise StageError(f"{named} gave {words}; give words")


def _absence(value: MetricValue) -> str:
    """Why a value is no number that can be recorded; empty if it is one."""
    if not math.isfinite(value.value):
        return value.reason or f"the metric gave {float(value.value)}"
    ends = [end for end in (value.low, value.high) if end is not None]
    return "" if all(map(math.isfinite, ends)) else value.reason or f"the metric gave an interval from {value.low} to {value.high}"


def _record(name: str, value: MetricValue, context: RecordContext) -> Metric:
    return Metric(
        metric=f"{name}_{value.part}" if value.part else name,
        value=float(value.value),
        low=None if value.low is None else float(value.low),
        high=None if value.high is None else float(value.high),
        n=int(value.n),
        unit=value.unit,
        class_=value.class_,
        split="generated" if value.stage else context.split,
        stage=value.stage,
        scorer=None,
        prompts=context.prompts if value.stage else None,
        data=context.data,
        seed=context.seed,
    )
