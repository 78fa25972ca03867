"""The examples as a user has them: copied to the folder where the command is started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from pathsynth.commands.quoting import choose_custom_options
from pathsynth.config import RunConfig, from_hydra
from pathsynth.config.shipped import conf_folder
from pathsynth.stages.plan import Plan, plan

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = (
    *("data.n_train=90", "data.n_val=36", "data.n_test=18", "gate.epochs=1", "judge.epochs=1", "lora.targets=attention"),
    *("trainer.max_steps=4", "training.batch_size=4", "callbacks.regeneration.every=2", "callbacks.regeneration.n=1", "sampling.steps=2"),
    *("sampling.attempts=2", "evaluate.n=2", "tracking=none"),
)
"""The smallest whole loop; ``data.n_…`` are the phantom's, or the first images of a user's own data."""


@pytest.fixture
def beside(tmp_path, monkeypatch) -> Callable[[str], Path]:
    """Copies an example to an empty folder, which is the working folder then."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # a command sets this and the next, and what comes after would find them
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    return lambda name: Path(shutil.copy(EXAMPLES / name, tmp_path))


def configured(*overrides: str, command: str = "run") -> RunConfig:
    """The settings that a command line asks for."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return from_hydra(compose(command, choose_custom_options(overrides)))


def planned(*overrides: str, command: str = "run") -> Plan:
    """What a command line would carry out; nothing of a gate or judge is imported for it."""
    return plan(configured(*overrides, command=command))


def changed(before: Plan, after: Plan) -> set[str]:
    return {old.name for old, new in zip(before.stages, after.stages, strict=True) if old.identity != new.identity}


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """The status and the words of a command that is started in a folder."""
    words = [sys.executable, "-m", "pathsynth", *arguments]
    ended = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=280, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return ended.returncode, ended.stdout + ended.stderr
