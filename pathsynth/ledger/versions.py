"""What computed a result: versions of Python and the libraries, and the clone's commit."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

_TOLD = ("pathsynth", "torch", "pytorch-lightning", "diffusers", "peft", "transformers", "timm", "torchmetrics", "numpy", "wandb")


def versions() -> dict[str, str]:
    """Versions of what computes the results, and of Python."""
    installed = {d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}
    return {"python": platform.python_version(), **{name: installed[name] for name in _TOLD if name in installed}}


def commit() -> str | None:
    """The clone's commit, with ``+`` if files differ from it; None outside a clone."""
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
