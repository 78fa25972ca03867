"""Where the configuration groups, the studies and the embedded base lie: in a clone, or inside the installed wheel."""

from __future__ import annotations

from pathlib import Path

import pathsynth

_PACKAGE = Path(pathsynth.__file__).parent


def conf_folder() -> Path:
    """The folder of the primary configurations and their groups."""
    return _shipped("conf")


def studies_folder() -> Path:
    """The folder whose sub-folder ``study`` holds the studies."""
    return _shipped("experiments")


def assets_folder() -> Path:
    """The folder of the embedded base (``tiny``)."""
    return _PACKAGE / "assets"


def _shipped(name: str) -> Path:
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name
