"""The Lightning logger behind ``tracking=mlflow``: it writes to an outbox, which a thread sends."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from pathsynth.tracking.mlflow_sender import BackgroundSender, Sender, name_of, text_of
from pathsynth.tracking.outbox import OUTBOX, Artifact, Described, Model, Outbox, Picture, Record, RunHead, Status, milliseconds

_STOPPED_SECONDS = 2.0


class MlflowLogger(Logger):
    """One run of the trial in ``folder``. Logging never waits for a server; :meth:`end` waits while the server takes the remaining records.

    Of metrics in ``best`` the highest value so far is a metric of its own, ``<name>/best``. Keys in ``axes`` name the step, which
    MLflow gets as the step itself.
    """

    def __init__(self, folder: Path, head: RunHead, best: Sequence[str] = (), axes: Sequence[str] = ()) -> None:
        super().__init__()
        self._head, self._best, self._axes = head, tuple(best), frozenset(axes)
        self._outbox = Outbox(folder / OUTBOX / head.identity, head)
        self._sender = Sender(self._outbox)
        self._background: BackgroundSender | None = None
        self._write(Status("RUNNING", milliseconds()))

    @property
    def name(self) -> str:
        """The experiment."""
        return self._head.experiment

    @property
    def version(self) -> str:
        """Identity of the trial."""
        return self._head.identity

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Add parameters of the run to the journal."""
        settings = vars(params) if isinstance(params, Namespace) else params
        if settings:
            self.describe(settings)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add values to the journal; of metrics in ``best`` also the highest so far."""
        named = {name_of(key): float(value) for key, value in metrics.items() if key not in self._axes}
        for key in self._best:
            before = self._outbox.highest(f"{key}/best")
            if key in named and not math.isnan(named[key]) and (before is None or named[key] > before):
                named[f"{key}/best"] = named[key]
        self._outbox.measure(named, step or 0)
        self._wake()

    def describe(self, settings: Mapping[str, Any], tags: Mapping[str, str] | None = None) -> None:
        """Settings, each a column, and tags."""
        self._write(Described(text_of(settings), text_of(tags or {})))

    def picture(self, key: str, path: Path, step: int) -> None:
        """A copy of a picture of a step."""
        self._write(Picture(self._outbox.keep(path), key, step, milliseconds()))

    def table(self, path: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], listed: bool = True) -> None:
        """A table among the run's artifacts; ``listed``: whether MLflow lists it as a table."""
        content = json.dumps({"columns": list(columns), "data": [list(row) for row in rows]}, ensure_ascii=False)
        self._write(Artifact(self._outbox.keep_text(path.rpartition("/")[2], content), path, listed))

    def text(self, path: str, content: str) -> None:
        """A text among the run's artifacts."""
        self._write(Artifact(self._outbox.keep_text(path.rpartition("/")[2], content), path))

    def file(self, path: str, source: Path, keep: bool = False) -> None:
        """A file among the run's artifacts; unless ``keep`` copies it now, it must stay in its place until it is sent."""
        self._write(Artifact(self._outbox.keep(source) if keep else str(source.absolute()), path))

    def model(self, model: Model) -> None:
        """An adapter that MLflow is to serve; its folder must stay in its place until it is sent."""
        self._write(model)

    def end(self, status: str = "FINISHED") -> None:
        """End this part of the run, and send what is left; a run that was stopped is not waited for."""
        self._write(Status(status, milliseconds()))
        if self._background:
            self._background.end(_STOPPED_SECONDS if status == "KILLED" else None)
            self._background = None

    def _write(self, record: Record) -> None:
        self._outbox.write(record)
        self._wake()

    def _wake(self) -> None:
        """The thread starts at the first record, in the process that logs."""
        self._background = self._background or BackgroundSender(self._sender)
        self._background.wake()
