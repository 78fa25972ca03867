"""Where the configuration groups, the studies and the embedded base lie: in a clone, or inside the installed wheel.

Files of the folder that ``--config-dir`` names win over those of the same name here.
"""

from __future__ import annotations

import os
from pathlib import Path

import pathsynth

_PACKAGE = Path(pathsynth.__file__).parent
_USER_VARIABLE = "PATHSYNTH_CONFIG_DIR"


def conf_folder() -> Path:
    """The folder of the primary configurations and their groups."""
    return _shipped("conf")


def studies_folder() -> Path:
    """The folder whose sub-folder ``study`` holds the studies."""
    return _shipped("experiments")


def assets_folder() -> Path:
    """The folder of the embedded base (``tiny``). A copy of the program that a sweep runs from has a link to it."""
    place = _PACKAGE / "assets"
    return place.resolve() if place.is_symlink() else place


def user_folder() -> Path | None:
    """The folder of configurations that the running command prefers, if any."""
    folder = os.environ.get(_USER_VARIABLE)
    return Path(folder) if folder else None


def prefer_user_folder(folder: str | None) -> None:
    """Note the folder for Hydra's search path, which a plugin makes; None forgets it."""
    os.environ.pop(_USER_VARIABLE, None)
    if folder:
        os.environ[_USER_VARIABLE] = str(Path(folder).expanduser().absolute())


def _shipped(name: str) -> Path:
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name
