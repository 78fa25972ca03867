"""What computed a result: versions of Python and the libraries, the clone's commit, and the processor with its cores."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

COMMIT_OF_COPY = "pathsynth-commit.txt"
"""Beside a copy of the program that a sweep runs from: the commit that it is of."""
_TOLD = ("pathsynth", "torch", "pytorch-lightning", "diffusers", "peft", "transformers", "timm", "torchmetrics", "numpy", "wandb")


@dataclass(frozen=True)
class Provenance:
    """What computed a stage: ``versions`` of Python and the libraries, the clone's ``commit`` (None outside one), and the ``device``.

    ``device`` is the name of the GPU or of the processor.
    """

    versions: dict[str, str]
    commit: str | None
    device: str

    def to_json(self) -> dict[str, object]:
        """The record that stands beside a stage's result."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Provenance:
        """The record that :meth:`to_json` wrote."""
        return cls(record["versions"], record["commit"], record["device"])


@cache
def provenance(device: str) -> Provenance:
    """What computes in this process, on ``device``."""
    return Provenance(versions(), commit(), device)


def processor() -> str:
    """The processor's name as the kernel gives it; else the machine's architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() == "model name")
    return next(names, "") or platform.processor() or platform.machine()


def cores() -> int:
    """Cores that this process may use; in a job of Slurm no more than it requested, also where Slurm does not bind it to them."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    of_job = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(here, int(of_job)) if of_job.isdigit() else here


def versions() -> dict[str, str]:
    """Versions of what computes the results, and of Python."""
    installed = _installed()
    return {"python": platform.python_version(), **{name: installed[name] for name in _TOLD if name in installed}}


@cache
def _installed() -> Mapping[str, str]:
    """Names and versions of all that is installed, which takes a tenth of a second to read; a process keeps what it has loaded."""
    return {d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}


def commit() -> str | None:
    """The clone's commit, with ``+`` if files differ from it; None outside a clone. A copy of a clone has that of its making."""
    of_copy = Path(__file__).resolve().parents[2] / COMMIT_OF_COPY
    if of_copy.is_file():
        return of_copy.read_text(encoding="utf-8").strip() or None
    try:
        return _git("rev-parse", "--short=12", "HEAD").strip() + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def uncommitted() -> bytes:
    """What differs from the clone's commit, as a patch that ``git apply`` takes; empty where nothing does, and outside a clone.

    Files that git does not know are not in it.
    """
    try:
        return os.fsencode(_git("diff", "HEAD", "--binary", "--no-color", "--no-ext-diff", "--src-prefix=a/", "--dst-prefix=b/"))
    except (OSError, subprocess.SubprocessError):
        return b""


def _git(*words: str) -> str:
    """What git says of the clone that this file is in; bytes that are no UTF-8 stay as they are."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), *words]
    done = subprocess.run(command, capture_output=True, check=True, timeout=10)
    return os.fsdecode(done.stdout)
