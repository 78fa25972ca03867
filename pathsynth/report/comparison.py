"""What a study's dashboard compares: configurations over their seeds, and how sure their differences are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from pathsynth.ledger.records import Metric
from pathsynth.report.collect import TrialSummary
from pathsynth.report.scores import BEFORE, GATE, Scores

SEED = "seed"
_MOST_SEEDS = 60


@dataclass(frozen=True)
class Configuration:
    """Trials that differ in nothing but the training seed. ``scores``: macro-F1 before filtering by seed."""

    label: str
    scores: Mapping[str, float]
    n: int

    @property
    def mean(self) -> float:
        return fmean(self.scores.values())


@dataclass(frozen=True)
class Lead:
    """By how much one configuration leads another: mean of the differences at the same seeds, with Student's 95% interval.

    ``low`` and ``high`` are None where fewer than two seeds are common to both.
    """

    difference: float
    low: float | None
    high: float | None
    seeds: int


def configuration_label(trial: TrialSummary) -> str:
    """What tells the trial's configuration from the others; the training seed is left out."""
    return ", ".join(d for d in trial.differing if d.split("=", 1)[0] != SEED) or "the one configuration"


def main_score(trials: Sequence[TrialSummary]) -> str:
    """The scorer that configurations are ranked by: the judge where every finished trial has it, else the gate."""
    return "judge" if all(t.f1_judge for t in trials if t.finished) else GATE


def score_of(trial: TrialSummary, scorer: str) -> Metric | None:
    return trial.f1_judge if scorer == "judge" else trial.f1_gate


def ranked(trials: Sequence[TrialSummary], scorer: str) -> list[Configuration]:
    """The configurations with a score, best mean first."""
    found: dict[str, dict[str, Metric]] = {}
    for trial in trials:
        metric = score_of(trial, scorer)
        if metric is not None:
            found.setdefault(configuration_label(trial), {})[trial.settings.get(SEED, "")] = metric
    made = [Configuration(label, {s: m.value for s, m in by.items()}, sum(m.n for m in by.values())) for label, by in found.items()]
    return sorted(made, key=lambda c: -c.mean)


def lead(first: Mapping[str, float], second: Mapping[str, float]) -> Lead:
    """The paired difference of two configurations' scores; unpaired means, without an interval, where no seed is common."""
    differences = [first[s] - second[s] for s in first if s in second]
    if not differences:
        return Lead(fmean(first.values()) - fmean(second.values()), None, None, 0)
    mean, n = fmean(differences), len(differences)
    if n < 2:
        return Lead(mean, None, None, n)
    half = student()[min(n - 2, _MOST_SEEDS - 1)] * stdev(differences) / math.sqrt(n)
    return Lead(mean, mean - half, mean + half, n)


def student() -> list[float]:
    """Student's 97.5% quantile for 1, 2, … degrees of freedom."""
    from scipy.special import stdtrit  # loads slowly

    return [float(stdtrit(df, 0.975)) for df in range(1, _MOST_SEEDS + 1)]


def answer(trials: Sequence[TrialSummary]) -> str:
    """The study's answer in a sentence or two."""
    scorer = main_score(trials)
    order = ranked(trials, scorer)
    if not order:
        return "No configuration has a macro-F1 before filtering yet."
    best = order[0]
    said = f"{best.label} leads with macro-F1 {best.mean:.3f} before filtering by the {scorer} (mean over {_seeds(len(best.scores))})"
    if len(order) == 1:
        return said + "; there is no other configuration to compare it with."
    return f"{said}, {_beside(lead(best.scores, order[1].scores), order[1])}"


def _beside(found: Lead, second: Configuration) -> str:
    ahead = f"{found.difference:.3f} ahead of {second.label}"
    if found.low is None or found.high is None:
        return f"{ahead}; no paired interval ({_seeds(found.seeds)} in common), so whether it is better beyond noise is not known."
    sure = found.low > 0
    verdict = "excludes zero: better beyond the noise of seeds" if sure else "includes zero: not shown to be better"
    return f"{ahead}; the paired 95% interval over {_seeds(found.seeds)} [{found.low:.3f}, {found.high:.3f}] {verdict}."


def _seeds(n: int) -> str:
    return f"{n} seed" if n == 1 else f"{n} seeds"


def importance(trials: Sequence[TrialSummary], scorer: str) -> dict[str, float]:
    """For each varied setting, the share in [0, 1] of the score's variance that its values' means explain (η², one at a time)."""
    scored = [(dict(d.split("=", 1) for d in t.differing), m.value) for t in trials if (m := score_of(t, scorer))]
    if len(scored) < 3:
        return {}
    middle = fmean(v for _, v in scored)
    total = sum((v - middle) ** 2 for _, v in scored)
    found = {key: _between(scored, key, middle) / total for key in scored[0][0]} if total else {}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _between(scored: Sequence[tuple[Mapping[str, str], float]], key: str, middle: float) -> float:
    groups: dict[str, list[float]] = {}
    for settings, value in scored:
        groups.setdefault(settings.get(key, ""), []).append(value)
    return sum(len(g) * (fmean(g) - middle) ** 2 for g in groups.values())


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
