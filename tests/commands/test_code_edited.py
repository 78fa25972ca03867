"""What is edited in a clone while jobs wait changes nothing of a sweep that has begun."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import pathsynth as program

ROOT = Path(program.__file__).parent.parent
EACH_JOB_A_NEW_PROCESS = ("hydra/launcher=submitit_local", "hydra.launcher.cpus_per_task=1", "hydra.launcher.tasks_per_node=1")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone that may be edited."""
    clone = tmp_path / "clone"
    for name in ("pathsynth", "hydra_plugins", "conf", "experiments"):
        ignored = shutil.ignore_patterns("assets", "frontend", "__pycache__")
        shutil.copytree(ROOT / name, clone / name, ignore=ignored)
    (clone / "pathsynth" / "assets").symlink_to(ROOT / "pathsynth" / "assets")
    return clone


@pytest.mark.slow
def test_trials_that_start_later_run_the_code_of_the_sweeps_beginning(pathsynth, clone):
    pathsynth.told = {"1": {"cache": "gate"}}
    path = os.pathsep.join(filter(None, [str(clone), str(pathsynth.folder / "stand_in"), os.environ.get("PYTHONPATH")]))
    pathsynth.variables = {"PYTHONPATH": path}
    sweep = ("-m", "lora.rank=1,2", "study.shared_first=true", *EACH_JOB_A_NEW_PROCESS)
    command = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", *sweep)
    pathsynth.wait_for("cache 1")
    for name in ("pathsynth/studies/execution/trial.py", "pathsynth/studies/execution/job.py"):
        (clone / name).write_text("raise SystemExit('edited')\n")
    (pathsynth.folder / "open").touch()
    out, err = command.communicate(timeout=200)
    assert command.returncode == 0, out + err
    assert [pathsynth.state(f"rank={rank}-")["state"] for rank in (1, 2)] == ["done", "done"]
    assert not list((pathsynth.folder / "multirun" / "runs" / ".jobs").glob("*/code-*")), "nobody needs the copy any more"
