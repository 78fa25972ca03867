"""How long a finished study takes to be found finished, and how long ``status`` takes to tell of it.

    python -m benchmarks.finished --out FILE.json [--trials 100] [--repeats 5]

The trials are carried out first, each at its smallest (one training step, one slot a class, one denoising step), with one
gate, judge and cache for all. Then the same command and ``pathsynth status`` are timed in turn. ``finished_over_status``:
the first over the second, which does no more than start and read the states.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import machine, summary
from benchmarks.repeated import repeated

SMALLEST = (
    "tracking=none",
    "data.n_train=180",
    "data.n_val=45",
    "data.n_test=45",
    "gate.epochs=1",
    "judge.epochs=1",
    "trainer.max_steps=1",
    "training.threads=1",
    "callbacks.regeneration.every=0",
    "sampling.steps=1",
    "sampling.attempts=1",
    "evaluate.n=1",
)


def measure(folder: Path, trials: int, repeats: int) -> dict[str, object]:
    """All timings, as they go into the file.

    Raises:
        subprocess.CalledProcessError: a trial failed.
    """
    study = ["run", "-m", f"seed=range({trials})", *SMALLEST]
    _seconds(folder, study)
    _seconds(folder, study)  # the first repetition reads programs and configurations from the disk
    pairs = [(_seconds(folder, study), _seconds(folder, ["status"])) for _ in range(repeats)]
    return {
        "ratios": {"finished_over_status": summary([finished / status for finished, status in pairs])},
        "seconds": {"finished": [finished for finished, _ in pairs], "status": [status for _, status in pairs]},
        "trials": trials,
        "machine": machine(),
    }


def _seconds(folder: Path, words: Sequence[str]) -> float:
    """Wall time of ``pathsynth`` with ``words`` in ``folder``."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "pathsynth", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return round(time.perf_counter() - started, 2)


if __name__ == "__main__":
    repeated(__doc__, measure, trials=100)
