"""What a large sweep costs before its trials: composing new jobs, finding finished ones finished, and telling of them.

    python -m benchmarks.launch --out FILE.json [--trials 1000] [--repeats 5] [--before CHECKOUT]

``compose``: a dry run of so many jobs that are new. ``finished``: the command of a study whose trials are all done. ``status``:
``pathsynth status`` of that study, and ``status_first`` the same with an empty cache folder (PATHSYNTH_CACHE). Each is a process of its
own; its processor time counts, for the machine may have other work, and its peak of memory is shown beside that of a tenth of the
trials. One trial is carried out at its smallest; the others are copies of
it under the names and identities that the study's own command gave them. With ``--before``, the checkout of an earlier version, the
two versions take turns, and ``over_before`` is this one's processor time over that one's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pathsynth
from benchmarks.finished import SMALLEST
from benchmarks.machine import Cost, cost_of, machine, summary
from benchmarks.repeated import repeated
from pathsynth.ledger.atomic import read_json

_NOW, _BEFORE = "now", "before"
_COPIED = ("state.json", "manifest.json", "result.json")


@dataclass(frozen=True)
class Version:
    """A checkout of pathsynth, and a folder in which its studies of ``trials`` trials lie."""

    checkout: Path
    folder: Path
    trials: int

    @property
    def study(self) -> list[str]:
        """The words of the command."""
        return ["run", "-m", f"seed=range({self.trials})", *SMALLEST]

    def cost(self, *words: str, cache: str = "cache") -> Cost:
        """Raises subprocess.CalledProcessError if the command failed."""
        return cost_of(self._command(words), stdout=subprocess.DEVNULL, **self._options(cache))

    def costs(self) -> dict[str, Cost]:
        """Each command's."""
        return {"compose": self.cost(*self.study, "study.name=new", "study.dry_run=true"), **self.costs_of_finished()}

    def costs_of_finished(self) -> dict[str, Cost]:
        """What the command of the finished study costs, and ``status``."""
        first = self.cost("status", cache=f"empty-{time.time_ns()}")
        return {"finished": self.cost(*self.study), "status_first": first, "status": self.cost("status")}

    def finish(self) -> None:
        """Have a study whose trials are all done: announced by its own command, the first carried out, the others copied from that."""
        self.folder.mkdir()
        self.cost("run", "seed=0", *SMALLEST)
        process = subprocess.Popen(self._command(self.study), stdout=subprocess.PIPE, text=True, **self._options("cache"))
        assert process.stdout
        for line in process.stdout:
            if f"{self.trials} trials; " in line:
                process.send_signal(signal.SIGTERM)
        process.wait()
        study = next(path for path in (self.folder / "multirun").iterdir() if not path.name.startswith("."))
        known = [read_json(path) for path in sorted((study / ".override_cache").iterdir())]
        done = next(Path(record["folder"]) for record in known if (Path(record["folder"]) / "result.json").is_file())
        for record in known:
            _copy_trial(done, Path(record["folder"]), record["identity"])

    def _command(self, words: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "pathsynth", *words]

    def _options(self, cache: str) -> dict[str, Any]:
        environment = {**os.environ, "PYTHONPATH": str(self.checkout), "PATHSYNTH_CACHE": str(self.folder / cache)}
        return {"cwd": self.folder, "env": environment, "stderr": subprocess.DEVNULL}


def _copy_trial(done: Path, folder: Path, identity: str) -> None:
    """Give a trial what ``status`` reads of one that is done."""
    if folder == done:
        return
    folder.mkdir(exist_ok=True)
    own = str(read_json(done / "state.json")["identity"])
    for name in _COPIED:
        (folder / name).write_text((done / name).read_text(encoding="utf-8").replace(own, identity), encoding="utf-8")


def measure(folder: Path, trials: int, repeats: int, before: Path | None = None) -> dict[str, object]:
    """All figures, as they go into the file."""
    here = Path(pathsynth.__file__).parent.parent
    checkouts = {_NOW: here, **({_BEFORE: before} if before else {})}
    few = Version(here, folder / "few", max(2, trials // 10))
    versions = {name: Version(checkout, folder / name, trials) for name, checkout in checkouts.items()}
    for version in (few, *versions.values()):
        version.finish()
    small = few.costs()
    rounds = [{name: version.costs() for name, version in versions.items()} for _ in range(repeats)]
    return {
        "ratios": _ratios(rounds) if before else {},
        "processor_seconds": {name: _figures([r[name] for r in rounds], "processor") for name in versions},
        "wall_seconds": {name: _figures([r[name] for r in rounds], "wall") for name in versions},
        "peak_megabytes": {what: [small[what].megabytes, median(r[_NOW][what].megabytes for r in rounds)] for what in small},
        "trials": [few.trials, trials],
        "repeats": repeats,
        "machine": machine(),
    }


def _figures(costs: Sequence[Mapping[str, Cost]], figure: str) -> dict[str, list[float]]:
    return {what: [getattr(one[what], figure) for one in costs] for what in costs[0]}


def _ratios(rounds: Sequence[Mapping[str, Mapping[str, Cost]]]) -> dict[str, object]:
    return {
        f"{what}_over_before": summary([r[_NOW][what].processor / r[_BEFORE][what].processor for r in rounds]) for what in rounds[0][_NOW]
    }


if __name__ == "__main__":
    repeated(__doc__, measure, trials=1000, before="checkout of an earlier version to compare with")
