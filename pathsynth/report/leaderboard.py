"""The leaderboard of a study: a row for each configuration, best first. Every table of configurations is made of these rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from statistics import fmean, stdev

from scipy.stats import t as student

from pathsynth.ledger.records import Metric
from pathsynth.report.collect import TrialSummary
from pathsynth.report.scores import MAIN_SCORES, Scores
from pathsynth.report.study_verdict import SEED, configuration_label, study_verdict

SCORES: Mapping[str, tuple[str, Callable[[TrialSummary], Metric | None]]] = {
    "macro_f1/before filtering/gate": (MAIN_SCORES["f1_gate"], lambda t: t.f1_gate),
    "macro_f1/before filtering/judge": (MAIN_SCORES["f1_judge"], lambda t: t.f1_judge),
    "acceptance/before filtering/gate": (MAIN_SCORES["acceptance"], lambda t: t.acceptance),
    "accuracy/after filtering/judge": (MAIN_SCORES["accepted_judge"], lambda t: t.accepted_judge),
}
"""The scores of a row, by metric, stage and scorer: what people call them, and where a trial has them; all are shares."""
OVER_IMAGES, OVER_SEEDS = "images", "seeds"


@dataclass(frozen=True)
class Score:
    """The mean over training seeds, its 95% interval (None: not known), and on how many images or slots it stands."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class LeaderboardRow:
    """A configuration. ``seeds``: those of its finished trials; ``unfinished``: how many trials failed or are not done.

    ``interval`` says what the intervals cover: of one seed chance in the images alone, of several Student's over the seeds.
    ``scores`` has a key for each score that was measured.
    """

    configuration: str
    settings: Mapping[str, str]
    seeds: tuple[str, ...]
    unfinished: int
    interval: str
    scores: Mapping[str, Score]


def score_columns(trials: Sequence[TrialSummary]) -> Mapping[str, tuple[str, Callable[[TrialSummary], Metric | None]]]:
    """:data:`SCORES`, and behind them the user's own metrics over all classes that any of the trials has."""
    custom = dict.fromkeys((m.metric, m.stage) for t in trials for m in _custom(t) if m.stage)
    return {**SCORES, **{f"{name}/{stage}": (f"{name} {stage}", partial(_custom_score, name=name, stage=stage)) for name, stage in custom}}


def _custom(trial: TrialSummary) -> list[Metric]:
    return [m for m in Scores(trial.result.metrics).custom if m.class_ is None] if trial.result else []


def _custom_score(trial: TrialSummary, name: str, stage: str | None) -> Metric | None:
    return next((m for m in _custom(trial) if (m.metric, m.stage) == (name, stage)), None)


def leaderboard(trials: Sequence[TrialSummary]) -> list[LeaderboardRow]:
    """The configurations in the order of the study's verdict; those without a score are last."""
    groups: dict[str, list[TrialSummary]] = {}
    for trial in trials:
        groups.setdefault(configuration_label(trial), []).append(trial)
    verdict = study_verdict(trials)
    ranked = [c.label for c in verdict.ranking] if verdict else []
    columns = score_columns(trials)
    return [_row(label, groups[label], columns) for label in (*ranked, *(label for label in groups if label not in ranked))]


def _row(
    label: str, trials: Sequence[TrialSummary], columns: Mapping[str, tuple[str, Callable[[TrialSummary], Metric | None]]]
) -> LeaderboardRow:
    finished = [t for t in trials if t.finished]
    measured = {key: [m for t in finished if (m := metric(t))] for key, (_, metric) in columns.items()}
    return LeaderboardRow(
        configuration=label,
        settings={key: value for key, _, value in (d.partition("=") for d in trials[0].differing) if key != SEED},
        seeds=tuple(t.settings.get(SEED, "") for t in finished),
        unfinished=len(trials) - len(finished),
        interval=OVER_SEEDS if len(finished) > 1 else OVER_IMAGES,
        scores={key: mean_score(metrics, *((0.0, 1.0) if key in SCORES else (-inf, inf))) for key, metrics in measured.items() if metrics},
    )


def mean_score(measured: Sequence[Metric], low: float = 0.0, high: float = 1.0) -> Score:
    """The mean of one or more trials; the score lies between ``low`` and ``high``, and so does its interval."""
    n, value = sum(m.n for m in measured), fmean(m.value for m in measured)
    if len(measured) == 1:
        return Score(value, measured[0].low, measured[0].high, n)
    half = float(student.ppf(0.975, len(measured) - 1)) * stdev(m.value for m in measured) / len(measured) ** 0.5
    return Score(value, max(low, value - half), min(high, value + half), n)
