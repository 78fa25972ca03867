"""One verdict on the configurations of a study, and further numbers of a trial for its page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from pathsynth.ledger.records import Metric
from pathsynth.metrics.comparison import Comparison, Effect, compare, effects
from pathsynth.report.collect import TrialSummary
from pathsynth.report.scores import BEFORE, GATE, Scores
from pathsynth.studies.trials.trial_table import main_scorer

SEED = "seed"


@dataclass(frozen=True)
class Configuration:
    """Trials that differ in nothing but the training seed.

    ``settings``: the varied ones. ``scores``: macro-F1 before filtering by seed, in [0, 1]. ``n``: images in all.
    """

    label: str
    settings: Mapping[str, str]
    scores: Mapping[str, float]
    n: int

    @property
    def mean(self) -> float:
        """The observed mean; configurations may have different seeds."""
        return fmean(self.scores.values())


@dataclass(frozen=True)
class StudyVerdict:
    """Which configuration is better, for the page, the Markdown report and ``pathsynth status`` alike.

    ``configurations``: those with a score, in the order by which ``comparison`` numbers them.
    """

    scorer: str
    configurations: tuple[Configuration, ...]
    comparison: Comparison

    @property
    def ranking(self) -> tuple[Configuration, ...]:
        """Best first; those that cannot be compared with the rest are last."""
        order = self.comparison.order
        return tuple(self.configurations[i] for i in (*order, *(i for i in range(len(self.configurations)) if i not in order)))

    @property
    def leader(self) -> Configuration:
        """The configuration with the highest mean score."""
        return self.ranking[0]

    @property
    def contenders(self) -> tuple[Configuration, ...]:
        """Those that cannot be distinguished from the leader, which comes first."""
        return tuple(self.configurations[i] for i in self.comparison.contenders)

    @property
    def noisy(self) -> tuple[Configuration, ...]:
        """Configurations whose scores vary more between seeds than the others'."""
        return tuple(self.configurations[i] for i in self.comparison.noisy)

    @property
    def diverged(self) -> tuple[tuple[Configuration, str], ...]:
        """Configuration and seed of each trial that was left out."""
        seeds = _seeds(self.configurations)
        return tuple((self.configurations[i], seeds[column]) for i, column in self.comparison.diverged)

    @property
    def apart(self) -> tuple[Configuration, ...]:
        """Those without a seed in common with the rest."""
        return self.ranking[len(self.comparison.order) :]


def study_verdict(trials: Sequence[TrialSummary]) -> StudyVerdict | None:
    """The verdict on the trials that have a score; None where none has."""
    scorer = main_score(trials)
    configurations = _configurations(trials, scorer)
    return StudyVerdict(scorer, configurations, compare(_table(configurations))) if configurations else None


def setting_effects(verdict: StudyVerdict) -> tuple[Effect, ...]:
    """The effect of each varied setting over all trials; empty where the configurations do not differ in settings."""
    settings = [c.settings for c in verdict.configurations]
    return effects(_table(verdict.configurations), settings) if len(settings) > 1 and settings[0] else ()


def configuration_label(trial: TrialSummary) -> str:
    """The settings in which the trial's configuration differs from others, without the training seed."""
    return ", ".join(d for d in trial.differing if d.split("=", 1)[0] != SEED) or "the one configuration"


def main_score(trials: Iterable[TrialSummary]) -> str:
    """The scorer that configurations are ranked by."""
    return main_scorer((t.f1_gate, t.f1_judge) for t in trials)


def score_of(trial: TrialSummary, scorer: str) -> Metric | None:
    """A trial's macro-F1 before filtering by the judge (``scorer`` is "judge") or else by the gate; None where there is none."""
    return trial.f1_judge if scorer == "judge" else trial.f1_gate


def _configurations(trials: Sequence[TrialSummary], scorer: str) -> tuple[Configuration, ...]:
    found: dict[str, dict[str, Metric]] = {}
    settings: dict[str, dict[str, str]] = {}
    for trial in trials:
        metric = score_of(trial, scorer)
        if metric is not None:
            label = configuration_label(trial)
            found.setdefault(label, {})[trial.settings.get(SEED, "")] = metric
            settings[label] = {key: value for key, _, value in (d.partition("=") for d in trial.differing) if key != SEED}
    return tuple(
        Configuration(label, settings[label], {s: m.value for s, m in by.items()}, sum(m.n for m in by.values()))
        for label, by in found.items()
    )


def _table(configurations: Sequence[Configuration]) -> np.ndarray:
    """Scores, float (K, S): a row for each configuration, a column for each seed, NaN where there is no score."""
    return np.array([[c.scores.get(seed, np.nan) for seed in _seeds(configurations)] for c in configurations])


def _seeds(configurations: Sequence[Configuration]) -> list[str]:
    return sorted({seed for c in configurations for seed in c.scores})


def hardest(trial: TrialSummary) -> tuple[str, str, Metric] | None:
    """The class whose first attempts the gate accepts least, the class they are most often taken for, and the acceptance."""
    if trial.result is None:
        return None
    scores = Scores(trial.result.metrics)
    rates = {slug: m for slug in scores.slugs if (m := scores.generated("acceptance", BEFORE, GATE, slug))}
    matrix = trial.result.extras.get(f"{BEFORE}/{GATE}")
    if not rates or not matrix:
        return None
    slug = min(rates, key=lambda s: rates[s].value)
    row = scores.slugs.index(slug)
    other = max((c for c in range(len(matrix)) if c != row), key=lambda c: matrix[row][c], default=row)
    return slug, scores.slugs[other] if matrix[row][other] else "", rates[slug]


def accepted_images(trial: TrialSummary) -> int | None:
    """How many slots were filled; None where it was not counted."""
    if trial.result is None:
        return None
    exhausted = Scores(trial.result.metrics).generated("exhausted_slots", BEFORE, GATE)
    return exhausted.n - round(exhausted.value) if exhausted else None


def seconds_per_accepted(trial: TrialSummary) -> float | None:
    """Seconds of generation per accepted image, whichever trial drew them; None where nothing was accepted or no time is known."""
    seconds, count = (trial.result.timings.get("generate", 0.0) if trial.result else 0.0), accepted_images(trial)
    return seconds / count if seconds and count else None
