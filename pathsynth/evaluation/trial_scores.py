"""The evaluate stage: scores of a finished trial's images, written once as ``result.json`` beside its sheets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pytorch_lightning.loggers import Logger
from safetensors.numpy import load_file

from pathsynth.config.objects import build_object
from pathsynth.config.schema import EvaluateConfig
from pathsynth.data.dataset import DataSet
from pathsynth.evaluation.classifier_scores import FEATURES, named_class, placed
from pathsynth.evaluation.image_sheets import ImageSet, write_nearest
from pathsynth.evaluation.judged_images import write_judged
from pathsynth.evaluation.scoring import ScoringSettings
from pathsynth.ledger.records import (
    JUDGED_FILE,
    RELIABILITY,
    Metric,
    Missing,
    Result,
    read_optimizer,
    read_result,
    write_result,
)
from pathsynth.ledger.stages import read_built
from pathsynth.ledger.versions import versions
from pathsynth.metrics.colour import ColourClassifier
from pathsynth.metrics.custom_metrics import EvaluationData, ImageMetric, ImageSample, RealSample, RecordContext, measure_all
from pathsynth.metrics.image_scores import Evaluation
from pathsynth.metrics.protocol import Reference, evaluate_set
from pathsynth.models.image_classifier import Classifier, load_classifier
from pathsynth.sampling.attempts import AttemptRow
from pathsynth.sampling.gate import class_probabilities
from pathsynth.sampling.pictures import read_png
from pathsynth.tracking.media import show_confusion, show_numbers, show_pictures
from pathsynth.training.score_classifier import SCORES
from pathsynth.vocabulary.labels import LabelSpace


def write_evaluation(
    folder: Path, images: ImageSet, data: DataSet, scoring: ScoringSettings, identity: str, built: Mapping[str, Path], panel: Evaluation
) -> None:
    """Score the set and write ``result.json``, with the classifiers' own scores on real images in the same table.

    ``built``: the folders of the trial's finished stages, by name. ``panel``: what a panel of judges says, empty without one.
    """
    judge = placed(load_classifier(built["judge"], data.space, named_class(scoring.judge)))
    reached, classifiers, reliabilities = _scores(built["reference"] / SCORES, data.name)
    stored = load_file(built["reference"] / FEATURES)
    colour = ColourClassifier(stored["colour.weights"], stored["colour.bias"])
    reference = Reference(stored["real"], stored["labels"], stored["train"], stored["distances"], colour, reached)
    evaluation = evaluate_set(images.rows, images.folder, judge, data, reference, scoring.seed, scoring.evaluate.prompts)
    stages = {name: read_built(place) for name, place in built.items()}
    custom, absent = custom_metrics(images, judge, data, scoring)
    result = Result(
        identity=identity,
        versions=versions(),
        settings=scoring.trial,
        metrics=(*evaluation.metrics, *custom, *classifiers, *panel.metrics),
        missing=(*evaluation.missing, *absent, *_unknown(classifiers)),
        extras={**evaluation.confusions, **panel.confusions, **reliabilities},
        timings={name: stage.seconds for name, stage in stages.items() if stage.seconds is not None},
        stages={name: stage.provenance for name, stage in stages.items() if stage.provenance},
        optimizer=read_optimizer(built["finetune"]),
    )
    write_nearest(folder / "grids" / "nearest.png", images, data, judge, reference.train)
    write_judged(folder / JUDGED_FILE, evaluation.judged)
    write_result(folder / "result.json", result)


def named_metrics(config: EvaluateConfig) -> dict[str, ImageMetric]:
    """The metrics that a request names by their classes, each under its name.

    Raises:
        RequestError: one cannot be made.
    """
    return {name: build_object(f"evaluate.metrics.{name}", settings, members=("measure",)) for name, settings in config.metrics.items()}


def custom_metrics(images: ImageSet, judge: Classifier, data: DataSet, scoring: ScoringSettings) -> tuple[list[Metric], list[Missing]]:
    """Values of the user's own metrics; without any, nothing is read.

    Raises:
        StageError: as :func:`measure_all`.
    """
    evaluate = scoring.evaluate
    metrics = named_metrics(evaluate)
    if not metrics:
        return [], []
    drawn = [row for row in images.rows if row.image]
    real = data.split(evaluate.split)
    context = RecordContext(evaluate.split, evaluate.prompts, data.name, scoring.seed)
    before = _sample([row for row in drawn if row.attempt == 0], images.folder, judge)
    after = _sample([row for row in drawn if row.accepted], images.folder, judge)
    shown = EvaluationData(before, after, RealSample(np.asarray(real.images), real.labels), data.space.slugs, scoring.seed)
    return measure_all(metrics, shown, context)


def _sample(rows: Sequence[AttemptRow], folder: Path, judge: Classifier) -> ImageSample:
    """The kept images of some attempts, with the gate's answers as they are in the ledger and the judge's."""
    pictures = [read_png(folder / row.image) for row in rows if row.image]
    classes = len(judge.spec.classes)
    images = np.stack(pictures) if pictures else np.empty((0, 1, 1, 3), np.uint8)
    gate = np.array([row.probabilities for row in rows], dtype=np.float64).reshape(-1, classes)
    judged = class_probabilities(judge, images) if pictures else np.empty((0, classes))
    return ImageSample(images, np.array([row.label for row in rows], dtype=np.int64), gate, judged)


def _scores(path: Path, data: str) -> tuple[tuple[Metric, ...], tuple[Metric, ...], dict[str, list[list[int]]]]:
    """What real training images reach, what the classifiers score on real images, and how their confidence fits.

    ``data``: what the data set is called now; a folder may have been renamed since the numbers were written.
    """
    record = json.loads(path.read_text(encoding="utf-8"))
    reached, classifiers = (tuple(replace(Metric.from_json(m), data=data) for m in record[name]) for name in ("reached", "classifiers"))
    return reached, classifiers, record[RELIABILITY]


def _unknown(classifiers: Sequence[Metric]) -> list[Missing]:
    """What is not known of the classifiers, from the records of their scores on real images."""
    missing = []
    if not any(m.split == "val" for m in classifiers):
        few = "a class has fewer than two images in val: all of val chose the classifiers' epochs and temperatures"
        missing.append(Missing("gate and judge on val", few))
    if not any(m.metric == "error_correlation" for m in classifiers):
        missing.append(Missing("error_correlation", "gate or judge errs on none of the real images, or on all, or was scored on none"))
    return missing


def log_result(loggers: Sequence[Logger], folder: Path, space: LabelSpace) -> None:
    """Show a result: its numbers as the run's summary, its confusion matrices and its sheets."""
    result = read_result(folder / "result.json")
    show_numbers(loggers, result.metrics)
    confusions = {name: matrix for name, matrix in result.extras.items() if not name.startswith(RELIABILITY)}
    for name, confusion in confusions.items():
        stage, _, scorer = name.partition("/")
        key = f"confusion/{stage}/{scorer}".replace(" ", "_")
        show_confusion(loggers, key, f"requested, and what the {scorer} says {stage}", np.array(confusion), space)
    sheets = {f"grids/{sheet.stem}": sheet for sheet in sorted((folder / "grids").glob("*.png"))}
    if sheets:
        show_pictures(loggers, sheets)
