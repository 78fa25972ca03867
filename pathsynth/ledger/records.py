"""The records that results are made of, and ``result.json``, whose form is ``result.schema.json`` beside this file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pathsynth.ledger.atomic import read_json, write_json
from pathsynth.ledger.errors import RequestError

SCHEMA_VERSION = 1
RELIABILITY = "reliability"
_SCHEMA = Path(__file__).with_name("result.schema.json")


@dataclass(frozen=True)
class Metric:
    """One number with all that it takes to read it. All metrics of a result load as one table.

    ``low`` and ``high`` bound the 95% interval (None: no interval is defined), ``n`` counts ``unit``. ``class_`` is a slug
    (None: over all classes). ``stage`` is "before filtering" or "after filtering" (None: not about generated images).
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    unit: str
    class_: str | None
    split: str
    stage: str | None
    scorer: str | None
    prompts: str | None
    data: str
    seed: int

    def to_json(self) -> dict[str, Any]:
        fields = asdict(self)
        return {"class" if key == "class_" else key: value for key, value in fields.items()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Metric:
        return cls(**{"class_" if key == "class" else key: value for key, value in record.items()})


@dataclass(frozen=True)
class Missing:
    """A metric that was not measured, and why."""

    metric: str
    reason: str


@dataclass(frozen=True)
class Result:
    """Everything ``result.json`` holds. ``timings`` in seconds.

    ``extras``: confusion matrices (rows: asked for) by "stage/scorer", and by "reliability/split/scorer" a row for each bin of
    confidence: images, those that were answered rightly, and their mean confidence in thousandths.
    """

    identity: str
    versions: dict[str, str]
    settings: dict[str, Any]
    metrics: tuple[Metric, ...]
    missing: tuple[Missing, ...]
    extras: dict[str, list[list[int]]] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def find(
        self,
        metric: str,
        stage: str | None = None,
        scorer: str | None = None,
        class_: str | None = None,
        split: str = "generated",
    ) -> Metric | None:
        """The one metric of that description, or None."""
        wanted = (metric, stage, scorer, class_, split)
        return next((m for m in self.metrics if (m.metric, m.stage, m.scorer, m.class_, m.split) == wanted), None)


def write_result(path: Path, result: Result) -> None:
    """Write ``result.json`` in one step.

    Raises:
        ValueError: a number is not finite, or the record does not have the form of ``result.schema.json``.
    """
    record = {**asdict(result), "metrics": [m.to_json() for m in result.metrics], "missing": [asdict(m) for m in result.missing]}
    _has_form()(record)
    write_json(path, record)


def read_result(path: Path) -> Result:
    """Read ``result.json``.

    Raises:
        RequestError: it is missing, damaged, or of another schema version.
    """
    with _as_refusals(path):
        record = _record(path)
        _has_form()(record)
        metrics = tuple(Metric.from_json(m) for m in record.pop("metrics"))
        missing = tuple(Missing(**m) for m in record.pop("missing"))
        return Result(**record, metrics=metrics, missing=missing)


def read_metric(path: Path, metric: str, stage: str | None = None, scorer: str | None = None) -> Metric | None:
    """The one metric over all classes of generated images, as :meth:`Result.find` finds it, and of the rest no records.

    Raises:
        RequestError: as :func:`read_result`.
    """
    with _as_refusals(path):
        wanted = {"metric": metric, "stage": stage, "scorer": scorer, "class": None, "split": "generated"}
        found = (m for m in _record(path)["metrics"] if all(m[key] == value for key, value in wanted.items()))
        return next((Metric.from_json(m) for m in found), None)


@cache
def _has_form() -> Callable[[object], object]:
    """A check against the schema, which raises ValueError. The library is loaded only where a whole result is written or read."""
    import fastjsonschema

    return fastjsonschema.compile(json.loads(_SCHEMA.read_bytes()))


def _record(path: Path) -> dict[str, Any]:
    record = read_json(path)
    version = record["schema_version"]
    if version != SCHEMA_VERSION:
        raise RequestError(f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}; evaluate the trial again")
    return record


@contextmanager
def _as_refusals(path: Path) -> Iterator[None]:
    """What cannot be read becomes one line."""
    try:
        yield
    except OSError as error:
        raise RequestError(f"no result at {path}; run the trial to its end first") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RequestError(f"{path} is not a result file ({error}); evaluate the trial again") from error
