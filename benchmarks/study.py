"""What a study costs beyond its trials' own work, and what sharing saves.

    python -m benchmarks.study --out FILE.json [--steps 120] [--n 10]

Eight trials (four ranks × two seeds) on the embedded base and the phantom are run in three ways, one after the other on an
otherwise idle machine: as a study, sequentially; as a study with two workers; and as eight single runs in folders of their
own that share nothing. Gate and judge are trained beforehand and given to all three, so their training counts in none.

``vs_fresh_runs``: the single runs' wall time over the study's with two workers. ``overhead``: the study's wall time,
sequentially, over the sum of what its trials report for fine-tuning and drawing. ``finished``: seconds in which the finished
study, requested again, is found done.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.machine import machine, summary
from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.records import read_result

RANKS, SEEDS = (1, 2, 4, 16), (0, 1)
_OWN_WORK = ("finetune", "generate")
_SHARED = ("gate", "judge")


def main() -> None:
    """Read the command line, time the study in each way, write the figures to ``--out`` and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--steps", type=int, default=120, help="training steps of a trial (default: 120)")
    parser.add_argument("--n", type=int, default=10, help="slots a class (default: 10)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder), arguments.steps, arguments.n)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out, report)
    print(json.dumps(report, indent=2))


def measure(folder: Path, steps: int, n: int) -> dict[str, object]:
    """All timings, as they go into the file."""
    words = [f"trainer.max_steps={steps}", f"evaluate.n={n}", *_WORDS]
    prepared = folder / "prepared"
    _run(prepared, ["lora.rank=1", *words, "trainer.max_steps=1", "evaluate.n=1"])
    sweep = [f"lora.rank={','.join(map(str, RANKS))}", f"seed={','.join(map(str, SEEDS))}", *words]
    sequential = _run(_with_classifiers(prepared, folder / "sequential"), ["-m", *sweep])
    two = _run(_with_classifiers(prepared, folder / "two"), ["-m", *sweep, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"])
    fresh = sum(
        _run(_with_classifiers(prepared, folder / f"fresh-{rank}-{seed}"), [f"lora.rank={rank}", f"seed={seed}", *words])
        for rank in RANKS
        for seed in SEEDS
    )
    again = _run(folder / "sequential", ["-m", *sweep])
    own = sum(_own_seconds(folder / "sequential"))
    return {
        "ratios": {"vs_fresh_runs": summary([fresh / two]), "overhead": summary([sequential / own])},
        "seconds": {"sequential": sequential, "two_workers": two, "fresh_runs": fresh, "own_work": own, "finished": again},
        "trials": {"count": len(RANKS) * len(SEEDS), "steps": steps, "slots_a_class": n},
        "machine": machine(),
    }


_WORDS = (
    "tracking=none",
    "objective.paraphrases=false",
    "gate.epochs=1",
    "judge.epochs=1",
    "gate.augment_stain=false",
    "judge.augment_stain=false",
    "callbacks.regeneration.every=0",
    "sampling.attempts=1",
)
"""One attempt a slot and no validation: what is timed does not depend on what the gate accepts."""


def _run(folder: Path, words: Sequence[str]) -> float:
    """Seconds of wall time that ``pathsynth run`` takes in ``folder``."""
    folder.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "pathsynth", "run", *words], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return round(time.perf_counter() - started, 2)


def _with_classifiers(prepared: Path, folder: Path) -> Path:
    """A new folder whose stage store has gate and judge."""
    for stage in _SHARED:
        shutil.copytree(prepared / "multirun" / ".stages" / stage, folder / "multirun" / ".stages" / stage)
    return folder


def _own_seconds(folder: Path) -> Iterator[float]:
    """What each trial reports for its fine-tuning and its drawing."""
    for path in (folder / "multirun").glob("*/*/result.json"):
        timings = read_result(path).timings
        yield sum(timings[name] for name in _OWN_WORK)


if __name__ == "__main__":
    main()
