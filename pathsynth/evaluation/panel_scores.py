"""A panel of judges: what they say of real images, of first attempts and of accepted images. None of them chooses anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from pathsynth.config import AnyClassifier
from pathsynth.data.dataset import DataSet
from pathsynth.evaluation.classifier_scores import named_class, placed
from pathsynth.evaluation.image_sheets import ImageSet
from pathsynth.evaluation.scoring import ScoringSettings
from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.records import Metric
from pathsynth.metrics.image_scores import AFTER, BEFORE, Evaluation, interval_fields
from pathsynth.metrics.independence import error_correlation
from pathsynth.metrics.panel import evaluate_panel
from pathsynth.models.image_classifier import Classifier, load_classifier
from pathsynth.sampling.attempts import AttemptRow
from pathsynth.sampling.gate import class_probabilities
from pathsynth.sampling.pictures import read_png
from pathsynth.training.score_classifier import ClassifierScores, score_classifier

_SCORES = "panel.json"


def write_panel_scores(folder: Path, built: Mapping[str, Path], data: DataSet, scoring: ScoringSettings) -> None:
    """What the judges score on real images, alone and together, and how the errors of every two classifiers correlate.

    ``built``: the folders of gate, judge and the panel's judges, by the names of their stages.
    """
    split, judges = scoring.evaluate.split, scoring.judges
    others = {"gate": scoring.gate, "judge": scoring.judge}
    scores = {role: _score(built[role], settings, data, ("val", split)) for role, settings in judges.items()}
    all_scores = {**{role: _score(built[role], settings, data, (split,)) for role, settings in others.items()}, **scores}
    of_split = {role: found for role, of_splits in all_scores.items() for found in of_splits if found.split == split}
    metrics = [m for role, settings in judges.items() for s in scores[role] for m in s.records(data.space, data.name, settings.seed, role)]
    real = data.assessment(split)
    if real is not None:
        answers = {role: of_split[role].probabilities for role in judges}
        whole = evaluate_panel(real.labels, answers, data, scoring.judge.seed, stage=None, split=split)
        metrics += [m for m in whole.metrics if m.scorer not in judges]
    metrics += _common_errors(of_split, split, data.name, scoring.judge.seed)
    write_json(folder / _SCORES, [m.to_json() for m in metrics])


def panel_evaluation(images: ImageSet, built: Mapping[str, Path], data: DataSet, scoring: ScoringSettings) -> Evaluation:
    """The scores by the trial's panel of a set of images, and of real ones; empty without a panel.

    ``built``: the folders of the trial's finished stages, by name.

    Raises:
        RequestError: a judge is damaged.
    """
    if not scoring.judges:
        return Evaluation((), (), {})
    loaded = {role: placed(load_classifier(built[role], data.space, named_class(settings))) for role, settings in scoring.judges.items()}
    drawn = score_by_panel(images, loaded, data, scoring.seed, scoring.evaluate.prompts)
    real = (replace(Metric.from_json(m), data=data.name) for m in json.loads((built["panel"] / _SCORES).read_text(encoding="utf-8")))
    return replace(drawn, metrics=(*drawn.metrics, *real))


def score_by_panel(images: ImageSet, judges: Mapping[str, Classifier], data: DataSet, seed: int, prompts: str) -> Evaluation:
    """First attempts and accepted images by every judge, and by the panel as a whole; most are both, and each is judged once.

    ``judges``: by their names as scorers, one at least.
    """
    rows = [r for r in images.rows if r.attempt == 0 or r.accepted]
    labels, answers = np.array([r.label for r in rows], dtype=np.int64), answers_of(judges, rows, images.folder, len(data.space))
    sets = {BEFORE: np.array([r.attempt == 0 for r in rows], dtype=bool), AFTER: np.array([r.accepted for r in rows], dtype=bool)}
    evaluations = [
        evaluate_panel(labels[chosen], {name: answer[chosen] for name, answer in answers.items()}, data, seed, stage=stage, prompts=prompts)
        for stage, chosen in sets.items()
        if chosen.any()
    ]
    metrics = tuple(metric for evaluation in evaluations for metric in evaluation.metrics)
    return Evaluation(metrics, (), {key: matrix for evaluation in evaluations for key, matrix in evaluation.confusions.items()})


def _score(folder: Path, config: AnyClassifier, data: DataSet, splits: Sequence[str]) -> tuple[ClassifierScores, ...]:
    classifier = placed(load_classifier(folder, data.space, named_class(config)))
    return score_classifier(classifier, data, dict.fromkeys(splits), config.seed)


def answers_of(judges: Mapping[str, Classifier], rows: Sequence[AttemptRow], folder: Path, classes: int) -> dict[str, np.ndarray]:
    """Each judge's probabilities of N attempts, float64 (N, C), by its name; a row of NaN for an attempt without a picture.

    Args:
        judges: by their names.
        rows: the attempts.
        folder: where the rows' image paths start.
        classes: C.
    """
    whole = np.array([bool(row.image) for row in rows], dtype=bool)
    pictures = [read_png(folder / path) for row in rows if (path := row.image)]
    answers = {name: np.full((len(rows), classes), np.nan) for name in judges}
    for name, judge in judges.items() if pictures else ():
        answers[name][whole] = class_probabilities(judge, np.stack(pictures))
    return answers


def _common_errors(scores: Mapping[str, ClassifierScores], split: str, data: str, seed: int) -> list[Metric]:
    """Of every two classifiers (but gate and judge, whose own record stands beside them); nothing where one errs on none."""
    records = []
    for (first, a), (second, b) in combinations(scores.items(), 2):
        found = error_correlation(a.wrong, b.wrong, seed) if {first, second} != {"gate", "judge"} else None
        if found:
            common = Metric(
                metric="error_correlation",
                **interval_fields(found),
                n=a.n,
                unit="image",
                split=split,
                scorer=f"{first}+{second}",
                data=data,
                seed=seed,
            )
            records.append(common)
    return records
