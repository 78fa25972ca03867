"""Sends outboxes to an MLflow server or database, at once or later. No torch; MLflow is loaded when there is something to send."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from pathsynth.ledger.errors import RequestError
from pathsynth.tracking.outbox import Artifact, Described, Measured, Model, Outbox, Picture, Record, Status, milliseconds
from pathsynth.tracking.reachability import answers, listens

if TYPE_CHECKING:
    from mlflow import MlflowClient

IDENTITY = "pathsynth.identity"
"""The tag that a run is found by."""
_MOST_METRICS, _MOST_PARAMS, _MOST_TAGS = 1000, 100, 100
_LONGEST_PARAM, _LONGEST_TAG = 6000, 5000
_MANNERS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Unless the environment says otherwise, MLflow does not retry a missing server for minutes, and sends no telemetry."""
_ANSWER_SECONDS, _PATIENCE_SECONDS = 4.0, 120.0
_GATHER_SECONDS = 1.0
"""Records of such a time are sent together."""
_PORTS = {"postgresql": 5432, "mysql": 3306}
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0
_REFUSED = ("INVALID_PARAMETER_VALUE", "PARAMETER_VALUE_TOO_LONG")
"""MLflow's error codes for a record that it would never take."""
_NOT_ALLOWED = re.compile(r"[^\w/. :-]+")
_log = logging.getLogger(__name__)


class NotSent(Exception):
    """MLflow did not take records; they wait."""


def address_of(uri: str | None, studies: Path) -> str:
    """The server or database that the settings name, else the environment, else a file in the folder of all studies."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(studies / 'mlflow.db').absolute()}"


def masked_address(uri: str) -> str:
    """An address without the password that it may hold."""
    parts = urlsplit(uri)
    return uri.replace(f"{parts.username or ''}:{parts.password}@", "") if parts.password else uri


def is_web(uri: str) -> bool:
    """Whether an address is that of a server that speaks HTTP."""
    return urlsplit(uri).scheme in ("http", "https")


def require_mlflow() -> None:
    """Refuse to track with MLflow where it is not installed.

    Raises:
        RequestError: it cannot be loaded.
    """
    from importlib.util import find_spec

    if find_spec("mlflow") is None:
        raise RequestError("tracking=mlflow needs MLflow; install it: pip install 'pathsynth[mlflow]'")


@dataclass
class Sender:
    """Sends the records of an outbox in order; ``steps`` counts requests that succeeded."""

    outbox: Outbox
    steps: int = 0
    _answered: bool = False

    def send(self) -> None:
        """Send all waiting records, unless another process is sending them.

        Raises:
            NotSent: the server does not answer, or refuses for a reason that may pass; the rest waits.
        """
        with self.outbox.for_one_sender() as mine:
            for group in _groups(self.outbox.read(self.outbox.sent)) if mine else ():
                self._send(group)

    @property
    def address(self) -> str:
        """Address of the MLflow server or store."""
        return address_of(self.outbox.head.uri, self.outbox.studies)

    def _send(self, group: Sequence[tuple[Record, int]]) -> None:
        if not self._answered:
            self._require_answer()  # before MLflow is loaded, which takes seconds
        import requests
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            self._log([record for record, _ in group])
        except (MlflowException, requests.RequestException, SQLAlchemyError, ConnectionError, TimeoutError) as error:
            if getattr(error, "error_code", "") not in _REFUSED:
                self._answered = False
                self._require_answer()
                raise NotSent(_line(error)) from error
            _log.warning("MLflow refuses a record, which is left out: %s", _line(error))
        self._answered = True
        last, place = group[-1]
        self.outbox.note_sent(place, getattr(last, "source", ""))
        self.steps += 1

    def _log(self, records: Sequence[Record]) -> None:
        """Log measurements together, or one other record."""
        first = records[0]
        if isinstance(first, Measured):
            self._measure([record for record in records if isinstance(record, Measured)])
        elif isinstance(first, Described):
            self._describe(first)
        elif isinstance(first, Status):
            ended = None if first.status == "RUNNING" else first.time
            self._client.set_terminated(self.run_id, first.status, ended) if ended else self._client.update_run(self.run_id, first.status)
        elif not Path(first.source).exists():
            _log.warning("%s no longer exists and is not sent to MLflow", first.source)
        elif isinstance(first, Picture):
            import PIL.Image

            with PIL.Image.open(first.source) as image:
                self._client.log_image(self.run_id, image, key=first.key, step=first.step, timestamp=first.time, synchronous=True)
        elif isinstance(first, Model):
            from pathsynth.tracking.adapter_model import save_model

            with tempfile.TemporaryDirectory() as folder:
                save_model(first, Path(folder) / "model")
                self._client.log_artifacts(self.run_id, str(Path(folder) / "model"), first.path)
        else:
            self._keep(first)

    def _measure(self, records: Sequence[Measured]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(key, value, r.time, r.step) for r in records for key, value in r.values.items()]
        for some in _parts(metrics, _MOST_METRICS):
            self._client.log_batch(self.run_id, metrics=some, synchronous=True)

    def _describe(self, record: Described) -> None:
        """MLflow refuses a changed setting; where one may change, as the threads of a resumed trial, the first value stays."""
        from mlflow.entities import Param, RunTag

        known = self._client.get_run(self.run_id).data.params
        params = [Param(key, value[:_LONGEST_PARAM]) for key, value in record.params.items() if key not in known]
        for some in _parts(params, _MOST_PARAMS):
            self._client.log_batch(self.run_id, params=some, synchronous=True)
        for some_tags in _parts([RunTag(key, value[:_LONGEST_TAG]) for key, value in record.tags.items()], _MOST_TAGS):
            self._client.log_batch(self.run_id, tags=some_tags, synchronous=True)

    def _keep(self, artifact: Artifact) -> None:
        source, (folder, _, name) = Path(artifact.source), artifact.path.rpartition("/")
        if source.name != name:
            raise ValueError(f"{artifact.source} cannot be sent as {artifact.path}: MLflow keeps the names of files")
        self._client.log_artifact(self.run_id, str(source), folder or None)
        if artifact.table:
            tag = "mlflow.loggedArtifacts"
            tables = json.loads(self._client.get_run(self.run_id).data.tags.get(tag, "[]"))
            entry = {"path": artifact.path, "type": "table"}
            if entry not in tables:
                self._client.set_tag(self.run_id, tag, json.dumps([*tables, entry]))

    def _require_answer(self) -> None:
        parts = urlsplit(self.address)
        port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
        if is_web(self.address):
            answered = answers(self.address, _ANSWER_SECONDS)
        else:
            answered = not (parts.hostname and port) or listens(parts.hostname, port, _ANSWER_SECONDS)
        if not answered:
            raise NotSent(f"no answer within {_ANSWER_SECONDS:.0f} s")

    @cached_property
    def _client(self) -> MlflowClient:
        for name, value in _MANNERS.items():
            os.environ.setdefault(name, value)
        warnings.filterwarnings("ignore", category=UserWarning, module="mlflow")  # advice on models, which those who train cannot follow
        for library in ("alembic", "mlflow"):
            logging.getLogger(library).setLevel(logging.ERROR)
        from mlflow import MlflowClient

        self.steps += 1
        if is_web(self.address):
            return MlflowClient(self.address)
        with (self.outbox.studies / "mlflow.lock").open("ab") as lock:  # concurrent creation of tables fails
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            return MlflowClient(self.address)

    @cached_property
    def run_id(self) -> str:
        """The run of this identity in its experiment; both are created if missing."""
        head = self.outbox.head
        experiment = self._experiment(head.experiment)
        runs = self._client.search_runs([experiment], f"tags.`{IDENTITY}` = '{head.identity}'", max_results=1)
        if runs:
            return str(runs[0].info.run_id)
        tags = {IDENTITY: head.identity, **head.tags}
        self.steps += 1
        return str(self._client.create_run(experiment, milliseconds(), tags, head.name).info.run_id)

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        known = self._client.get_experiment_by_name(name)
        if known is None:
            try:
                return str(self._client.create_experiment(name, self._artifact_place()))
            except MlflowException as error:
                known = self._client.get_experiment_by_name(name)  # another trial of the study may have created it meanwhile
                if known is None:
                    raise error
        if known.lifecycle_stage == "deleted":
            raise NotSent(f"the experiment {name} is deleted there; restore it, or give the study another name")
        return str(known.experiment_id)

    def _artifact_place(self) -> str | None:
        """A server knows where it keeps files; those of a SQLite file lie beside it, those of another database beside the studies."""
        if is_web(self.address):
            return None
        parts = urlsplit(self.address)
        database = Path(parts.path[1:]) if parts.scheme == "sqlite" else self.outbox.studies / "mlflow.db"
        return str(database.absolute().with_suffix(".artifacts"))


class BackgroundSender:
    """A thread that sends an outbox while a trial runs; if it cannot, it prints one line for each address."""

    _unanswered: ClassVar[set[str]] = set()

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._wake, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Tell the thread that a record is waiting."""
        self._wake.set()

    def end(self, at_most: float | None = None) -> None:
        """Send the remaining records: for ``at_most`` seconds, or (None) as long as requests succeed."""
        self._ending.set()
        self._wake.set()
        if at_most is not None:
            self._thread.join(at_most)
            return
        steps = -1
        while self._thread.is_alive() and steps != self._sender.steps:
            steps = self._sender.steps
            self._thread.join(_PATIENCE_SECONDS)

    def _work(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            self._wake.wait()
            self._ending.wait(_GATHER_SECONDS)
            self._wake.clear()
            last = self._ending.is_set()
            try:
                self._sender.send()
                pause = _FIRST_PAUSE
            except NotSent as error:
                self._say(str(error))
                self._wake.set()
                if not last:
                    self._ending.wait(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
            except Exception as error:  # a thread of a tracker ends no trial
                _log.warning("records for MLflow wait", exc_info=error)
                self._say(_line(error))
                return
            if last:
                return

    def _say(self, reason: str) -> None:
        address = masked_address(self._sender.address)
        if address not in self._unanswered:
            self._unanswered.add(address)
            remedy = "its MLflow records are kept beside the trial; they are sent when it answers, or later by pathsynth send"
            print(f"{address}: {reason}; {remedy}", flush=True)


def _groups(records: Iterator[tuple[Record, int]]) -> Iterator[list[tuple[Record, int]]]:
    """Consecutive measurements in groups as large as MLflow takes; any other record alone."""
    group: list[tuple[Record, int]] = []
    values = 0
    for record, place in records:
        size = len(record.values) if isinstance(record, Measured) else 0
        if group and (not size or values + size > _MOST_METRICS):
            yield group
            group, values = [], 0
        group.append((record, place))
        values += size
        if not size:
            yield group
            group = []
    if group:
        yield group


def _parts(items: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    yield from (items[start : start + most] for start in range(0, len(items), most))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def name_of(key: str) -> str:
    """A key in the characters that MLflow allows."""
    return _NOT_ALLOWED.sub("_", key)


def text_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as text, as MLflow stores them."""
    return {name_of(key): str(value) for key, value in settings.items()}
