"""The measures by which a study's page compares configurations: names in plain English, and where to find them in a trial."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from pathsynth.ledger.records import PANEL_MEAN, PANEL_WORST, Metric
from pathsynth.report.collect import TrialSummary
from pathsynth.report.glossary import load_glossary
from pathsynth.report.leaderboard import SCORES, score_columns
from pathsynth.report.scores import AFTER, BEFORE, CLASSIFIER, GATE, JUDGE, MAIN_SCORES, OF_TEST, OF_VAL, Scores
from pathsynth.report.study_verdict import seconds_per_accepted

HIGH, LOW, NOT_KNOWN = 1, -1, 0
"""Whether higher or lower is better; unknown for the user's own metrics."""


@dataclass(frozen=True)
class Reading:
    """A measure of one trial: its value, the 95% interval of chance in the images (None: not known), and its n (0: not counted)."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0


@dataclass(frozen=True, kw_only=True)
class Measure:
    """``alias`` is its name in a query, ``short`` heads a column, ``name`` says it in full, ``help`` explains it.

    Values lie between ``least`` and ``most``, and are shown with ``digits`` decimals.
    """

    key: str
    alias: str
    short: str
    name: str
    help: str
    better: int
    digits: int
    least: float
    most: float
    read: Callable[[TrialSummary], Reading | None]


def _score(metric: str, stage: str, scorer: str) -> Callable[[TrialSummary], Reading | None]:
    def read(trial: TrialSummary) -> Reading | None:
        found = Scores(trial.result.metrics).generated(metric, stage, scorer) if trial.result else None
        return reading(found) if found else None

    return read


def reading(metric: Metric) -> Reading:
    """The record's numbers alone."""
    return Reading(metric.value, metric.low, metric.high, metric.n)


def _cost(trial: TrialSummary) -> Reading | None:
    seconds = seconds_per_accepted(trial)
    return None if seconds is None else Reading(seconds)


def _time(trial: TrialSummary) -> Reading | None:
    return Reading(sum(trial.result.timings.values())) if trial.result and trial.result.timings else None


_CLASSES = {BEFORE: "of the first image drawn for each request, accepted or not", AFTER: "of the images that the gate accepted"}


def _meaning(term: str) -> str:
    return load_glossary()[term].text


def _capital(name: str) -> str:
    """The name at the head of a column."""
    return name[0].upper() + name[1:]


_F1 = _meaning("macro_f1")


def _measure(
    alias: str, short: str, name: str, help: str, where: tuple[str, str, str], better: int = HIGH, digits: int = 3, most: float = 1.0
) -> Measure:
    return Measure(
        key="/".join(where),
        alias=alias,
        short=short,
        name=name,
        help=help,
        better=better,
        digits=digits,
        least=0.0,
        most=most,
        read=_score(*where),
    )


MEASURES: tuple[Measure, ...] = (
    _measure(
        "f1_judge",
        "F1, judge",
        _capital(MAIN_SCORES["f1_judge"]),
        f"{_F1} Here {_CLASSES[BEFORE]}, named by the judge, which never chooses an image.",
        ("macro_f1", BEFORE, JUDGE),
    ),
    _measure(
        "f1_gate",
        "F1, gate",
        _capital(MAIN_SCORES["f1_gate"]),
        f"{_F1} Here {_CLASSES[BEFORE]}, named by the gate.",
        ("macro_f1", BEFORE, GATE),
    ),
    _measure(
        "accepted",
        "accepted",
        _capital(MAIN_SCORES["acceptance"]),
        _meaning("acceptance"),
        ("acceptance", BEFORE, GATE),
    ),
    Measure(
        key="cost",
        alias="cost",
        short="s per image",
        name="Seconds of drawing for each accepted image",
        help=_meaning("cost"),
        better=LOW,
        digits=2,
        least=0.0,
        most=math.inf,
        read=_cost,
    ),
    _measure(
        "f1_after",
        "F1 after, judge",
        "Macro-F1 after filtering, judge",
        f"{_F1} Here {_CLASSES[AFTER]}, named by the judge.",
        ("macro_f1", AFTER, JUDGE),
    ),
    _measure(
        "confirmed",
        "confirmed",
        _capital(MAIN_SCORES["accepted_judge"]),
        "Share of the accepted images that the judge, which never chooses an image, names as the requested class.",
        ("accuracy", AFTER, JUDGE),
    ),
    _measure(
        "attempts",
        "attempts",
        "Attempts for each accepted image",
        _meaning("attempts_per_accepted"),
        ("attempts_per_accepted", BEFORE, GATE),
        LOW,
        2,
        math.inf,
    ),
    _measure(
        "unfilled",
        "unfilled",
        "Requests that were never filled",
        _meaning("exhausted_slots"),
        ("exhausted_slots", BEFORE, GATE),
        LOW,
        0,
        math.inf,
    ),
    _measure(
        "kid",
        "KID",
        "KID before filtering",
        f"{_meaning('kid')} Here {_CLASSES[BEFORE]}.",
        ("kid", BEFORE, JUDGE),
        LOW,
        4,
        math.inf,
    ),
    _measure(
        "kid_after",
        "KID after",
        "KID after filtering",
        f"{_meaning('kid')} Here {_CLASSES[AFTER]}.",
        ("kid", AFTER, JUDGE),
        LOW,
        4,
        math.inf,
    ),
    _measure(
        "coverage",
        "coverage",
        "Coverage before filtering",
        f"{_meaning('coverage')} Here {_CLASSES[BEFORE]}.",
        ("coverage", BEFORE, JUDGE),
    ),
    _measure(
        "coverage_after",
        "coverage after",
        "Coverage after filtering",
        f"{_meaning('coverage')} Here {_CLASSES[AFTER]}.",
        ("coverage", AFTER, JUDGE),
    ),
    _measure(
        "copies",
        "near copies",
        "Near copies of training images",
        f"{_meaning('near_copies')} Here {_CLASSES[AFTER]}.",
        ("near_copies", AFTER, JUDGE),
        LOW,
    ),
    Measure(
        key="time",
        alias="seconds",
        short="time, s",
        name="Seconds of all stages",
        help=_meaning("time"),
        better=LOW,
        digits=0,
        least=0.0,
        most=math.inf,
        read=_time,
    ),
)


PANEL_MEASURES: tuple[Measure, ...] = (
    _measure(
        "f1_panel",
        "F1, panel",
        "Macro-F1 before filtering, mean of the panel",
        f"{_F1} Here {_CLASSES[BEFORE]}, named by each judge of the panel, which chooses nothing; the mean over the judges.",
        ("macro_f1", BEFORE, PANEL_MEAN),
    ),
    _measure(
        "f1_worst",
        "F1, worst",
        "Macro-F1 before filtering, worst of the panel",
        f"{_F1} Here {_CLASSES[BEFORE]}, named by the judge of the panel that gives the lowest score.",
        ("macro_f1", BEFORE, PANEL_WORST),
    ),
    _measure(
        "confirmed_panel",
        "confirmed, panel",
        "Accepted images that the panel confirms, mean",
        "Share of the accepted images that a judge of the panel names as the requested class; the mean over the judges.",
        ("accuracy", AFTER, PANEL_MEAN),
    ),
)
"""Those of a panel of judges, shown where a trial has one."""


_REAL = "real images that it was not trained on"
CLASSIFIER_MEASURES: tuple[Measure, ...] = tuple(
    _measure(
        f"{alias}_{split}",
        f"{short}, {split}",
        f"{name}, {split} images",
        f"{_meaning(term)} Here of {_REAL}.",
        (term, stage, CLASSIFIER),
        better,
    )
    for split, stage in (("test", OF_TEST), ("val", OF_VAL))
    for alias, short, name, term, better in (
        ("f1", "F1", "Macro-F1", "macro_f1", HIGH),
        ("accuracy", "accuracy", "Accuracy", "accuracy", HIGH),
        ("auc", "AUC", "AUC", "auc", HIGH),
        ("ece", "ECE", "Calibration error", "ece", LOW),
    )
)
"""Those of classifiers on real images, in a study of classifiers."""


def measures(trials: Sequence[TrialSummary]) -> tuple[Measure, ...]:
    """:data:`MEASURES`, and behind them those of a panel and the user's own metrics over all classes, where any of the trials has them."""
    known = (*MEASURES, *(m for m in (*PANEL_MEASURES, *CLASSIFIER_MEASURES) if any(m.read(trial) for trial in trials)))
    aliases = {m.alias for m in known}
    custom: list[Measure] = []
    for key, (name, read) in score_columns(trials).items():
        if key in SCORES:
            continue
        alias = re.sub(r"\W+", "_", key).strip("_").lower()
        while alias in aliases:
            alias += "_own"
        aliases.add(alias)
        text = f"{name}: a metric of this study's own (evaluate.metrics)."
        custom.append(
            Measure(
                key=key,
                alias=alias,
                short=name,
                name=name,
                help=text,
                better=NOT_KNOWN,
                digits=3,
                least=-math.inf,
                most=math.inf,
                read=partial(_of_metric, read),
            )
        )
    return (*known, *custom)


def _of_metric(read: Callable[[TrialSummary], Metric | None], trial: TrialSummary) -> Reading | None:
    metric = read(trial)
    return reading(metric) if metric else None


@dataclass(frozen=True)
class ClassMeasure:
    """A measure of each class: the metric, stage and scorer of its records."""

    metric: str
    stage: str
    scorer: str
    name: str


CLASS_MEASURES: tuple[ClassMeasure, ...] = (
    ClassMeasure("acceptance", BEFORE, GATE, _capital(MAIN_SCORES["acceptance"])),
    ClassMeasure("f1", BEFORE, JUDGE, "F1 before filtering, judge"),
    ClassMeasure("f1", BEFORE, GATE, "F1 before filtering, gate"),
    ClassMeasure("recall", BEFORE, JUDGE, "First attempts that the judge confirms"),
    ClassMeasure("recall", AFTER, JUDGE, _capital(MAIN_SCORES["accepted_judge"])),
)
CLASSIFIER_CLASS_MEASURES = tuple(
    ClassMeasure(term, stage, CLASSIFIER, f"{name}, {split} images")
    for split, stage in (("test", OF_TEST), ("val", OF_VAL))
    for term, name in (("f1", "F1"), ("recall", "Recall"), ("precision", "Precision"))
)
NEEDED_CLASS_MEASURES = 2
"""The first so many are shown of classes too many for all."""
