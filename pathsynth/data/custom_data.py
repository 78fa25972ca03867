"""Data sets of the user's own classes: read, checked and identified by a process of its own, which alone runs their code. No torch."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pathsynth.config import DataConfig
from pathsynth.data.dataset import SPLITS, DataSet, LabelledImages
from pathsynth.data.decoded import read_split
from pathsynth.ledger.atomic import read_json, write_json
from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.ledger.identity import digest
from pathsynth.terminal.work_line import working_on
from pathsynth.vocabulary.labels import LabelSpace, UnknownLabelError, label_space_of
from pathsynth.vocabulary.prompts import generic_prompts

_READER = "pathsynth.data.custom_reader"
_DESCRIPTION = "description.json"


class CustomData(Protocol):
    """What a class needs to be a data set.

    Its constructor gets ``size`` (pixels) by keyword, ``root`` where data.root is set, and all other keys of the group data.

    ``classes``: their names, in the order of the labels; prompts are made of these words.
    """

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes, in the order of the labels."""
        ...

    def images(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Of ``"train"``, ``"val"`` or ``"test"``: images, uint8 (N, size, size, 3), and whole numbers (N,), places in ``classes``."""
        ...


@dataclass(frozen=True)
class CustomImages:
    """What the reader saw: the names of the classes, and of each split how many images it has and their digest, labels included."""

    classes: tuple[str, ...]
    counts: Mapping[str, int]
    digests: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON; :meth:`from_json` reads it."""
        return {"classes": list(self.classes), "counts": dict(self.counts), "digests": dict(self.digests)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> CustomImages:
        """The record that :meth:`to_json` wrote."""
        return cls(tuple(record["classes"]), record["counts"], record["digests"])

    def identity(self, config: DataConfig) -> str:
        """Twelve hex digits of what the images show and are called; not of the class that gives them."""
        return digest({"own": self.classes, "size": config.size, "symmetry": config.symmetry, "splits": self.digests})


def custom_data(config: DataConfig) -> DataSet:
    """The data set of the class that ``config`` names; its images are kept in a temporary folder once one is used.

    Raises:
        RequestError: the class cannot be loaded or made, raises something, or gives what no data set is; the message says which.
    """
    content = _content(config)
    identity = content.identity(config)

    @functools.cache
    def temporary() -> tempfile.TemporaryDirectory[str]:  # removed with the data set
        folder = tempfile.TemporaryDirectory()
        store_custom_images(config, identity, Path(folder.name))
        return folder

    return _data_set(config, content, identity, lambda split: read_split(Path(temporary().name), split))


def read_custom_data(config: DataConfig, folder: Path) -> DataSet:
    """As :func:`custom_data`, with the images kept in ``folder`` as they are read."""
    content = _result(_read_shown(_order(config, folder)))
    return _data_set(config, content, content.identity(config), lambda split: read_split(folder, split))


def stored_custom_data(config: DataConfig, folder: Path, identity: str) -> DataSet:
    """The data set that :func:`store_custom_images` left in ``folder``; none of the user's code runs.

    Raises:
        StageError: a file is missing or damaged.
    """
    try:
        content = CustomImages.from_json(read_json(folder / _DESCRIPTION))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StageError(f"the decoded images in {folder} cannot be read ({error}); delete that folder, and run again") from error
    return _data_set(config, content, identity, functools.cache(lambda split: read_split(folder, split)))


def store_custom_images(config: DataConfig, identity: str, folder: Path) -> None:
    """Write the images and labels of each split to ``folder``, as :func:`pathsynth.data.decoded.read_split` reads them.

    Raises:
        RequestError: as :func:`custom_data`, or the images are others than those with that identity.
    """
    content = _result(_read(_order(config, folder)))
    if content.identity(config) != identity:
        raise RequestError(f"images of {config.module['_target_']} have changed since the trial was planned; run the same command again")
    write_json(folder / _DESCRIPTION, content.to_json())


def _data_set(config: DataConfig, content: CustomImages, identity: str, read: Callable[[str], LabelledImages]) -> DataSet:
    name = str(config.module["_target_"]).rpartition(".")[2]
    shown = "/".join(f"{content.counts[split]:,}" for split in SPLITS)
    space = _space(content.classes, name, config.symmetry)
    return DataSet(f"{name} {config.size} px ({shown})", identity, config.size, space, generic_prompts(space), read)


def _space(classes: Sequence[str], name: str, symmetry: str) -> LabelSpace:
    try:
        return replace(label_space_of(classes), name=name, symmetry=symmetry)
    except UnknownLabelError as error:
        raise RequestError(f"data: {name}.{error}") from error


def _content(config: DataConfig) -> CustomImages:
    return _result(_read_once(_order(config, None)))


def _order(config: DataConfig, folder: Path | None) -> str:
    """What the reader is to do, as JSON."""
    root = {"root": config.root} if config.root else {}
    counts = {"train": config.n_train, "val": config.n_val, "test": config.n_test, "allow_fewer": config.allow_fewer}
    order = {"module": {**config.module, **root}, "size": config.size, "counts": counts, "folder": str(folder) if folder else None}
    return json.dumps(order, sort_keys=True)


def _result(answer: str) -> CustomImages:
    record = json.loads(answer)
    if "fault" in record:
        raise RequestError(record["fault"])
    return CustomImages.from_json(record)


@functools.lru_cache(maxsize=64)
def _read_once(order: str) -> str:
    return _read_shown(order)


def _read_shown(order: str) -> str:
    with working_on("reading the data set that the request names", is_logged=True):
        return _read(order)


def _read(order: str) -> str:
    """The reader's answer, as JSON."""
    ended = subprocess.run([sys.executable, "-m", _READER], input=order, capture_output=True, text=True)
    try:
        answer = ended.stdout.splitlines()[-1]
        json.loads(answer)
        return answer
    except (ValueError, IndexError):
        last = (ended.stderr.strip().splitlines() or [f"status {ended.returncode}"])[-1]
        target = json.loads(order)["module"]["_target_"]
        return json.dumps({"fault": f"data: {target} ended the process that reads it ({last}); correct it, or give it more memory"})
