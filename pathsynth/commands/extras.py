"""The extras that the program can be installed with, and which of them are not there."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata

from packaging.requirements import Requirement

DISTRIBUTION = "pathsynth"
_USES = {
    "mlflow": "runs in MLflow",
    "optuna": "a search",
    "ray": "trials by Ray",
    "slurm": "trials on a Slurm cluster",
    "ui": "the live page",
    "workspace": "views in W&B",
}
"""What each extra is for, of those that the use of the program needs."""


def requirements() -> list[Requirement]:
    """What the program is installed with, extras included."""
    return [Requirement(line) for line in metadata.requires(DISTRIBUTION) or ()]


def extra_libraries() -> Mapping[str, str]:
    """The first library of each extra that users install, by the extra's name."""
    extras: dict[str, str] = {}
    for requirement in requirements():
        marker = str(requirement.marker or "")
        if "extra ==" in marker:
            extras.setdefault(marker.rpartition("extra ==")[2].strip(" \"'"), requirement.name)
    return {extra: library for extra, library in extras.items() if extra != "dev"}


def installed_version(library: str) -> str | None:
    """None where the library is not installed."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def missing_extras() -> str:
    """A line for the help that names what can be installed besides, and for what; empty where all of it is there, or that is not known."""
    if not installed_version(DISTRIBUTION):
        return ""
    missing = {extra: _USES[extra] for extra, library in extra_libraries().items() if extra in _USES and not installed_version(library)}
    if not missing:
        return ""
    named = ", ".join(f"{extra} ({use})" for extra, use in missing.items())
    return f"Not installed: {named}. To have one: pip install 'pathsynth[{next(iter(missing))}]'"
