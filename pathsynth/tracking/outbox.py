"""Records of a run for MLflow: a journal beside the trial, which survives a kill and a missing server. No torch, no MLflow.

Everything is written here first, and sent from here (``mlflow_sender.py``). A record carries the time at which it was measured, and MLflow
keeps one of several measurements with the same time, step and value: so what was sent and not noted as sent is sent again without harm.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pathsynth.ledger.atomic import copy_file, read_json, write_json, write_text

OUTBOX = "mlflow"
"""The folder of a trial that holds an outbox for each of its runs, by the run's identity."""
_HEAD, _RECORDS, _SENT, _FILES, _LOCK = "run.json", "records.jsonl", "sent", "files", "lock"


@dataclass(frozen=True)
class RunHead:
    """Name and identity of a run. ``uri``: the server or database; None: the one that the environment names when it is sent."""

    identity: str
    name: str
    experiment: str
    uri: str | None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """Values of one step; ``time`` in milliseconds."""

    values: Mapping[str, float]
    step: int
    time: int


@dataclass(frozen=True)
class Described:
    """Settings and tags, as text."""

    params: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Picture:
    """An image file of a step."""

    source: str
    key: str
    step: int
    time: int


@dataclass(frozen=True)
class Artifact:
    """A file, and the path that it has among the run's artifacts. ``table``: MLflow can show it as one."""

    source: str
    path: str
    table: bool = False


@dataclass(frozen=True)
class Model:
    """An adapter's folder that MLflow is to serve as a model, and the path that this has among the run's artifacts.

    ``base`` to ``canvas``: the arguments that its base is loaded with. ``size``: of its images. ``sampling``: how they are drawn.
    """

    source: str
    path: str
    base: str
    revision: str | None
    identity: str
    canvas: int | None
    size: int
    sampling: Mapping[str, Any]


@dataclass(frozen=True)
class Status:
    """RUNNING, FINISHED, FAILED or KILLED."""

    status: str
    time: int


Record = Measured | Described | Picture | Artifact | Model | Status
_KINDS: Mapping[str, type[Record]] = {kind.__name__.lower(): kind for kind in (Measured, Described, Picture, Artifact, Model, Status)}


class Outbox:
    """The journal of one run. Opened again, it continues where it ended; values that it holds at a step are not written twice."""

    def __init__(self, folder: Path, head: RunHead | None = None) -> None:
        self.folder = folder
        self._records, self._sent = folder / _RECORDS, folder / _SENT
        if head:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / _HEAD, asdict(head))
            self._drop_torn_line()
        self.head = RunHead(**read_json(folder / _HEAD))
        self._known = {(key, r.step): v for r, _ in self.read(0) if isinstance(r, Measured) for key, v in r.values.items()} if head else {}

    def measure(self, values: Mapping[str, float], step: int) -> None:
        """Write the values, but those that the journal has of this step."""
        new = {key: value for key, value in values.items() if repr(self._known.get((key, step))) != repr(value)}
        if new:
            self._known.update({(key, step): value for key, value in new.items()})
            self.write(Measured(new, step, milliseconds()))

    def highest(self, key: str) -> float | None:
        """The highest value of a metric so far."""
        return max((value for (known, _), value in self._known.items() if known == key), default=None)

    def write(self, record: Record) -> None:
        """Append a record; it survives a kill of this process."""
        line = json.dumps({"kind": type(record).__name__.lower(), **asdict(record)}, ensure_ascii=False) + "\n"
        with self._records.open("ab") as journal:
            journal.write(line.encode())

    def keep(self, source: Path) -> str:
        """Copy a file; return the path of the copy."""
        place = self.folder / _FILES / str(time.time_ns()) / source.name
        place.parent.mkdir(parents=True)
        copy_file(source, place)
        return str(place)

    def keep_text(self, name: str, content: str) -> str:
        """Write a text to a file of that name; return the file's path."""
        place = self.folder / _FILES / str(time.time_ns()) / name
        place.parent.mkdir(parents=True)
        write_text(place, content)
        return str(place)

    def read(self, start: int) -> Iterator[tuple[Record, int]]:
        """The records from a position in the journal, each with the position after it."""
        if not self._records.is_file():
            return
        with self._records.open("rb") as journal:
            journal.seek(start)
            for line in journal:
                if not line.endswith(b"\n"):
                    return
                start += len(line)
                yield _record(json.loads(line)), start

    @property
    def studies(self) -> Path:
        """The folder of all studies; the outbox is that of a run of one trial."""
        return self.folder.absolute().parents[3]

    @property
    def sent(self) -> int:
        """The position up to which the journal was sent."""
        return int(self._sent.read_text()) if self._sent.is_file() else 0

    @property
    def waits(self) -> bool:
        """Whether records are waiting."""
        return next(self.read(self.sent), None) is not None

    def note_sent(self, place: int, source: str = "") -> None:
        """Store the position up to which the journal was sent, and remove the copy (``source``) that was sent last."""
        write_text(self._sent, str(place))
        if source and Path(source).is_relative_to(self.folder / _FILES):
            shutil.rmtree(Path(source).parent, ignore_errors=True)

    @contextmanager
    def for_one_sender(self) -> Iterator[bool]:
        """Whether this process alone sends the journal; the lock keeps others out and ends with the process."""
        with (self.folder / _LOCK).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            except OSError:  # a file system without locks; sent twice is as good as once
                pass
            yield True

    def _drop_torn_line(self) -> None:
        """A kill may have cut the last line short."""
        if self._records.is_file():
            content = self._records.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(self._records, whole)


def outboxes(folder: Path) -> list[Outbox]:
    """The outboxes of a trial, a study or of all studies."""
    heads = sorted({*folder.glob(f"{OUTBOX}/*/{_HEAD}"), *folder.glob(f"*/{OUTBOX}/*/{_HEAD}"), *folder.glob(f"*/*/{OUTBOX}/*/{_HEAD}")})
    boxes = []
    for head in heads:
        with suppress(OSError, ValueError, TypeError):  # one that a power cut left unreadable has nothing behind it
            boxes.append(Outbox(head.parent))
    return boxes


def milliseconds() -> int:
    """Now."""
    return time.time_ns() // 1_000_000


def _record(fields: dict[str, Any]) -> Record:
    return _KINDS[fields.pop("kind")](**fields)
