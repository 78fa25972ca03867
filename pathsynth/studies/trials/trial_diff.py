"""Whether two trials came to the same: their weights, their attempts, and every number. Reads files only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pathsynth.ledger.errors import StageError
from pathsynth.ledger.identity import digest
from pathsynth.ledger.records import Metric, Result, read_result
from pathsynth.ledger.weights import weights_digest
from pathsynth.sampling.attempts import AttemptRow, read_attempts
from pathsynth.studies.trials.manifest import computed_by
from pathsynth.studies.trials.trial_table import RESULT

_WEIGHTS = ("adapter/*.safetensors", "base/**/*.safetensors", "classifier.safetensors")
_CARDS = ("adapter/adapter.json", "classifier.json")
_ATTEMPTS, _SCORES = "attempts.parquet", "scores.json"
_DIGITS = 12


@dataclass(frozen=True)
class Compared:
    """One thing that both trials should have alike, and what it is, or how it differs."""

    what: str
    same: bool
    detail: str


def compare_trials(first: Path, second: Path) -> list[Compared]:
    """Weights by their content, attempts row by row, numbers one by one; times and versions are no result.

    Raises:
        RequestError, StageError: a file of a trial cannot be read.
    """
    compared = [*_weights(first, second), *_attempts(first, second), *_numbers(first, second)]
    return compared or [Compared("results", False, "neither trial has any")]


def differing_versions(first: Path, second: Path) -> list[str]:
    """Libraries and commits in which the manifests of two trials differ: "torch 2.14.1 → 2.15.0"."""
    before, after = (computed_by(folder) for folder in (first, second))
    names = dict.fromkeys((*before, *after))
    return [f"{name} {before.get(name)} → {after.get(name)}" for name in names if before.get(name) != after.get(name)]


def _weights(first: Path, second: Path) -> Iterator[Compared]:
    """Tensors, and the cards beside them: rank, targets, the step that was best."""
    for parts, digest_of in ((_WEIGHTS, weights_digest), (_CARDS, _card_digest)):
        names = sorted({path.relative_to(folder) for folder in (first, second) for part in parts for path in folder.glob(part)})
        for name in names:
            detail = [digest_of(folder / name)[:_DIGITS] if (folder / name).is_file() else "none" for folder in (first, second)]
            yield _pair(str(name), *detail)


def _card_digest(path: Path) -> str:
    try:
        return digest(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise StageError(f"{path} cannot be read ({error}); run the trial again") from error


def _attempts(first: Path, second: Path) -> Iterator[Compared]:
    there = [(folder / _ATTEMPTS).is_file() for folder in (first, second)]
    if not any(there):
        return
    if not all(there):
        yield _pair(_ATTEMPTS, *("rows" if exists else "none" for exists in there))
        return
    before, after = (list(read_attempts(folder)) for folder in (first, second))
    unlike = [(a, b) for a, b in zip(before, after, strict=False) if repr(a) != repr(b)]  # of two that are not a number, too
    if len(before) != len(after):
        yield _pair(_ATTEMPTS, f"{len(before)} rows", f"{len(after)} rows")
    elif unlike:
        yield Compared(_ATTEMPTS, False, f"{len(unlike)} of {len(before)} rows differ, first {_row(*unlike[0])}")
    else:
        yield Compared(_ATTEMPTS, True, f"{len(before)} rows")


def _row(a: AttemptRow, b: AttemptRow) -> str:
    unlike = [name for name, value in vars(a).items() if repr(value) != repr(getattr(b, name))]
    return f"{a.class_slug}, slot {a.slot}, attempt {a.attempt}: {', '.join(unlike)}"


def _numbers(first: Path, second: Path) -> Iterator[Compared]:
    before, after = _metrics(first), _metrics(second)
    names = list(dict.fromkeys((*before, *after)))
    unlike = [name for name in names if before.get(name) != after.get(name)]
    for name in unlike:
        yield Compared(name, False, f"{_number(before.get(name))} → {_number(after.get(name))}")
    if names:
        detail = f"{len(names) - len(unlike)} of {len(names)} the same" if unlike else f"{len(names)} numbers"
        yield Compared("metrics", not unlike, detail)
    results = [_result(folder) for folder in (first, second)]
    if any(results):
        contents = [(r.extras, r.missing) if r else None for r in results]
        yield Compared("confusion matrices, missing metrics", contents[0] == contents[1], "")


def _metrics(folder: Path) -> dict[str, Metric]:
    """Every number of a trial by what it says it is; a classifier alone has its scores."""
    result = _result(folder)
    found = result.metrics if result else _scores(folder / _SCORES)
    return {_name(metric): metric for metric in found}


def _result(folder: Path) -> Result | None:
    return read_result(folder / RESULT) if (folder / RESULT).is_file() else None


def _scores(path: Path) -> tuple[Metric, ...]:
    if not path.is_file():
        return ()
    try:
        return tuple(Metric.from_json(record) for record in json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StageError(f"{path} cannot be read ({error}); run the trial again") from error


def _name(metric: Metric) -> str:
    words = (metric.metric, metric.class_, metric.split, metric.stage, metric.scorer, metric.prompts, metric.data, metric.seed)
    return ", ".join(str(word) for word in words if word is not None)


def _number(metric: Metric | None) -> str:
    if metric is None:
        return "none"
    interval = f" [{metric.low!r}, {metric.high!r}]" if metric.low is not None else ""
    return f"{metric.value!r}{interval} (n = {metric.n})"


def _pair(what: str, before: str, after: str) -> Compared:
    return Compared(what, before == after, before if before == after else f"{before} → {after}")
