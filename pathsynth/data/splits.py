"""How images are cut into splits and halves: at random within each class, or by groups (patients, slides) that never straddle a cut."""

from __future__ import annotations

import csv
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.seeds import derive_seed

REGEX, CSV = "regex:", "csv:"
_MOST_FOLDS = 20
_TRIES = 50
_HALVES = 2


def random_half(labels: np.ndarray, purpose: str, identity: str) -> np.ndarray:
    """Boolean (N,): of each class the half (rounded up) of the rows whose hash, for a ``purpose``, comes first."""
    order = np.asarray([derive_seed(purpose, identity, row) for row in range(len(labels))])
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        chosen[rows[np.argsort(order[rows])][: math.ceil(len(rows) / 2)]] = True
    return chosen


def group_half(labels: np.ndarray, groups: np.ndarray, purpose: str, identity: str) -> np.ndarray:
    """Boolean (N,): about half of the rows of each class, whole groups alone.

    Args:
        labels: int64 (N,).
        groups: int64 (N,), the number of each row's group.
        purpose: what is halved: "part" for train's halves, "val" for those of val.
        identity: of the data; the halves depend on it, on the purpose and on the groups alone.

    Raises:
        RequestError: no such halves exist, or none was found.
    """
    for attempt in range(_TRIES):
        chosen = _folds(labels, groups, Fraction(1, 2), derive_seed(purpose, identity, attempt))
        if len(np.unique(labels[chosen])) == len(np.unique(labels[~chosen])) == len(np.unique(labels)):
            return chosen
    halved = "train" if purpose == "part" else purpose
    raise RequestError(f"data.group leaves no way to halve {halved} with every class in both halves; use more groups, or leave it out")


def cut_by_group(
    labels: np.ndarray, groups: np.ndarray, shares: Mapping[str, float], seed: int, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Rows (int64, in order) of each split of ``shares`` and of train, stratified by class (scikit-learn's StratifiedGroupKFold).

    A share is met as nearly as whole groups allow. Every split has every class, and train has two groups of each, for its two halves.

    Raises:
        RequestError: the groups of a class are too few, or no such cut was found.
    """
    needed = len(shares) + _HALVES
    for label, name in enumerate(names):
        there = len(np.unique(groups[labels == label]))
        if there < needed:
            wanted = f"{needed} are needed ({', '.join(shares)}, two halves of train)"
            raise RequestError(f"the class {name} has images of {there} groups, {wanted}; add some, or leave data.group out")
    for attempt in range(_TRIES):
        candidate = _cut(labels, groups, shares, derive_seed("split by group", seed, attempt))
        whole = all(len(np.unique(labels[rows])) == len(names) for rows in candidate.values())
        train = candidate["train"]
        if whole and all(len(np.unique(groups[train][labels[train] == label])) >= _HALVES for label in range(len(names))):
            return candidate
    raise RequestError("data.group leaves no way to give every split every class; use more groups, other shares, or leave it out")


def _cut(labels: np.ndarray, groups: np.ndarray, shares: Mapping[str, float], seed: int) -> dict[str, np.ndarray]:
    remaining, parts, share_so_far = np.arange(len(labels)), {}, 0.0
    for split, share in shares.items():
        count = max(2, min(_MOST_FOLDS, len(np.unique(groups[remaining]))))
        of_rest = Fraction(share / (1 - share_so_far)).limit_denominator(count) or Fraction(1, count)
        chosen = _folds(labels[remaining], groups[remaining], min(of_rest, Fraction(count - 1, count)), derive_seed(split, seed))
        parts[split], remaining, share_so_far = remaining[chosen], remaining[~chosen], share_so_far + share
    return {**parts, "train": remaining}


def _folds(labels: np.ndarray, groups: np.ndarray, share: Fraction, seed: int) -> np.ndarray:
    """Boolean (N,): the first of as many stratified folds of whole groups as make up ``share``."""
    from sklearn.model_selection import StratifiedGroupKFold  # slow to import, and few need it

    chosen = np.zeros(len(labels), dtype=bool)
    folds = StratifiedGroupKFold(share.denominator, shuffle=True, random_state=seed % 2**32)
    with warnings.catch_warnings(action="ignore"):  # of small classes: whether each split has them is looked at afterwards
        try:
            pairs = list(folds.split(labels, labels, groups))
        except ValueError:
            return chosen
    for _, rows in pairs[: share.numerator]:
        chosen[rows] = True
    return chosen


def file_groups(spec: str, root: Path, files: Sequence[Path]) -> dict[Path, str]:
    """The group of each file, as ``spec`` says.

    Args:
        spec: ``regex:<pattern>`` (searched in a file's path below ``root``; the first parenthesis, if any, is the group), or ``csv:<file>``
            with the columns ``file`` (the path below ``root``) and ``group``.
        root: the folder that the files lie below.
        files: which.

    Raises:
        RequestError: the table cannot be read, or a file has no group.
    """
    table = _table(Path(spec.removeprefix(CSV))) if spec.startswith(CSV) else None
    pattern = re.compile(spec.removeprefix(REGEX))
    group_of: dict[Path, str] = {}
    for path in files:
        name = path.relative_to(root).as_posix()
        match = pattern.search(name) if table is None else None
        group = table.get(name) if table is not None else match and (match[1] if pattern.groups else match[0])
        if not group:
            raise RequestError(f"data.group={spec} gives {name} no group; every image needs one")
        group_of[path] = group
    return group_of


def _table(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle)
            rows, columns = list(reader), set(reader.fieldnames or ())
    except (OSError, ValueError, csv.Error) as error:
        raise RequestError(f"{path} cannot be read ({error}); data.group=csv: needs a CSV file with the columns file and group") from error
    missing = {"file", "group"} - columns
    if missing:
        raise RequestError(f"{path} has no column {min(missing)}; data.group=csv: needs the columns file and group")
    return {row["file"]: row["group"] for row in rows}


def numbered(groups: Sequence[str]) -> np.ndarray:
    """int64 (N,): the groups numbered in the order in which they first come."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)
