"""Media of a run beside its curves: pictures, tables of attempts, confusion matrices, numbers, and artifacts with lineage.

Every function takes Lightning's loggers; those that are neither W&B's nor MLflow's get numbers alone.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import wandb
from pytorch_lightning.loggers import Logger, WandbLogger

from pathsynth.ledger.records import Metric
from pathsynth.sampling.rejection import Judged
from pathsynth.tracking.loggers import VALIDATION_STEP, mlflow_loggers, wandb_runs
from pathsynth.tracking.mlflow_logger import MlflowLogger
from pathsynth.tracking.outbox import Model
from pathsynth.vocabulary.labels import LabelSpace

MOST_ROWS = 64
"""Rows of a table of attempts; each holds an image."""
MOST_PROBABILITIES = 16
"""Classes up to which a table of attempts has a column for each probability."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArtifactMetadata:
    """Files of a folder worth keeping under a name that stands for their content; ``lineage`` names their sources."""

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
    for logger in mlflow_loggers(loggers):
        for key, path in pictures.items():
            logger.picture(key, path, step or 0)


def show_attempts(loggers: Sequence[Logger], key: str, judged: Sequence[Judged], space: LabelSpace, step: int) -> None:
    """A row an attempt with its picture: every class's first slots, each with all its attempts, up to :data:`MOST_ROWS`."""
    for run in wandb_runs(loggers):
        run.log({key: _attempts_table(judged, space), VALIDATION_STEP: step})
    for logger in mlflow_loggers(loggers):
        columns, rows = _attempts(judged, space)
        logger.table(f"{key}/{step:06d}.json", columns, [cells for _, cells in rows], listed=False)


def show_confusion(loggers: Sequence[Logger], key: str, title: str, confusion: np.ndarray, space: LabelSpace) -> None:
    """A confusion matrix from its counts, int (C, C), rows: requested (or true), columns: predicted."""
    counts = np.asarray(confusion)
    truth, predicted = (np.repeat(axis.ravel(), counts.ravel()).tolist() for axis in np.indices(counts.shape))
    for run in wandb_runs(loggers):
        plot = wandb.plot.confusion_matrix(y_true=truth, preds=predicted, class_names=[c.name for c in space.classes], title=title)
        run.log({key: plot})
    for logger in mlflow_loggers(loggers):
        slugs = [c.slug for c in space.classes]
        logger.table(f"{key}.json", ["", *slugs], [[slug, *row] for slug, row in zip(slugs, counts.tolist(), strict=True)])
        with tempfile.TemporaryDirectory() as folder:
            logger.picture(key, confusion_picture(counts, slugs, title, Path(folder) / f"{Path(key).name}.png"), 0)


def show_numbers(loggers: Sequence[Logger], metrics: Sequence[Metric]) -> None:
    """Overall metrics as the run's summary, each with its ``low``, ``high`` and ``n``; all of them as one table.

    Loggers without a summary get the overall values as metrics.
    """
    overall = [m for m in metrics if m.class_ is None]
    records = [m.to_json() for m in metrics]
    for run in wandb_runs(loggers):
        run.summary.update({name: value for m in overall for name, value in _columns(m).items()})
        run.log({"result": wandb.Table(columns=list(records[0]), data=[list(r.values()) for r in records])})
    for logger in mlflow_loggers(loggers):
        logger.log_metrics({name: value for m in overall for name, value in _columns(m).items()})
        logger.table("result.json", list(records[0]), [list(r.values()) for r in records])
    for other in loggers:
        if not isinstance(other, (WandbLogger, MlflowLogger)):
            other.log_metrics({_key(m): m.value for m in overall})
            other.save()


def keep_artifact(loggers: Sequence[Logger], metadata: ArtifactMetadata) -> None:
    """Log files as an artifact. They are not copied: they must stay in their place until they are sent."""
    for run in wandb_runs(loggers):
        artifact = wandb.Artifact(metadata.name, metadata.kind, metadata=dict(metadata.lineage))
        for path in (p for name in metadata.files for p in _files(metadata.folder / name)):
            artifact.add_file(str(path.absolute()), str(path.relative_to(metadata.folder)), policy="immutable", skip_cache=True)
        run.log_artifact(artifact)
    for logger in mlflow_loggers(loggers):
        logger.text(f"{metadata.name}/lineage.json", json.dumps(dict(metadata.lineage), indent=2))
        for path in (p for name in metadata.files for p in _files(metadata.folder / name)):
            logger.file(f"{metadata.name}/{path.relative_to(metadata.folder).as_posix()}", path)


def keep_model(loggers: Sequence[Logger], model: Model) -> None:
    """Log an adapter to MLflow as a model that it can load and serve."""
    for logger in mlflow_loggers(loggers):
        logger.model(model)


def use_artifacts(loggers: Sequence[Logger], names: Sequence[str]) -> None:
    """Record which artifacts a run uses. W&B cannot do this offline; there an artifact's metadata has them under ``made_from``."""
    for logger in mlflow_loggers(loggers):
        logger.describe({}, {"made_from": ", ".join(names)} if names else {})
    for run in wandb_runs(loggers):
        for name in names if not run.offline else ():
            try:
                run.use_artifact(f"{name}:latest")
            except (wandb.Error, ValueError) as error:  # not sent yet, or from another project
                _log.info("W&B does not know %s (%s)", name, error)


def confusion_picture(counts: np.ndarray, slugs: Sequence[str], title: str, path: Path) -> Path:
    """Draw a confusion matrix to a file."""
    from matplotlib.figure import Figure

    side = 3 + 0.4 * len(slugs)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues")
    axes.set_xticks(range(len(slugs)), slugs, rotation=90)
    axes.set_yticks(range(len(slugs)), slugs)
    axes.set(title=title, xlabel="predicted", ylabel="requested, or true")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            axes.text(column, row, str(count), ha="center", va="center", color="white" if count > counts.max() / 2 else "black", fontsize=7)
    figure.savefig(path)
    return path


def _attempts_table(judged: Sequence[Judged], space: LabelSpace) -> wandb.Table:
    columns, rows = _attempts(judged, space)
    place = columns.index("verdict") + 1
    table = wandb.Table(columns=[*columns[:place], "image", *columns[place:]])
    for image, cells in rows:
        table.add_data(*cells[:place], None if image is None else wandb.Image(image), *cells[place:])
    return table


def _attempts(judged: Sequence[Judged], space: LabelSpace) -> tuple[list[str], list[tuple[np.ndarray | None, list[Any]]]]:
    """The columns of a table of attempts, and of each row its image and its cells."""
    columns = ["slot", "class", "prompt", "attempt", "seed", "predicted", "probability", "verdict"]
    spread = len(space) <= MOST_PROBABILITIES
    rows = []
    ordered = sorted(judged, key=lambda j: (j.attempt.slot.index, j.attempt.slot.label, j.attempt.number))
    for item in ordered[:MOST_ROWS]:
        attempt, verdict = item.attempt, item.verdict
        predicted = "" if verdict.failed else space.classes[verdict.predicted].slug
        cells = [
            attempt.slot.index,
            space.classes[attempt.slot.label].slug,
            attempt.prompt,
            attempt.number,
            str(attempt.seed),  # 63 bits; a browser's numbers have 53
            predicted,
            _probability(verdict.probability),
            verdict.reason or "accepted",
            *(_probability(p) for p in verdict.probabilities if spread),
        ]
        rows.append((item.image, cells))
    return [*columns, *(f"p({c.slug})" for c in space.classes if spread)], rows


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
