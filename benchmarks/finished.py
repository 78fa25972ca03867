"""How long a finished study takes to be found finished, and how long ``status`` takes to tell of it.

    python -m benchmarks.finished --out FILE.json [--trials 100] [--repeats 5]

The trials are carried out first, each at its smallest (one training step, one slot a class, one denoising step), with one
gate, judge and cache for all. Then the same command and ``pathsynth status`` are timed in turn. ``finished_over_status``:
the first over the second, which does no more than start and read the states.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import machine, summary
from pathsynth.ledger.atomic import write_json

SMALLEST = (
    "tracking=none",
    "data.n_train=180",
    "data.n_val=45",
    "data.n_test=45",
    "gate.epochs=1",
    "judge.epochs=1",
    "trainer.max_steps=1",
    "trainer.threads=1",
    "validation.every=0",
    "sampling.steps=1",
    "sampling.attempts=1",
    "evaluate.n=1",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--trials", type=int, default=100, help="trials of the study (default: 100)")
    parser.add_argument("--repeats", type=int, default=5, help="times that each command is timed (default: 5)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder), arguments.trials, arguments.repeats)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out, report)
    print(json.dumps(report, indent=2))


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
    main()
