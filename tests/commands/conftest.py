"""The command line in processes of its own, with a pipeline that takes no time: everything but the learning is real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

STAND_IN = '''
"""Put in the place of pathsynth.studies.execution.pipeline before anything is imported."""
import json, os, signal, sys, time, types
from pathlib import Path

def report():
    """Tell what a library could see of the process that it is loaded in."""
    links = [os.readlink(entry) for entry in sorted(Path("/proc/self/fd").iterdir()) if entry.is_symlink()]
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD)
    told = {
        "leads a session": os.getsid(0) == os.getpgid(0) == os.getpid(),
        "descriptors": [Path(link).name.partition(":[")[0] for link in links],
        "signals": [getattr(signal.getsignal(n), "__qualname__", str(signal.getsignal(n))) for n in numbers],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "input": sys.stdin.read(),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "main": sys.modules["__main__"].__spec__.name,
        "program": [sys.argv[0], len(sys.argv)],
        "path": sys.path,
        "flags": str(sys.flags),
        "unbuffered": sys.stdout.write_through,
        "priority": os.nice(0),
        "user's module": __import__("of_the_user").VALUE,
    }
    with open("reports.jsonl", "a") as log:
        log.write(json.dumps(told) + "\\n")

def run(config, plan, store, folder, progress, display):
    from pathsynth.ledger.errors import RequestError, StageError
    from pathsynth.ledger.records import Metric, Result, write_result
    rank = config.lora.rank if config.lora else 0
    told = json.loads(os.environ.get("STAND_IN", "{}")).get(str(rank), {})

    def make(place):
        with open(Path(config.multirun) / "made.txt", "a") as log:
            log.write(f"{stage.name} {rank} {os.environ['OMP_NUM_THREADS']}\\n")
        (place / "half").write_text("half")
        what = told.get(stage.name)
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "wait":
            end = time.monotonic() + 60
            while time.monotonic() < end:
                time.sleep(0.05)
        if what == "gate":
            end = time.monotonic() + 60
            while time.monotonic() < end and not Path("open").exists():
                time.sleep(0.05)
        if what == "counted":
            from pathsynth.terminal.stage_display import Count
            display.count(Count(3, 8, "steps", ("loss 0.45",)))
            progress(stage.name, "steps", 3, 8, 0.1)
            end = time.monotonic() + 60
            while time.monotonic() < end and not Path("open").exists():
                time.sleep(0.05)
        if what == "say":
            print("a line of the trial")
        if what == "validate":
            from pathsynth.ledger import interruption
            from pathsynth.training.pruning import Pruning
            pruning = Pruning.of_this_process()
            for number in (1, 2, 3) if pruning else ():
                pruning.report(number, 100 * number, 300, rank / 100)
                interruption.check()
        if what == "stubborn":
            end = time.monotonic() + 60
            while time.monotonic() < end:
                try:
                    time.sleep(0.05)
                except BaseException:
                    pass
        if what == "steps":
            work = store.work(stage.name, stage.identity)
            work.mkdir(exist_ok=True)
            for step in range(len(list(work.glob("[0-9]"))), 8):
                time.sleep(0.03)
                progress(stage.name, "steps", step, 8)
                (work / f"{step}").touch()
            (place / "steps").write_text(" ".join(sorted(path.name for path in work.glob("[0-9]"))))
        if what == "break":
            answer = 41
            breakpoint()
            (place / "answer").write_text(str(answer))
        if what == "sheet":
            (folder / "grids").mkdir(exist_ok=True)
            (folder / "grids" / "first.png").write_bytes(b"a picture")
        if what == "report":
            report()
        if what == "full":
            raise OSError(28, "No space left on device", "images/1.png")
        if what == "fail":
            raise StageError("the loss became nan at step 3; lower optimizer.lr")
        if what == "bug":
            raise ValueError("two\\nlines")
        if what == "refuse":
            raise RequestError("the adapter belongs to another base")
        (place / "half").write_text("whole")

    for stage in plan.stages:
        progress(stage.name, "building")
        store.build(stage.name, stage.identity, {**stage.settings, "parents": stage.parents}, make)
    about = dict(unit="image", split="generated", stage="before filtering", scorer="gate", prompts="canonical", data="none", seed=0)
    f1 = Metric(metric="macro_f1", value=rank / 100, low=0.0, high=1.0, n=90, **about)
    if "evaluate" in [stage.name for stage in plan.stages]:
        write_result(folder / "result.json", Result(plan.identity, {}, plan.settings, (f1,), ()))

if os.environ.get("STAND_IN_NO_COMPOSING"):
    from pathsynth.hydra_internals import ConfigLoaderImpl

    def refuse(*_):
        raise AssertionError("a job was composed")

    ConfigLoaderImpl.load_sweep_config = refuse

module = types.ModuleType("pathsynth.studies.execution.pipeline")
module.run = module.build_stages = run
sys.modules["pathsynth.studies.execution.pipeline"] = module
sys.modules["pathsynth.studies.execution.trial_libraries"] = types.ModuleType("pathsynth.studies.execution.trial_libraries")
'''


@dataclass
class Ended:
    code: int
    out: str
    err: str


@dataclass
class CommandLine:
    """``pathsynth`` started in ``folder``; ``told`` says what the stand-in does at (rank, stage)."""

    folder: Path
    base: Path
    told: dict[str, dict[str, str]] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str, before: Sequence[str] = (), **streams: int) -> subprocess.Popen[str]:
        path = os.pathsep.join(filter(None, [str(self.folder / "stand_in"), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "STAND_IN": json.dumps(self.told), "PYTHONPATH": path, **self.variables}
        environment.pop("HYDRA_FULL_ERROR", None) if "HYDRA_FULL_ERROR" not in self.variables else None
        command = [*before, sys.executable, "-m", "pathsynth", *arguments]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        return subprocess.Popen(command, cwd=self.folder, env=environment, text=True, start_new_session=True, **streams)

    def __call__(self, *arguments: str) -> Ended:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        return Ended(process.returncode, out, err)

    def run(self, *arguments: str) -> Ended:
        return self("run", f"base.path={self.base}", "tracking=none", *arguments)

    @property
    def made(self) -> list[str]:
        """Stages that were begun: "name rank threads"."""
        return _lines(self.folder / "multirun" / "made.txt")

    def trial(self, prefix: str, study: str = "runs") -> Path:
        (found,) = (self.folder / "multirun" / study).glob(f"{prefix}*")
        return found

    def state(self, prefix: str, study: str = "runs") -> dict[str, str]:
        return json.loads((self.trial(prefix, study) / "state.json").read_text())

    def wait_for(self, line: str, log: Path | None = None) -> None:
        """Until a stage has begun, as ``made`` or another log of stages tells."""
        log, deadline = log or self.folder / "multirun" / "made.txt", time.monotonic() + 60
        while not any(made.startswith(line) for made in _lines(log)):
            assert time.monotonic() < deadline, f"{line} never began: {_lines(log)}"
            time.sleep(0.05)

    def files(self) -> list[str]:
        """What was written, the stand-in and the base aside."""
        return sorted(p.name for p in self.folder.iterdir() if p.name not in ("stand_in", "base"))


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(autouse=True)
def _says_nothing_of_slow_checks(monkeypatch) -> None:
    """In this process no line tells how many jobs of a sweep are checked, so that on a slow machine a refusal is one line, too."""
    monkeypatch.setattr("pathsynth.studies.planning.sweep_plan._MOMENT_SECONDS", 3600.0)


@pytest.fixture
def pathsynth(tmp_path: Path, linked_base: Path) -> CommandLine:
    return _command_line(tmp_path, linked_base)


def _command_line(folder: Path, base: Path) -> CommandLine:
    (folder / "stand_in").mkdir()
    (folder / "stand_in" / "sitecustomize.py").write_text(STAND_IN)
    return CommandLine(folder, base)


@pytest.fixture(scope="session")
def two_ranks(tmp_path_factory, shared_base: Path) -> Path:
    """The ``multirun`` of two finished trials, of ranks 1 and 2; tests copy it."""
    folder = tmp_path_factory.mktemp("two_ranks")
    ended = _command_line(folder, shared_base).run("-m", "lora.rank=1,2")
    assert ended.code == 0, ended.err
    return folder / "multirun"
