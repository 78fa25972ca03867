"""What a W&B run shows beside its curves: pictures, tables of attempts, confusion matrices, numbers, and artifacts with lineage.

Every function takes Lightning's loggers and does nothing for those that are not W&B's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import wandb
from pytorch_lightning.loggers import Logger

from pathsynth.ledger.records import Metric
from pathsynth.sampling.rejection import Judged
from pathsynth.tracking.loggers import VALIDATION_STEP, wandb_runs
from pathsynth.vocabulary.labels import LabelSpace

MOST_ROWS = 64
"""Rows of a table of attempts; each holds an image."""
MOST_PROBABILITIES = 16
"""Classes up to which a table of attempts has a column for each probability."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArtifactCard:
    """Files of a folder worth keeping under a name that stands for their content; ``lineage`` tells what they were made from."""

    kind: str
    name: str
    folder: Path
    files: tuple[str, ...]
    lineage: Mapping[str, Any]


def show_pictures(loggers: Sequence[Logger], pictures: Mapping[str, Path], step: int | None = None) -> None:
    """Picture files by key, of the validation at ``step`` or of none."""
    axis = {} if step is None else {VALIDATION_STEP: step}
    for run in wandb_runs(loggers):
        run.log({**{key: wandb.Image(str(path)) for key, path in pictures.items()}, **axis})


def show_attempts(loggers: Sequence[Logger], key: str, judged: Sequence[Judged], space: LabelSpace, step: int) -> None:
    """A row an attempt with its picture: every class's first slots, each with all its attempts, up to :data:`MOST_ROWS`."""
    for run in wandb_runs(loggers):
        run.log({key: _attempts_table(judged, space), VALIDATION_STEP: step})


def show_confusion(loggers: Sequence[Logger], key: str, title: str, confusion: np.ndarray, space: LabelSpace) -> None:
    """A confusion matrix from its counts, int (C, C), rows: asked for (or true), columns: predicted."""
    counts = np.asarray(confusion)
    truth, said = (np.repeat(axis.ravel(), counts.ravel()).tolist() for axis in np.indices(counts.shape))
    for run in wandb_runs(loggers):
        plot = wandb.plot.confusion_matrix(y_true=truth, preds=said, class_names=[c.name for c in space.classes], title=title)
        run.log({key: plot})


def show_numbers(loggers: Sequence[Logger], metrics: Sequence[Metric]) -> None:
    """Overall metrics as the run's summary, each with its ``low``, ``high`` and ``n``; all of them as one table.

    Loggers without a summary get the overall values as metrics.
    """
    overall = [m for m in metrics if m.class_ is None]
    runs = wandb_runs(loggers)
    for run in runs:
        run.summary.update({name: value for m in overall for name, value in _columns(m).items()})
        records = [m.to_json() for m in metrics]
        run.log({"result": wandb.Table(columns=list(records[0]), data=[list(r.values()) for r in records])})
    for logger in loggers if not runs else ():
        logger.log_metrics({_key(m): m.value for m in overall})
        logger.save()


def keep_artifact(loggers: Sequence[Logger], card: ArtifactCard) -> None:
    """Log files as an artifact. They are not copied: they must stay in their place until they are sent."""
    for run in wandb_runs(loggers):
        artifact = wandb.Artifact(card.name, card.kind, metadata=dict(card.lineage))
        for path in (p for name in card.files for p in _files(card.folder / name)):
            artifact.add_file(str(path.absolute()), str(path.relative_to(card.folder)), policy="immutable", skip_cache=True)
        run.log_artifact(artifact)


def use_artifacts(loggers: Sequence[Logger], names: Sequence[str]) -> None:
    """Tell an online run which artifacts it is made from. Offline W&B cannot; there ``made_from`` in an artifact's metadata tells it."""
    for run in wandb_runs(loggers):
        for name in names if not run.offline else ():
            try:
                run.use_artifact(f"{name}:latest")
            except (wandb.Error, ValueError) as error:  # not sent yet, or from another project
                _log.info("W&B does not know %s (%s)", name, error)


def _attempts_table(judged: Sequence[Judged], space: LabelSpace) -> wandb.Table:
    columns = ["slot", "class", "prompt", "attempt", "seed", "predicted", "probability", "verdict", "image"]
    spread = len(space) <= MOST_PROBABILITIES
    table = wandb.Table(columns=[*columns, *(f"p({c.slug})" for c in space.classes if spread)])
    ordered = sorted(judged, key=lambda j: (j.attempt.slot.index, j.attempt.slot.label, j.attempt.number))
    for item in ordered[:MOST_ROWS]:
        attempt, verdict = item.attempt, item.verdict
        predicted = "" if verdict.failed else space.classes[verdict.predicted].slug
        table.add_data(
            attempt.slot.index,
            space.classes[attempt.slot.label].slug,
            attempt.prompt,
            attempt.number,
            str(attempt.seed),  # 63 bits; a browser's numbers have 53
            predicted,
            _probability(verdict.probability),
            verdict.reason or "accepted",
            None if item.image is None else wandb.Image(item.image),
            *(_probability(p) for p in verdict.probabilities if spread),
        )
    return table


def _probability(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _columns(metric: Metric) -> dict[str, float | int]:
    parts = {"": metric.value, "/low": metric.low, "/high": metric.high, "/n": metric.n}
    return {f"{_key(metric)}{end}": value for end, value in parts.items() if value is not None}


def _key(metric: Metric) -> str:
    words = (metric.split, metric.stage, metric.scorer, metric.metric)
    return "/".join(word.replace(" ", "_") for word in words if word)


def _files(place: Path) -> list[Path]:
    return sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place] if place.is_file() else []
