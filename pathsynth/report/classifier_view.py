"""Content of the page of a classifier: its scores on real images, by split and by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pathsynth.ledger.atomic import read_json
from pathsynth.ledger.records import Metric
from pathsynth.report.bounds import FEW_CLASSES, WEAKEST
from pathsynth.report.collect import TrialSummary
from pathsynth.report.scores import Cell, cell
from pathsynth.report.trial_view import ClassTable, Row, class_name
from pathsynth.studies.trials.state import read_state
from pathsynth.vocabulary.durations import format_duration

SCORES, CARD = "scores.json", "classifier.json"
_SPLITS = {"val": "validation images", "test": "test images", "train": "training images"}
_OVERALL = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "auc", "ece")
_BY_CLASS = ("precision", "recall", "f1")
_FACTS = (
    ("architecture", ("spec", "architecture")),
    ("image size", ("spec", "size")),
    ("first layer", ("spec", "stem")),
    ("trained on part", ("card", "part")),
    ("training images", ("card", "images")),
    ("seed", ("card", "seed")),
    ("best step", ("card", "best_step")),
    ("temperature", ("temperature",)),
)


@dataclass(frozen=True)
class ClassifierView:
    """A classifier as its page shows it. ``by_class``: three cells a split (precision, recall, F1), splits as in ``splits``."""

    title: str
    study: str
    study_page: str
    identity: str
    address: str
    data: str
    summary: str
    splits: tuple[str, ...]
    overall: tuple[Row, ...]
    by_class: ClassTable
    classes: int
    facts: tuple[tuple[str, str], ...]
    overrides: tuple[str, ...]
    every_setting: tuple[tuple[str, str], ...]


def classifier_view(trial: TrialSummary, study_page: str = "") -> ClassifierView:
    """The view of a trial of ``classify``.

    Args:
        trial: the trial.
        study_page: the link to the page of its study; empty without one.

    Raises:
        OSError, ValueError, KeyError: ``scores.json`` is missing or damaged.
    """
    records = read_scores(trial.folder)
    splits = tuple(dict.fromkeys(m.split for m in records))
    slugs = tuple(dict.fromkeys(m.class_ for m in records if m.class_ is not None))
    return ClassifierView(
        title=trial.name,
        study=trial.study,
        study_page=study_page,
        identity=read_state(trial.folder).identity,
        address=trial.address,
        data=", ".join(dict.fromkeys(m.data for m in records)),
        summary=_summary(records),
        splits=tuple(_SPLITS.get(split, split) for split in splits),
        overall=tuple(Row(_SPLITS.get(s, s), tuple(cell(_of(records, name, s, None)) for name in _OVERALL)) for s in splits),
        by_class=_class_table(records, splits, slugs),
        classes=len(slugs),
        facts=_facts(trial),
        overrides=trial.command_overrides,
        every_setting=tuple(sorted(trial.settings.items())),
    )


def read_scores(folder: Path) -> tuple[Metric, ...]:
    """The records of a classifier's scores.

    Raises:
        OSError, ValueError, KeyError: there are none, or they are damaged.
    """
    return tuple(Metric.from_json(record) for record in read_json(folder / SCORES))


def main_scores(records: Sequence[Metric]) -> tuple[Cell | None, Cell | None, str]:
    """Accuracy and macro-F1 on the test images, where they were scored, else on the validation images; and which these are."""
    split = "test" if any(m.split == "test" for m in records) else "val"
    return cell(_of(records, "accuracy", split, None)), cell(_of(records, "macro_f1", split, None)), _SPLITS[split]


def _of(records: Sequence[Metric], metric: str, split: str, slug: str | None) -> Metric | None:
    return next((m for m in records if (m.metric, m.split, m.class_) == (metric, split, slug)), None)


def _summary(records: Sequence[Metric]) -> str:
    accuracy, f1, where = main_scores(records)
    if accuracy is None or f1 is None:
        return "No real images were scored."
    right = f"{accuracy.value} {accuracy.interval}"
    return f"Of {accuracy.n} real {where} the classifier names {right} right; macro-F1 {f1.value} {f1.interval}."


def _class_table(records: Sequence[Metric], splits: Sequence[str], slugs: Sequence[str]) -> ClassTable:
    """A row for each class; of many classes those with the lowest F1 come first."""
    rows = {slug: Row(class_name(slug), tuple(cell(_of(records, m, s, slug), 2) for s in splits for m in _BY_CLASS)) for slug in slugs}
    if len(slugs) <= FEW_CLASSES:
        return ClassTable(tuple(rows.values()), ())
    f1 = {m.class_: m.value for m in records if m.metric == "f1" and m.split == splits[-1]}
    weakest = sorted(slugs, key=lambda slug: f1.get(slug, 1.0))[:WEAKEST]
    return ClassTable(tuple(rows[slug] for slug in weakest), tuple(rows.values()))


def _facts(trial: TrialSummary) -> tuple[tuple[str, str], ...]:
    card = read_json(trial.folder / CARD) if (trial.folder / CARD).is_file() else {}
    rows = []
    for words, keys in _FACTS:
        value = card
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            rows.append((words, f"{value:.3f}" if isinstance(value, float) else str(value)))
    seconds = read_state(trial.folder).seconds()
    return (*rows, ("time", format_duration(seconds))) if seconds is not None else tuple(rows)
