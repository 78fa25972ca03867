"""A study of classifiers in the form that the page of a study compares: each classifier as a trial with a result.

The page is made for images that a model drew and a scorer names. Here they are real images: what they are images of, "of the test split",
takes the place of the stage, and the classifier is the scorer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pathsynth.ledger.atomic import read_json
from pathsynth.ledger.records import CONFUSION_FILE, Metric, Result
from pathsynth.report.classifier_view import read_scores
from pathsynth.report.collect import TrialSummary
from pathsynth.report.overview import is_classifier, is_set
from pathsynth.report.scores import CLASSIFIER, OF_TEST, OF_VAL, Scores
from pathsynth.report.study_verdict import SEED
from pathsynth.studies.trials.state import read_state

_OWN_SEED = f"{CLASSIFIER}.{SEED}"
_STAGES = {"val": OF_VAL, "test": OF_TEST}


def compares_classifiers(trials: Sequence[TrialSummary]) -> bool:
    """Whether a study's page compares classifiers: it has some, and nothing that was drawn."""
    return any(map(is_classifier, trials)) and not any(t.finished or is_set(t) for t in trials)


def with_scores(trials: Sequence[TrialSummary]) -> list[TrialSummary]:
    """The trials, each classifier with its scores as a result; the classifier's seed counts as the training seed.

    Raises:
        OSError, ValueError, KeyError: the scores of one are damaged.
    """
    return [_scored(trial) if is_classifier(trial) else _by_seed(trial) for trial in trials]


def _scored(trial: TrialSummary) -> TrialSummary:
    records = tuple(_as_drawn(m) for m in read_scores(trial.folder) if m.split in _STAGES)
    path = trial.folder / CONFUSION_FILE
    matrices = read_json(path) if path.is_file() else {}
    extras = {f"{_STAGES[split]}/{CLASSIFIER}": rows for split, rows in matrices.items() if split in _STAGES}
    result = Result(read_state(trial.folder).identity or trial.name, {}, {}, records, (), extras)
    stage = OF_TEST if any(m.stage == OF_TEST for m in records) else OF_VAL
    return replace(_by_seed(trial), result=result, f1_judge=Scores(records).generated("macro_f1", stage, CLASSIFIER))


def _as_drawn(metric: Metric) -> Metric:
    return replace(metric, split="generated", stage=_STAGES[metric.split], scorer=CLASSIFIER)


def _by_seed(trial: TrialSummary) -> TrialSummary:
    if _OWN_SEED not in trial.settings:
        return trial
    differing = tuple(d.removeprefix(f"{CLASSIFIER}.") if d.startswith(f"{_OWN_SEED}=") else d for d in trial.differing)
    return replace(trial, settings={**trial.settings, SEED: trial.settings[_OWN_SEED]}, differing=differing)
