"""The evaluate stage: what a finished trial's images are worth, written once as ``result.json`` beside its sheets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from pytorch_lightning.loggers import Logger
from safetensors.numpy import load_file, save_file

from pathsynth.config import AnyClassifier, OwnClassifierConfig, RunConfig
from pathsynth.config.objects import build_object
from pathsynth.config.schema import EvaluateConfig
from pathsynth.data.dataset import DataSet
from pathsynth.ledger.atomic import read_json, write_json
from pathsynth.ledger.records import (
    CONFUSION_FILE,
    JUDGED_FILE,
    RELIABILITY,
    Metric,
    Missing,
    Result,
    format_score,
    read_optimizer,
    read_result,
    write_result,
)
from pathsynth.ledger.stages import read_built
from pathsynth.ledger.versions import versions
from pathsynth.metrics.agreement import wilson
from pathsynth.metrics.calibration import ConfidenceBin
from pathsynth.metrics.colour import ColourClassifier
from pathsynth.metrics.custom import EvaluationData, ImageMetric, ImageSample, RealSample, RecordContext, measure_all
from pathsynth.metrics.image_scores import Evaluation
from pathsynth.metrics.independence import error_correlation
from pathsynth.metrics.neighbours import nearest
from pathsynth.metrics.protocol import Reference, evaluate_set, real_reference
from pathsynth.models.base import Base, reconstructed
from pathsynth.models.classifier import Classifier, load_classifier
from pathsynth.sampling.attempts import AttemptRow, read_attempts
from pathsynth.sampling.gate import class_features, class_probabilities
from pathsynth.sampling.pictures import contact_sheet, labelled_sheet, read_png
from pathsynth.tracking.media import show_confusion, show_numbers, show_pictures
from pathsynth.training.classifier import SCORES, ClassifierScores, score_classifier
from pathsynth.vocabulary.labels import LabelSpace, slug_words

_COLUMNS = 10
_PAIRS = 5
_COUNTED = 256
_FEATURES, _SCORES = "features.safetensors", SCORES


@dataclass(frozen=True)
class ImageSet:
    """A generated set on disk: its attempts, and the folder that their image paths start from."""

    rows: tuple[AttemptRow, ...]
    folder: Path

    @classmethod
    def read(cls, folder: Path) -> ImageSet:
        """In the order of classes, slots and attempts, whatever the batches were. Raises StageError if the ledger is missing or damaged."""
        return cls(tuple(sorted(read_attempts(folder), key=lambda r: (r.label, r.slot, r.attempt))), folder)

    def pictures(self, label: int, chosen: Callable[[AttemptRow], bool], most: int) -> list[np.ndarray]:
        """Up to ``most`` kept images of a class, in slot order: uint8 (H, W, 3) each."""
        kept = sorted((r for r in self.rows if r.image and r.label == label and chosen(r)), key=lambda r: r.slot)
        return [read_png(self.folder / r.image) for r in kept[:most] if r.image]


def write_sheet(path: Path, images: ImageSet, space: LabelSpace, size: int) -> None:
    """A row of up to ten accepted images for each class, under its name and in class order; nothing where none was accepted."""
    pictures = {c.slug: images.pictures(c.index, lambda r: r.accepted, _COLUMNS) for c in space.classes}
    rows = {slug_words(slug): row for slug, row in pictures.items() if row}
    if rows:
        labelled_sheet(list(rows.values()), list(rows), max(map(len, rows.values())), size).save(path)


def judge_accepted(path: Path, judge: Classifier, images: ImageSet) -> str:
    """Have the judge look at each accepted image and write what it says of each to ``path``.

    Returns:
        A line that says how many of them the judge, too, takes for what was asked for.
    """
    accepted = [r for r in images.rows if r.accepted and r.image]
    if not accepted:
        return "judge: nothing was accepted"
    judged: dict[tuple[str, int, int], np.ndarray] = {}
    for start in range(0, len(accepted), _COUNTED):
        some = accepted[start : start + _COUNTED]
        answers = class_probabilities(judge, np.stack([read_png(images.folder / r.image) for r in some if r.image]))
        judged |= {(r.class_slug, r.slot, r.attempt): answer for r, answer in zip(some, answers, strict=True)}
    write_judged(path, judged)
    right = sum(int(answer.argmax()) == r.label for r, answer in zip(accepted, judged.values(), strict=True))
    share, name = wilson(right, len(accepted)), judge.spec.architecture
    told = f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]"
    return f"judge ({name}, trained on other images): takes {right} of {len(accepted)} accepted images for what was asked for, {told}"


def write_judged(path: Path, judged: Mapping[tuple[str, int, int], np.ndarray]) -> None:
    """Write what the judge says of each image: class asked for, slot, attempt, the label that it names, and its probabilities."""
    keys = ("class_slug", "slot", "attempt")
    rows = [
        {**dict(zip(keys, key, strict=True)), "predicted": int(answer.argmax()), "probabilities": [float(p) for p in answer]}
        for key, answer in judged.items()
    ]
    pd.DataFrame(rows, columns=[*keys, "predicted", "probabilities"]).to_parquet(path, index=False)


def first_rejected(images: ImageSet) -> list[str]:
    """Of each class's first ten slots the rejected first attempts that were kept, as paths below the set's folder."""
    return [r.image for r in images.rows if r.image and r.attempt == 0 and not r.accepted and r.slot < _COLUMNS]


def write_sheets(folder: Path, images: ImageSet, data: DataSet, split: str) -> None:
    """``real.png``, ``first_attempts.png`` and ``accepted.png``: a row a class, in class order, ten images each.

    The real ones are written one by one, too, for pages: ``real/<class>/<number>.png``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    real = data.split(split)
    labels = [c.index for c in data.space.classes]
    sheets = {
        "real": [list(real.images[np.flatnonzero(real.labels == label)[:_COLUMNS]]) for label in labels],
        "first_attempts": [images.pictures(label, lambda r: r.attempt == 0, _COLUMNS) for label in labels],
        "accepted": [images.pictures(label, lambda r: r.accepted, _COLUMNS) for label in labels],
    }
    for name, pictures in sheets.items():
        contact_sheet(pictures, _COLUMNS, data.size).save(folder / f"{name}.png")
    for c, row in zip(data.space.classes, sheets["real"], strict=True):
        for number, picture in enumerate(row):
            _save_real(folder / "real" / c.slug / f"{number}.png", picture)


def _save_real(path: Path, image: np.ndarray) -> None:
    """Write a real image; it has none of the text chunks by which a synthetic one is known."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def write_nearest(path: Path, images: ImageSet, data: DataSet, judge: Classifier, train_features: np.ndarray) -> None:
    """A row a class: the accepted images nearest to a training image in the judge's features, each followed by that one; five at most.

    The training images are written one by one, too, for pages: ``nearest/<class>/<place>-<accepted image's name>.png`` beside the
    sheet, the nearest with place 0. ``train_features``: float (M, F) of the training images, in their order. Nothing is written
    where nothing was accepted.
    """
    accepted = [r for r in images.rows if r.accepted and r.image]
    if not accepted:
        return
    pictures = np.stack([read_png(images.folder / r.image) for r in accepted if r.image])
    distances, rows = nearest(class_features(judge, pictures), train_features)
    train, labels = data.split("train").images, np.array([r.label for r in accepted])
    order = np.argsort(distances, kind="stable")
    closest = [order[labels[order] == c.index][:_PAIRS] for c in data.space.classes]
    pairs = [[picture for i in own for picture in (pictures[i], train[rows[i]])] for own in closest]
    contact_sheet(pairs, 2 * _PAIRS, data.size).save(path)
    for c, own in zip(data.space.classes, closest, strict=True):
        for place, i in enumerate(own):
            _save_real(path.with_suffix("") / c.slug / f"{place}-{accepted[i].name}.png", train[rows[i]])


def write_reference(folder: Path, gate: Path, judge: Path, data: DataSet, base: Base, config: RunConfig) -> None:
    """What all trials with the same classifiers are compared with: real images in the judge's features, and their own scores.

    Resampling has the classifiers' seeds: trials of other training seeds share the reference.
    """
    assert config.evaluate and config.gate and config.judge
    split, n = config.evaluate.split, config.evaluate.n * len(data.space)
    seeds, seed = {"gate": config.gate.seed, "judge": config.judge.seed}, config.judge.seed
    classifiers = {
        role: placed(load_classifier(place, data.space, named_class(own)))
        for role, place, own in (("gate", gate, config.gate), ("judge", judge, config.judge))
    }
    made = real_reference(classifiers["judge"], data, split, n, seed, partial(reconstructed, base))
    found = {role: classifier_scores(classifier, data, split, seeds[role]) for role, classifier in classifiers.items()}
    scores = [m for role, of_splits in found.items() for s in of_splits for m in s.records(data.space, data.name, seeds[role], role)]
    scores += _common_errors(found, split, data.name, seed)
    tensors = {"real": made.features, "labels": made.labels, "train": made.train, "distances": made.distances}
    save_file({**tensors, "colour.weights": made.colour.weights, "colour.bias": made.colour.bias}, folder / _FEATURES)
    parts = {"reached": made.metrics, "classifiers": scores}
    record: dict[str, Any] = {name: [m.to_json() for m in metrics] for name, metrics in parts.items()}
    bins = {f"{RELIABILITY}/{s.split}/{role}": _rows(s.reliability) for role, of_splits in found.items() for s in of_splits}
    write_json(folder / _SCORES, {**record, RELIABILITY: bins})


def _rows(bins: Sequence[ConfidenceBin]) -> list[list[int]]:
    """Whole numbers, as the other extras of a result."""
    return [[b.images, b.right, round(1000 * b.confidence)] for b in bins]


def write_evaluation(
    folder: Path, images: ImageSet, data: DataSet, config: RunConfig, identity: str, built: Mapping[str, Path], panel: Evaluation
) -> None:
    """Score the set and write ``result.json``, with the classifiers' own scores on real images in the same table.

    ``built``: the folders of the trial's finished stages, by name. ``panel``: what a panel of judges says, empty without one.
    """
    judge = placed(load_classifier(built["judge"], data.space, named_class(config.judge)))
    reached, classifiers, reliabilities = _scores(built["reference"] / _SCORES, data.name)
    stored = load_file(built["reference"] / _FEATURES)
    colour = ColourClassifier(stored["colour.weights"], stored["colour.bias"])
    reference = Reference(stored["real"], stored["labels"], stored["train"], stored["distances"], colour, reached)
    assert config.evaluate
    evaluation = evaluate_set(images.rows, images.folder, judge, data, reference, config.seed, config.evaluate.prompts)
    came = {name: read_built(place) for name, place in built.items()}
    own = custom_metrics(images, judge, data, config)
    result = Result(
        identity=identity,
        versions=versions(),
        settings=config.model_dump(mode="json", exclude={"multirun"}),
        metrics=(*evaluation.metrics, *own[0], *classifiers, *panel.metrics),
        missing=(*evaluation.missing, *own[1], *_unknown(classifiers)),
        extras={**evaluation.confusions, **panel.confusions, **reliabilities},
        timings={name: own.seconds for name, own in came.items() if own.seconds is not None},
        stages={name: own.provenance for name, own in came.items() if own.provenance},
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


def custom_metrics(images: ImageSet, judge: Classifier, data: DataSet, config: RunConfig) -> tuple[list[Metric], list[Missing]]:
    """What the user's own metrics give; nothing, and no image is read for it, where none is named.

    Raises:
        StageError: as :func:`measure_all`.
    """
    evaluate = config.evaluate
    assert evaluate
    metrics = named_metrics(evaluate)
    if not metrics:
        return [], []
    drawn = [row for row in images.rows if row.image]
    real = data.split(evaluate.split)
    context = RecordContext(evaluate.split, evaluate.prompts, data.name, config.seed)
    before = _sample([row for row in drawn if row.attempt == 0], images.folder, judge)
    after = _sample([row for row in drawn if row.accepted], images.folder, judge)
    shown = EvaluationData(before, after, RealSample(np.asarray(real.images), real.labels), data.space.slugs, config.seed)
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


def named_class(config: AnyClassifier | None) -> str | None:
    """The class of the user's that a configuration names for a classifier, and that may run; None where it is ours."""
    return config.architecture if isinstance(config, OwnClassifierConfig) else None


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
    ends = (correlation.value, correlation.low, correlation.high)
    return [Metric("error_correlation", *ends, gate.n, "image", None, split, None, None, None, data, seed)]


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


def log_result(loggers: Sequence[Logger], folder: Path, space: LabelSpace) -> None:
    """Show a result: its numbers as the run's summary, its confusion matrices and its sheets."""
    result = read_result(folder / "result.json")
    show_numbers(loggers, result.metrics)
    confusions = {name: matrix for name, matrix in result.extras.items() if not name.startswith(RELIABILITY)}
    for name, confusion in confusions.items():
        stage, _, scorer = name.partition("/")
        key = f"confusion/{stage}/{scorer}".replace(" ", "_")
        show_confusion(loggers, key, f"asked for, and what the {scorer} says {stage}", np.array(confusion), space)
    sheets = {f"grids/{sheet.stem}": sheet for sheet in sorted((folder / "grids").glob("*.png"))}
    if sheets:
        show_pictures(loggers, sheets)
