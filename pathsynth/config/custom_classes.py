"""Classes that a configuration names by ``_target_``, and the files of those that are no installed package's. Nothing is imported."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

import pathsynth
from pathsynth.config.shipped import conf_folder, studies_folder
from pathsynth.ledger.identity import digest

_TARGET = re.compile(r"^\s*_target_:\s*(\w+(?:\.\w+)+)", re.MULTILINE)
_INSTALLED = ("site-packages", "dist-packages")


def targets(value: Any) -> Iterator[str]:
    """Every ``_target_`` in settings, however deep."""
    if isinstance(value, Mapping):
        if isinstance(value.get("_target_"), str):
            yield value["_target_"]
        for inner in value.values():
            yield from targets(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from targets(inner)


@cache
def shipped_targets() -> frozenset[str]:
    """The classes that the shipped configurations and studies name."""
    files = [path for folder in (conf_folder(), studies_folder()) for path in folder.rglob("*.yaml")]
    return frozenset(name for path in files for name in _TARGET.findall(path.read_text(encoding="utf-8")))


def class_digests(names: Iterable[str]) -> dict[str, str]:
    """Class → digest of the source it is defined in, for the user's own; those of installed packages and of this program are left out.

    The source is a module's file, or all of a package where the class is named in the package itself.
    """
    sources = {name: class_files(name) for name in dict.fromkeys(names)}
    return {name: digest(list(map(_text, files))) for name, files in sources.items() if files}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def class_files(name: str) -> list[Path]:
    """The files of a user's own class; none where it is installed, or not to be found."""
    spec = _module(name.split("."))
    origin = Path(spec.origin) if spec and spec.has_location and spec.origin else None
    if origin is None or is_installed(origin) or origin.suffix != ".py":
        return []
    return sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]


def _module(parts: list[str]) -> ModuleSpec | None:
    """The module that the longest beginning of a dotted name stands for. Finding it imports no package on the way to it."""
    # a trial's process finds modules in the folder where the command was started, and looks there first
    spec = PathFinder.find_spec(parts[0], [os.getcwd()]) or _top_level(parts[0])
    for end in range(2, len(parts)):
        places = spec.submodule_search_locations if spec else None
        inner = PathFinder.find_spec(".".join(parts[:end]), places) if places else None
        if inner is None:
            break
        spec = inner
    return spec


def _top_level(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def is_installed(path: Path) -> bool:
    """Whether a file belongs to Python, an installed package or this program."""
    here = Path(pathsynth.__file__).parent
    homes = [here, *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")), Path(sys.base_prefix, "lib")]
    return any(part in _INSTALLED for part in path.parts) or any(path.is_relative_to(home) for home in homes)
