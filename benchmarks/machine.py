"""What the figures of a benchmark were measured on, and the form that its ratios take."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathsynth.ledger.versions import versions


def machine() -> dict[str, object]:
    """The processor, the cores and threads, and the versions of what ran."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "library default"),
        "system": platform.platform(),
        "versions": versions(),
    }


def summary(values: Sequence[float]) -> dict[str, float | int]:
    """Median and range of repeated measurements."""
    return {
        "median": round(statistics.median(values), 3),
        "low": round(min(values), 3),
        "high": round(max(values), 3),
        "repeats": len(values),
    }


@dataclass(frozen=True)
class Cost:
    """What a process took, with those that it waited for: seconds of the processor and by the clock, and its peak of memory."""

    processor: float
    wall: float
    megabytes: float


def cost_of(command: Sequence[str], **options: Any) -> Cost:
    """Start a process, wait for its end, and say what it took; ``options`` as of :class:`subprocess.Popen`.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, **options)
    _, status, used = os.wait4(process.pid, 0)
    code = process.returncode = os.waitstatus_to_exitcode(status)
    if code:
        raise subprocess.CalledProcessError(code, list(command))
    return Cost(round(used.ru_utime + used.ru_stime, 2), round(time.perf_counter() - started, 2), round(used.ru_maxrss / 1024, 1))


def named_folder(text: str) -> tuple[str, Path]:
    """The name and the folder of a classifier on a command line.

    Raises:
        argparse.ArgumentTypeError: there is no such folder.
    """
    name, _, folder = text.partition("=")
    if not name or not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a name and the folder of a classifier, as in regnet=multirun/panel/<trial>")
    return name, Path(folder)


def _processor() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
