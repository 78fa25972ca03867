"""Trials that a study should have but does not: planned and deleted, refused, or of a seed that all others have."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pathsynth.report.collect import TrialSummary, is_trial
from pathsynth.report.study_verdict import SEED, configuration_label
from pathsynth.studies.trials.outcomes import Outcome, read_outcomes

_JOBS = ".jobs"
_PART = re.compile(r"(?:^|,)([^=,]+)=([^,]*)")
_DIGEST = re.compile(r"-[0-9a-f]{6}$")


@dataclass(frozen=True)
class MissingTrial:
    """``configuration``: the label of the one that it is of (its own name where that is not known). ``seed``: empty: not known."""

    name: str
    configuration: str
    seed: str
    reason: str


def missing_trials(trials: Sequence[TrialSummary]) -> list[MissingTrial]:
    """What is missing among these trials, each with the reason."""
    labels = {configuration_label(t): dict(d.split("=", 1) for d in t.differing if not d.startswith(f"{SEED}=")) for t in trials}
    missing = [_missing_trial(outcome, labels) for outcome in _announced(trials)]
    known = {(configuration_label(t), t.settings.get(SEED, "")) for t in trials} | {(m.configuration, m.seed) for m in missing}
    return [*missing, *(m for m in _without_seed(trials, labels) if (m.configuration, m.seed) not in known)]


def _announced(trials: Sequence[TrialSummary]) -> list[Outcome]:
    """The jobs of the study's commands whose trial is in no folder; of several of one name the last."""
    outcomes: dict[str, Outcome] = {}
    for study in dict.fromkeys(t.folder.absolute().parent for t in trials):
        for outcome in _outcomes(study):
            folder = study / outcome.folder.name if outcome.folder else None
            if folder is None or not is_trial(folder):
                outcomes[outcome.name] = outcome
            else:
                outcomes.pop(outcome.name, None)
    return list(outcomes.values())


def _outcomes(study: Path) -> Iterator[Outcome]:
    for jobs in sorted((study / _JOBS).glob("*")):
        with suppress(OSError, ValueError, TypeError, KeyError):  # a record that cannot be read announces nothing
            yield from read_outcomes(jobs)


def _missing_trial(outcome: Outcome, labels: Mapping[str, Mapping[str, str]]) -> MissingTrial:
    parts = dict(_PART.findall(_DIGEST.sub("", outcome.name)))
    seed = parts.pop(SEED, "")
    fitting = [label for label, settings in labels.items() if settings and all(_has(parts, key, v) for key, v in settings.items())]
    reason = f"refused: {outcome.refused}" if outcome.refused else "a command planned it, but it has no folder; run the command again"
    return MissingTrial(outcome.name, fitting[0] if len(fitting) == 1 else outcome.name, seed, reason)


def _has(parts: Mapping[str, str], key: str, value: str) -> bool:
    """Whether a trial's name gives a setting this value, by the setting's whole name or its last part."""
    return value in (parts.get(key), parts.get(key.rpartition(".")[2]))


def _without_seed(trials: Sequence[TrialSummary], labels: Mapping[str, object]) -> Iterator[MissingTrial]:
    """A configuration that lacks a seed that more than half of them have."""
    counts = Counter({(configuration_label(t), t.settings[SEED]) for t in trials if SEED in t.settings})
    have = Counter(seed for _, seed in counts)
    common = [seed for seed, n in have.items() if n > len(labels) / 2 and len(labels) > 1]
    for label in labels:
        for seed in common:
            yield MissingTrial(f"seed {seed}", label, seed, f"no trial of it with seed {seed}, which most others have")
