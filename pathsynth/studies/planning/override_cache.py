"""The override cache of a study: which trial a set of overrides stands for, so that a finished one need not be composed again.

An entry holds as long as nothing has changed that the composition and the identity depend on: the configuration files on
the search path, the environment variables they name, the program, the working folder, and the files of data and base.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pathsynth.config import RunConfig
from pathsynth.data.medmnist import ROOT_VARIABLE
from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.identity import digest
from pathsynth.ledger.local_cache import program_stamps
from pathsynth.stages.stage import StagePlan
from pathsynth.studies.planning.source_files import source_files

_FOLDER = ".override_cache"
_NAMED_VARIABLE = re.compile(r"oc\.env:\s*([A-Za-z_][A-Za-z0-9_]*)")
_OF_A_MOMENT = re.compile(r"\$\{\s*(now|hydra):")
_OF_THE_COMMAND = {"PATHSYNTH_STARTED"}


@dataclass(frozen=True)
class Known:
    """The trial that some overrides stand for: its folder, its identity, the bytes its images may need, and its stages."""

    folder: Path
    identity: str
    bytes: float
    stages: tuple[StagePlan, ...] = ()


class OverrideCache:
    """The cache below ``<multirun>/<study>/``, for one state of the configuration (``tree``, of :func:`tree_digest`)."""

    def __init__(self, study: Path, tree: str) -> None:
        self._folder, self._tree = study / _FOLDER, tree

    def find(self, overrides: Sequence[str]) -> Known | None:
        """What the overrides stand for; None if that is not known or might have changed."""
        if _mentions_moment(overrides):
            return None
        try:
            record = json.loads(self._path(overrides).read_text(encoding="utf-8"))
            if record["sources"] == _stamps(map(Path, record["files"])):
                stages = tuple(StagePlan(**stage) for stage in record["stages"])
                return Known(Path(record["folder"]), record["identity"], record["bytes"], stages)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None

    def note(self, overrides: Sequence[str], known: Known, config: RunConfig) -> None:
        """Remember what the overrides stand for; not where they name the time, or data or base have no files that could be watched."""
        files = source_files(config)
        if files is None or _mentions_moment(overrides):
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        record = {
            "overrides": list(overrides),
            "folder": str(known.folder),
            "identity": known.identity,
            "bytes": known.bytes,
            "stages": [asdict(stage) for stage in known.stages],
            "files": [str(path) for path in files],
            "sources": _stamps(files),
        }
        write_json(self._path(overrides), record)

    def _path(self, overrides: Sequence[str]) -> Path:
        named = {name: os.environ.get(name) for override in overrides for name in _NAMED_VARIABLE.findall(override)}
        return self._folder / f"{digest([self._tree, *overrides, *([named] if named else [])])}.json"


def _mentions_moment(overrides: Sequence[str]) -> bool:
    """Whether what the overrides stand for depends on when, or as which job, they are composed."""
    return any(_OF_A_MOMENT.search(override) for override in overrides)


def tree_digest(config_name: str, folders: Iterable[Path]) -> str:
    """Stands for all that overrides are composed with: the files in ``folders`` (the search path), and the program."""
    files = [(path.relative_to(folder), path.read_text(encoding="utf-8")) for folder in folders for path in sorted(folder.rglob("*.yaml"))]
    named = {name for _, text in files for name in _NAMED_VARIABLE.findall(text)} - _OF_THE_COMMAND | {ROOT_VARIABLE}
    return digest(
        {
            "config": config_name,
            "files": [(str(name), text) for name, text in files],
            "environment": {name: os.environ.get(name) for name in sorted(named)},
            "program": program_stamps(),
            "folder": os.getcwd(),
        }
    )


def _stamps(files: Iterable[Path]) -> list[list[Any]]:
    """Name, length and time of change of each file."""
    return [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
