"""What a forked trial could save if base, gate and latents were in the server that it is forked from.

    python -m benchmarks.warm --out FILE.json [--repeats 5]

A study at its smallest is carried out: one trial, so that gate, judge and cache are there; then one more, and then two more, each by
a command of its own whose processor time is taken. What the second takes more than the first is a trial (``trial_seconds``). In a
process that has loaded all libraries the trial's base, gate and cache are then loaded ``--repeats`` times (``load_seconds``, processor
time, the first load left out). ``share``: all loads together over the trial.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median

from benchmarks.finished import SMALLEST
from benchmarks.machine import machine, summary
from benchmarks.repeated import repeated


def measure(folder: Path, trials: int, repeats: int) -> dict[str, object]:
    """All figures, as they go into the file; ``trials`` beyond the first are carried out twice, by one and by two commands."""
    study = ["run", "-m", *SMALLEST]
    _processor_seconds(folder, [*study, "lora.rank=1"])
    rounds = [_a_trial(folder, study, 2 + 3 * number) for number in range(trials)]
    loads = _loads(folder, repeats)
    loading = sum(median(seconds) for seconds in loads.values())
    return {
        "ratios": {"share": summary([loading / trial for trial in rounds])},
        "trial_seconds": rounds,
        "load_seconds": loads,
        "machine": machine(),
    }


def _a_trial(folder: Path, study: list[str], seed: int) -> float:
    """By how much a command of two trials takes more than one of a single trial: the processor time of a trial."""
    one = _processor_seconds(folder, [*study, f"optimizer.lr=1e-{seed}"])
    two = _processor_seconds(folder, [*study, f"optimizer.lr=2e-{seed},3e-{seed}"])
    return round(two - one, 2)


def _processor_seconds(folder: Path, words: list[str]) -> float:
    """Of a command and all processes that it waited for.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    command = [sys.executable, "-m", "pathsynth", *words]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), command)
    return used.ru_utime + used.ru_stime


def _loads(folder: Path, repeats: int) -> dict[str, list[float]]:
    """Processor seconds of each load of what a trial finds in the store, after one that is not counted."""
    import_module("pathsynth.studies.execution.trial_libraries")
    from pathsynth.data.catalogue import open_data
    from pathsynth.models.base import load_base
    from pathsynth.models.image_classifier import load_classifier
    from pathsynth.studies.trials.manifest import read_manifest
    from pathsynth.training.latent_cache import load_cache

    trial = next((folder / "multirun").glob("*/*/manifest.json")).parent
    manifest = read_manifest(trial)
    config, source, store = manifest.config, manifest.plan.base, trial.parent.parent / ".stages"
    assert config.data and config.base and source
    identities = {stage.name: stage.identity for stage in manifest.plan.stages}
    data = open_data(config.data, None)
    of_base = (source.path_or_hub, source.revision, source.identity, config.base.canvas, data.size)
    base = load_base(*of_base)
    loads: dict[str, Callable[[], object]] = {
        "base": lambda: load_base(*of_base),
        "gate": lambda: load_classifier(store / "gate" / identities["gate"], data.space),
        "cache": lambda: load_cache(store / "cache" / identities["cache"], data, base),
    }
    return {name: [_seconds(load) for _ in range(repeats + 1)][1:] for name, load in loads.items()}


def _seconds(load: Callable[[], object]) -> float:
    started = time.process_time()
    load()
    return round(time.process_time() - started, 4)


if __name__ == "__main__":
    repeated(__doc__, measure, trials=3)
