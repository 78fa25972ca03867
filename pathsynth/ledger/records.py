"""The records that results are made of, and ``result.json``, whose form is ``result.schema.json`` beside this file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathsynth.ledger.atomic import read_json, write_json
from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.ledger.versions import Provenance

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 2
"""2: what computed each stage; ``timings`` are the stages' own, also of those that another trial built; the optimizer's groups."""

_RESULT = "result.json"
CONFUSION_FILE = "confusion.json"
"""What real images of each split a classifier named as what: counts, rows by their true class."""
JUDGED_FILE = "judged.parquet"
"""What the judge says of each image, beside the attempt log; trials of earlier versions, and sets without a judge, have none."""
OPTIMIZER_FILE = "optimizer.json"
"""In the folder of a fine-tune: a list of :class:`OptimizerGroup` records."""
_OPTIMIZER = "optimizer"
PANEL_JUDGE = "judge_"
"""What the names of a panel's judges start with, as scorers and as stages; the name in ``evaluate.judges`` follows."""
PANEL_MEAN, PANEL_WORST, PANEL_MAJORITY = "panel_mean", "panel_worst", "panel_majority"
"""The scorers of a panel as a whole."""
RELIABILITY = "reliability"
_SCHEMA = Path(__file__).with_name("result.schema.json")


_LARGEST = sys.float_info.max


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number with all that it takes to read it. All metrics of a result load as one table.

    ``low`` and ``high`` bound the 95% interval (None: no interval is defined), ``n`` counts ``unit``. ``class_`` is a slug
    (None: over all classes). ``stage`` is "before filtering" or "after filtering" (None: not about generated images).
    """

    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int
    unit: str
    class_: str | None = None
    split: str
    stage: str | None = None
    scorer: str | None = None
    prompts: str | None = None
    data: str
    seed: int

    def to_json(self) -> dict[str, Any]:
        """The record of ``result.json``, in which ``class_`` is ``class``."""
        fields = asdict(self)
        return {"class" if key == "class_" else key: value for key, value in fields.items()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Metric:
        """The metric of a record of ``result.json``.

        Raises:
            ValueError, TypeError: a field is missing or unknown, or a number is none that a float can hold.
        """
        for name in ("value", "low", "high"):
            if isinstance(record.get(name), int) and abs(record[name]) > _LARGEST:
                raise ValueError(f"{name} of {record.get('metric')} is too large")
        return cls(**{"class_" if key == "class" else key: value for key, value in record.items()})


def format_score(metric: Metric) -> str:
    """As in "0.913 [0.890, 0.932] n=450"."""
    if metric.low is None or metric.high is None:
        return f"{metric.value:.3f} n={metric.n:,}"
    return f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}] n={metric.n:,}"


@dataclass(frozen=True)
class Missing:
    """A metric that was not measured, and why."""

    metric: str
    reason: str


@dataclass(frozen=True)
class OptimizerGroup:
    """Tensors that one rule updates at one rate. ``parameters``: numbers in these tensors; ``lr``: before the schedule changes it."""

    name: str
    rule: str
    tensors: int
    parameters: int
    lr: float


@dataclass(frozen=True)
class Result:
    """Everything ``result.json`` holds.

    ``versions`` are of what wrote the result; ``stages``: what computed each stage that it rests on, whichever trial that was, and
    ``timings``: seconds of each stage's own work. A stage that was built before these were recorded is in neither.
    ``extras``: confusion matrices (rows: requested) by "stage/scorer", and by "reliability/split/scorer" a row for each bin of
    confidence: images, those that were answered rightly, and their mean confidence in thousandths.
    ``optimizer``: the fine-tune's groups; in the file they are ``extras.optimizer``.
    """

    identity: str
    versions: dict[str, str]
    settings: dict[str, Any]
    metrics: tuple[Metric, ...]
    missing: tuple[Missing, ...]
    extras: dict[str, list[list[int]]] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    stages: dict[str, Provenance] = field(default_factory=dict)
    optimizer: tuple[OptimizerGroup, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def table(self) -> pd.DataFrame:
        """The metrics, a row each, with the columns of the file.

        They are metric, value, low, high, n, unit, class, split, stage, scorer, prompts, data and seed.
        """
        return metrics_table(self.metrics)

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


def metrics_table(metrics: Iterable[Metric]) -> pd.DataFrame:
    """A row a metric; its columns are the fields of a record in ``result.json``."""
    import pandas as pd

    columns = ["class" if f.name == "class_" else f.name for f in fields(Metric)]
    return pd.DataFrame([metric.to_json() for metric in metrics], columns=columns)


def write_result(path: Path, result: Result) -> None:
    """Write ``result.json`` in one step.

    Raises:
        ValueError: a number is not finite, or the record does not have the form of ``result.schema.json``.
    """
    record = {**asdict(result), "metrics": [m.to_json() for m in result.metrics], "missing": [asdict(m) for m in result.missing]}
    groups = [asdict(group) for group in result.optimizer]
    del record[_OPTIMIZER]
    record["extras"] = {**result.extras, **({_OPTIMIZER: groups} if groups else {})}
    _has_form()(record)
    write_json(path, record)


def read_result(path: Path) -> Result:
    """Read ``result.json``.

    Raises:
        RequestError: it is missing, damaged, or of a later schema version.
    """
    with _as_refusals(path):
        record = _record(path)
        _has_form()(record)
        metrics = tuple(Metric.from_json(m) for m in record.pop("metrics"))
        missing = tuple(Missing(**m) for m in record.pop("missing"))
        stages = {name: Provenance.from_json(provenance) for name, provenance in record.pop("stages").items()}
        optimizer = tuple(OptimizerGroup(**group) for group in record["extras"].pop(_OPTIMIZER, ()))
        return Result(**record, metrics=metrics, missing=missing, stages=stages, optimizer=optimizer)


def load_result(path: str | Path) -> Result:
    """The result of a trial, from its folder or its ``result.json``.

    Raises:
        RequestError: as :func:`read_result`.
    """
    place = Path(path)
    return read_result(place / _RESULT if place.is_dir() else place)


def read_metric(path: Path, metric: str, stage: str | None = None, scorer: str | None = None) -> Metric | None:
    """The one metric over all classes of generated images, as :meth:`Result.find` finds it, and of the rest no records.

    Raises:
        RequestError: as :func:`read_result`.
    """
    return next((m for m in read_metrics(path, metric, stage) if m.scorer == scorer), None)


def read_metrics(path: Path, metric: str, stage: str | None = None) -> tuple[Metric, ...]:
    """The same by every scorer.

    Raises:
        RequestError: as :func:`read_result`.
    """
    with _as_refusals(path):
        named = (m for m in _record(path)["metrics"] if m["metric"] == metric and m["stage"] == stage)
        return tuple(Metric.from_json(m) for m in named if m["class"] is None and m["split"] == "generated")


def read_optimizer(folder: Path) -> tuple[OptimizerGroup, ...]:
    """The optimizer's groups of the fine-tune in ``folder``; none where it kept no list.

    Raises:
        StageError: the list is damaged.
    """
    path = folder / OPTIMIZER_FILE
    if not path.is_file():
        return ()
    try:
        return tuple(OptimizerGroup(**group) for group in json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise StageError(f"{path} cannot be read ({error}); remove its folder and train again") from error


@cache
def _has_form() -> Callable[[object], object]:
    """A check against the schema, which raises ValueError. The library is loaded only where a whole result is written or read."""
    import fastjsonschema

    return fastjsonschema.compile(json.loads(_SCHEMA.read_bytes()))


def _record(path: Path) -> dict[str, Any]:
    record = read_json(path)
    version = record["schema_version"]
    if version not in (*_UPGRADES, SCHEMA_VERSION):
        raise RequestError(f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}; evaluate the trial again")
    while record["schema_version"] in _UPGRADES:
        record = _UPGRADES[record["schema_version"]](record)
    return record


def _from_version_1(record: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing was kept of what computed each stage; ``timings`` are those of the trial, in which a stage that it found took no time."""
    return {**record, "schema_version": 2, "stages": {}}


_UPGRADES: Mapping[int, Callable[[Mapping[str, Any]], dict[str, Any]]] = {1: _from_version_1}
"""By the version that each starts from."""


@contextmanager
def _as_refusals(path: Path) -> Iterator[None]:
    """What cannot be read becomes one line."""
    try:
        yield
    except OSError as error:
        raise RequestError(f"no result at {path}; run the trial to its end first") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RequestError(f"{path} is not a result file ({error}); evaluate the trial again") from error
