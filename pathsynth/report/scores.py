"""Find metric records, and format them for people: a value with its interval and its n."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from pathsynth.ledger.records import Metric

BEFORE, AFTER = "before filtering", "after filtering"
REJECTED = "rejected_"
"""Prefix of the names of metrics of rejected first attempts."""
GATE, JUDGE = "gate", "judge"
COLOUR = "colour"
"""The scorer that sees colour histograms only."""


CLASSIFIER = "classifier"
"""The scorer of real images in a study of classifiers, whose images are:"""
OF_VAL, OF_TEST = "of the val split", "of the test split"

MAIN_SCORES: Mapping[str, str] = {
    "f1_gate": "macro-F1 before filtering, gate",
    "f1_judge": "macro-F1 before filtering, judge",
    "acceptance": "first attempts that the gate accepts",
    "accepted_judge": "accepted images that the judge confirms",
}
"""The scores that every table has, by their names in :class:`pathsynth.report.collect.TrialSummary`: their names in all tables."""

_COMMON_ERRORS = "error_correlation"
"""Of gate and judge, so that it has no single scorer."""


@dataclass(frozen=True)
class Cell:
    """A number as shown. ``interval`` and ``n`` are empty where there is none."""

    value: str
    interval: str
    n: str


@dataclass(frozen=True)
class Scores:
    """The metric records of one result."""

    metrics: tuple[Metric, ...]

    def generated(self, metric: str, stage: str, scorer: str, slug: str | None = None) -> Metric | None:
        """The record of generated images; ``slug`` None is the one over all classes."""
        return self._generated.get((metric, stage, scorer, slug))

    def real(self, metric: str, scorer: str | None, split: str, slug: str | None = None) -> Metric | None:
        """The record of a score on real images of a split; ``scorer`` None: no single classifier's, ``slug`` None: over all classes."""
        return self._by_split.get((metric, scorer, slug, split))

    def beside_real(self, metric: str, slug: str) -> tuple[Metric | None, Metric | None, Metric | None]:
        """The judge's record of one class's first attempts, of its accepted images, and of as many real training images."""
        before, after = (self.generated(metric, stage, JUDGE, slug) for stage in (BEFORE, AFTER))
        return before, after, self.real(metric, JUDGE, "train", slug)

    @cached_property
    def custom(self) -> tuple[Metric, ...]:
        """The records of metrics that the user named in ``evaluate.metrics``: no classifier of ours is their scorer."""
        return tuple(m for m in self.metrics if m.scorer is None and m.metric != _COMMON_ERRORS)

    def custom_rows(self) -> list[tuple[str, str | None, tuple[Metric | None, Metric | None, Metric | None]]]:
        """A row for each of these metrics and class (None: over all): before filtering, after filtering, and on real images."""
        places = dict.fromkeys((m.metric, m.class_) for m in self.custom)
        metrics = {(m.metric, m.class_, m.stage): m for m in self.custom}
        return [(*place, (metrics.get((*place, BEFORE)), metrics.get((*place, AFTER)), metrics.get((*place, None)))) for place in places]

    @cached_property
    def _generated(self) -> Mapping[tuple[str, str | None, str | None, str | None], Metric]:
        """By metric, stage, scorer and class; of equal ones the first."""
        found = [((m.metric, m.stage, m.scorer, m.class_), m) for m in self.metrics if m.split == "generated"]
        return dict(reversed(found))

    @cached_property
    def _by_split(self) -> Mapping[tuple[str, str | None, str | None, str], Metric]:
        """By metric, scorer, class and split; of equal ones the first."""
        return dict(reversed([((m.metric, m.scorer, m.class_, m.split), m) for m in self.metrics]))

    @cached_property
    def slugs(self) -> tuple[str, ...]:
        """Classes of the generated images, in the order of the records."""
        return tuple(dict.fromkeys(m.class_ for m in self.metrics if m.class_ is not None and m.split == "generated"))


def cell(metric: Metric | None, digits: int = 3) -> Cell | None:
    """The record as shown; None stays None."""
    if metric is None:
        return None
    return Cell(f"{metric.value:.{digits}f}", interval(metric, digits), f"{metric.n:,}")


class _Bounded(Protocol):
    """A record with an interval."""

    @property
    def low(self) -> float | None: ...

    @property
    def high(self) -> float | None: ...


def interval(metric: _Bounded, digits: int = 3) -> str:
    """``[low, high]``, or nothing where the record has no interval."""
    if metric.low is None or metric.high is None:
        return ""
    return f"[{metric.low:.{digits}f}, {metric.high:.{digits}f}]"


class _Shown(_Bounded, Protocol):
    """A record with a value, an interval and an n."""

    @property
    def value(self) -> float: ...

    @property
    def n(self) -> int: ...


def shown(metric: _Shown, digits: int = 3) -> str:
    """As in "0.913 [0.890, 0.932] n=450"; without an interval where there is none."""
    return " ".join(part for part in (f"{metric.value:.{digits}f}", interval(metric, digits), f"n={metric.n:,}") if part)


def percent(metric: Metric) -> str:
    """A share in whole percent."""
    return f"{100 * metric.value:.0f}%"
