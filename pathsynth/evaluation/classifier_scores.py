"""Scores of gate and judge on real images: the reference for trials, and test scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.loggers import Logger
from safetensors.numpy import save_file

from pathsynth.config import AnyClassifier, CustomClassifierConfig
from pathsynth.data.dataset import DataSet
from pathsynth.evaluation.scoring import ScoringSettings
from pathsynth.ledger.atomic import read_json, write_json
from pathsynth.ledger.records import CONFUSION_FILE, RELIABILITY, Metric, format_score
from pathsynth.metrics.calibration import ConfidenceBin
from pathsynth.metrics.image_scores import interval_fields
from pathsynth.metrics.independence import error_correlation
from pathsynth.metrics.protocol import real_reference
from pathsynth.models.base import Base, reconstructed
from pathsynth.models.image_classifier import Classifier, load_classifier
from pathsynth.tracking.media import show_confusion, show_numbers
from pathsynth.training.score_classifier import SCORES, ClassifierScores, score_classifier

FEATURES = "features.safetensors"


def write_reference(folder: Path, gate: Path, judge: Path, data: DataSet, base: Base, scoring: ScoringSettings) -> None:
    """The reference of all trials with the same classifiers: real images in the judge's features, and the classifiers' scores.

    Resampling has the classifiers' seeds: trials of other training seeds share the reference.
    """
    split, n = scoring.evaluate.split, scoring.evaluate.n * len(data.space)
    seeds, seed = {"gate": scoring.gate.seed, "judge": scoring.judge.seed}, scoring.judge.seed
    classifiers = {
        role: placed(load_classifier(place, data.space, named_class(settings)))
        for role, place, settings in (("gate", gate, scoring.gate), ("judge", judge, scoring.judge))
    }
    reference = real_reference(classifiers["judge"], data, split, n, seed, partial(reconstructed, base))
    by_role = {role: classifier_scores(classifier, data, split, seeds[role]) for role, classifier in classifiers.items()}
    scores = [m for role, of_splits in by_role.items() for s in of_splits for m in s.records(data.space, data.name, seeds[role], role)]
    scores += _common_errors(by_role, split, data.name, seed)
    tensors = {"real": reference.features, "labels": reference.labels, "train": reference.train, "distances": reference.distances}
    save_file({**tensors, "colour.weights": reference.colour.weights, "colour.bias": reference.colour.bias}, folder / FEATURES)
    parts = {"reached": reference.metrics, "classifiers": scores}
    record: dict[str, Any] = {name: [m.to_json() for m in metrics] for name, metrics in parts.items()}
    bins = {f"{RELIABILITY}/{s.split}/{role}": _rows(s.reliability) for role, of_splits in by_role.items() for s in of_splits}
    write_json(folder / SCORES, {**record, RELIABILITY: bins})


def _rows(bins: Sequence[ConfidenceBin]) -> list[list[int]]:
    """Whole numbers, as the other extras of a result."""
    return [[b.images, b.right, round(1000 * b.confidence)] for b in bins]


def named_class(config: AnyClassifier | None) -> str | None:
    """The class of the user's that a configuration names for a classifier, and that may run; None where it is ours."""
    return config.architecture if isinstance(config, CustomClassifierConfig) else None


def placed(classifier: Classifier) -> Classifier:
    """The classifier on the GPU, if there is one."""
    return classifier.to("cuda" if torch.cuda.is_available() else "cpu")


def classifier_scores(classifier: Classifier, data: DataSet, split: str, seed: int) -> tuple[ClassifierScores, ...]:
    """What gate or judge scores on real images: on the half of val that chose nothing, where there is one, and on another ``split``."""
    return score_classifier(classifier, data, dict.fromkeys(("val", split)), seed)


def write_test_scores(folder: Path, classifier: Path, data: DataSet, config: AnyClassifier) -> ClassifierScores:
    """Score the classifier in a folder on the test split, and write the scores that it has with these added; ``config`` is its own."""
    seed, trained = config.seed, load_classifier(classifier, data.space, named_class(config))
    (scores,) = score_classifier(placed(trained), data, ("test",), seed)
    before = json.loads((classifier / SCORES).read_text(encoding="utf-8"))
    write_json(folder / SCORES, [*before, *(m.to_json() for m in scores.records(data.space, data.name, seed))])
    counted = read_json(classifier / CONFUSION_FILE) if (classifier / CONFUSION_FILE).is_file() else {}  # earlier versions kept none
    write_json(folder / CONFUSION_FILE, {**counted, scores.split: scores.agreement.confusion.tolist()})
    return scores


def _common_errors(found: Mapping[str, Sequence[ClassifierScores]], split: str, data: str, seed: int) -> list[Metric]:
    """Whether gate and judge err on the same real images; nothing where one of them errs on none, or was not scored on the split."""
    gate, judge = (next((s for s in found[role] if s.split == split), None) for role in ("gate", "judge"))
    correlation = error_correlation(gate.wrong, judge.wrong, seed) if gate and judge else None
    if gate is None or correlation is None:
        return []
    return [Metric(metric="error_correlation", **interval_fields(correlation), n=gate.n, unit="image", split=split, data=data, seed=seed)]


def log_classifier(loggers: Sequence[Logger], scores: Sequence[ClassifierScores], role: str, data: DataSet, seed: int) -> None:
    """Show what a classifier scores on real images: numbers, and a confusion matrix of each split."""
    show_numbers(loggers, [metric for s in scores for metric in s.records(data.space, data.name, seed, role)])
    for s in scores:
        title = f"real images ({s.split}), and what the {role} says"
        show_confusion(loggers, f"confusion/{s.split}", title, s.agreement.confusion, data.space)


def format_scores(path: Path) -> str:
    """A line with the overall scores of a ``scores.json``: "test: accuracy 0.913 [0.890, 0.932] n=450, macro-F1 …"."""
    overall = [m for m in map(Metric.from_json, json.loads(path.read_text(encoding="utf-8"))) if m.class_ is None]
    shown = {m.metric: m for m in overall if m.metric in ("accuracy", "macro_f1")}
    splits = dict.fromkeys(m.split for m in shown.values())
    values = [f"{name.replace('_f1', '-F1')} {format_score(m)}" for name, m in sorted(shown.items())]
    return f"real images ({', '.join(map(str, splits))}): {', '.join(values)}"
