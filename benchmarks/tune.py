"""A search against a grid and against chance, at equal seconds of training.

    python -m benchmarks.tune --out FILE.json [--folder FOLDER] [--seeds 0,1,2] [OVERRIDE...]

The grid of the study ``rank_lr_steps`` with one training seed, the study ``tune`` (TPE with median pruning), and the same by random
proposals without pruning; each search with every seed, until its fine-tunes took as many seconds as the grid's. All share FOLDER, so
that no stage is built twice; the seconds of a stage count for each trial that needs it, and those of a pruned training too.

``best_at``: the best score (the gate's macro-F1 before filtering, by which a search chooses) at shares of the grid's budget, mean over
the seeds with Student's 95% interval. ``grids_best_after``: the share after which each search had the grid's best; null where it had
not. ``chosen_by_judge``: the judge's score of what each chose. OVERRIDE: settings of all trials, as in trainer.max_steps=100,150.
Started again with the same FOLDER it goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.machine import machine
from pathsynth.ledger.atomic import read_json, write_json
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.records import read_metric
from pathsynth.ledger.stages import STAGES, StageStore, read_built
from pathsynth.studies.trials.manifest import read_manifest
from pathsynth.training.pruning import journal_of, open_storage

GRID = ("lora.rank=1,4,16", "optimizer.lr=3e-3,6e-3,1.2e-2", "trainer.max_steps=300,600", "seed=0")
SEARCHES = {
    "tpe": ("hydra.sweeper.sampler=tpe", "hydra.sweeper.pruner=median"),
    "random": ("hydra.sweeper.sampler=random", "hydra.sweeper.pruner=null"),
}
SHARES = (0.25, 0.5, 1.0)
_AT_FIRST, _MORE = 6, 3
"""Proposals of a search before its seconds are looked at, and between two looks."""


@dataclass(frozen=True)
class Tried:
    """A trial: the seconds of its fine-tune, and its scores by gate and judge (None: pruned, or failed)."""

    seconds: float
    score: float | None
    judged: float | None = None


@dataclass(frozen=True)
class Curve:
    """The best score so far, after so many seconds of training."""

    seconds: tuple[float, ...]
    best: tuple[float, ...]

    @classmethod
    def of(cls, trials: Iterable[Tried]) -> Curve:
        """Of trials in the order in which they were proposed."""
        spent, best, points = 0.0, float("nan"), []
        for trial in trials:
            spent += trial.seconds
            best = best if trial.score is None else float(np.fmax(best, trial.score))
            points.append((spent, best))
        return cls(tuple(seconds for seconds, _ in points), tuple(best for _, best in points))

    def at(self, seconds: float) -> float:
        """The best score of the trials that had ended by then; NaN before the first."""
        known = [best for spent, best in zip(self.seconds, self.best, strict=True) if spent <= seconds]
        return known[-1] if known else float("nan")

    def reaches(self, score: float) -> float | None:
        """The seconds after which the score was had; None: never."""
        return next((spent for spent, best in zip(self.seconds, self.best, strict=True) if best >= score), None)


def compare(grid: Sequence[Tried], searches: Mapping[str, Mapping[int, Sequence[Tried]]]) -> dict[str, object]:
    """The figures, from the trials of the grid, and of each search with each seed."""
    budget = sum(trial.seconds for trial in grid)
    best = max(trial.score for trial in grid if trial.score is not None)
    curves = {name: {seed: Curve.of(trials) for seed, trials in by_seed.items()} for name, by_seed in searches.items()}
    return {
        "grid": {"seconds": round(budget, 1), "trials": len(grid), "best": best, "chosen_by_judge": _chosen(grid)},
        "best_at": {
            name: {str(share): _mean([curve.at(share * budget) for curve in by_seed.values()]) for share in SHARES}
            for name, by_seed in curves.items()
        },
        "grids_best_after": {
            name: {seed: None if (spent := curve.reaches(best)) is None else round(spent / budget, 3) for seed, curve in by_seed.items()}
            for name, by_seed in curves.items()
        },
        "chosen_by_judge": {name: {seed: _chosen(trials) for seed, trials in by_seed.items()} for name, by_seed in searches.items()},
        "trials": {
            name: {seed: [[t.seconds, t.score] for t in trials] for seed, trials in by_seed.items()} for name, by_seed in searches.items()
        },
    }


def _chosen(trials: Sequence[Tried]) -> float | None:
    return max((t for t in trials if t.score is not None), key=lambda trial: trial.score or 0.0).judged


def _mean(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and Student's interval; without an interval where a value is missing or there is one only."""
    mean = float(np.mean(values))
    if len(values) < 2 or not np.isfinite(mean):
        return {"mean": round(mean, 4) if np.isfinite(mean) else None, "low": None, "high": None}
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return {"mean": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4)}


def measure(folder: Path, seeds: Sequence[int], overrides: Sequence[str]) -> dict[str, object]:
    """Carry everything out in ``folder``, as far as it is not there."""
    _run(folder, ["study=rank_lr_steps", "study.name=grid", *GRID, *overrides])
    grid = [_tried(trial) for trial in sorted((folder / "multirun" / "grid").glob("*/manifest.json"))]
    budget = sum(trial.seconds for trial in grid)
    found = {name: {seed: _searched(folder, name, seed, budget, overrides) for seed in seeds} for name in SEARCHES}
    return {**compare(grid, found), "overrides": list(overrides), "machine": machine()}


def _searched(folder: Path, name: str, seed: int, budget: float, overrides: Sequence[str]) -> list[Tried]:
    """The trials of a search that has used the budget."""
    study, count = folder / "multirun" / f"{name}-{seed}", _AT_FIRST
    while True:
        settings = [f"hydra.sweeper.seed={seed}", f"hydra.sweeper.n_trials={count}", *SEARCHES[name]]
        _run(folder, ["study=tune", f"study.name={study.name}", *settings, *overrides])
        trials = _trials_of_search(study)
        if sum(trial.seconds for trial in trials) >= budget:
            return trials
        count += _MORE


def _trials_of_search(study: Path) -> list[Tried]:
    import optuna

    known = optuna.load_study(study_name=study.name, storage=open_storage(journal_of(study))).get_trials(deepcopy=False)
    return [_tried(study / trial.user_attrs["folder"] / "manifest.json") for trial in known if "folder" in trial.user_attrs]


def _tried(manifest: Path) -> Tried:
    """What a trial's fine-tune took, from the stage's record, or from its notes where it was stopped; and its scores."""
    folder = manifest.parent
    (stage,) = (stage for stage in read_manifest(folder).plan.stages if stage.name == "finetune")
    store = StageStore(folder.parent.parent / STAGES)
    built = store.find(stage.name, stage.identity)
    noted = store.work(stage.name, stage.identity) / "seconds.json"
    seconds = read_built(built).seconds if built else float(read_json(noted)) if noted.is_file() else 0.0
    return Tried(seconds or 0.0, _score(folder, "gate"), _score(folder, "judge"))


def _score(folder: Path, scorer: str) -> float | None:
    try:
        found = read_metric(folder / "result.json", "macro_f1", "before filtering", scorer)
    except RequestError:
        return None
    return found.value if found else None


def _run(folder: Path, words: Sequence[str]) -> None:
    """Raises subprocess.CalledProcessError if a trial failed."""
    subprocess.run([sys.executable, "-m", "pathsynth", "run", "tracking=none", *words], cwd=folder, check=True)


def main() -> None:
    """Read the command line, carry out what is missing, write the figures to ``--out`` and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--folder", type=Path, default=Path("build/tune"), help="where trials are kept (default: build/tune)")
    parser.add_argument("--seeds", default="0,1,2", help="search seeds (default: 0,1,2)")
    parser.add_argument("overrides", nargs="*", help="settings of all trials")
    words = parser.parse_args()
    words.folder.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = measure(words.folder, [int(seed) for seed in words.seeds.split(",")], words.overrides)
    words.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(words.out, report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
