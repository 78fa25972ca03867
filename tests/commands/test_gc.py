"""`pathsynth gc` on a store of which a trial's folder was deleted."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.fixture
def orphaned(pathsynth, two_ranks) -> list[Path]:
    """The finished stages of a trial whose folder was deleted; another trial needs the three that they share."""
    shutil.copytree(two_ranks, pathsynth.folder / "multirun")
    stages = {path.parent for path in (pathsynth.folder / "multirun" / ".stages").glob("*/*/stage.json")}
    shutil.rmtree(pathsynth.trial("rank=2-"))
    rank_1 = (pathsynth.trial("rank=1-") / "manifest.json").read_text()
    return sorted(path for path in stages if path.name not in rank_1)


@pytest.mark.slow
def test_without_a_terminal_it_only_lists(pathsynth, orphaned):
    assert [path.parent.name for path in orphaned] == ["evaluate", "finetune", "generate"]
    ended = pathsynth("gc")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert [Path(line.split()[0]).name for line in lines[1:4]] == [path.name for path in orphaned]
    assert lines[4].startswith("3 folders, ")
    assert lines[5] == "nothing was removed; --yes removes them"
    assert all(path.is_dir() for path in orphaned)


@pytest.mark.slow
def test_yes_removes_and_the_other_trial_stays_whole(pathsynth, orphaned):
    ended = pathsynth("gc", "--yes")
    assert ended.code == 0, ended.err
    assert ended.out.endswith("removed 3 of 3\n")
    assert not any(path.exists() for path in orphaned)
    made = len(pathsynth.made)
    assert pathsynth.run("lora.rank=1", "evaluate.n=3").code == 0
    assert [line.split()[0] for line in pathsynth.made[made:]] == ["generate", "reference", "evaluate"]
    assert pathsynth("gc").out == "nothing to remove in multirun\n"


@pytest.mark.parametrize("answer, code, told", [("y", 0, "removed 3 of 3"), ("n", 0, "nothing was removed"), ("\x04", 130, "")])
def test_on_a_terminal_it_asks(pathsynth, orphaned, answer, code, told):
    terminal, theirs = pty.openpty()
    command = [sys.executable, "-m", "pathsynth", "gc"]
    process = subprocess.Popen(command, cwd=pathsynth.folder, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    read_until(terminal, b"remove it?")
    os.write(terminal, answer.encode() + (b"\n" if answer.isalpha() else b""))
    read_until(terminal, told.encode())
    assert process.wait(timeout=30) == code
    assert all(path.exists() for path in orphaned) == (answer != "y")


def read_until(terminal: int, wanted: bytes) -> None:
    seen, deadline = b"", time.monotonic() + 30
    while wanted not in seen:
        assert time.monotonic() < deadline, seen
        seen += os.read(terminal, 4096)


def test_wrong_requests(pathsynth, orphaned):
    ended = pathsynth("gc", "multirun/runs")
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert "no stages in multirun/runs" in ended.err
    (pathsynth.trial("rank=1-") / "manifest.json").write_text("{")
    ended = pathsynth("gc", "--yes")
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert "before anything is removed" in ended.err
    assert all(path.is_dir() for path in orphaned)


@pytest.mark.slow
def test_a_running_trial_keeps_what_it_builds(pathsynth, orphaned):
    pathsynth.told = {"2": {"finetune": "wait"}}
    process = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", "lora.rank=2", "seed=5")
    pathsynth.wait_for("finetune 2")
    while pathsynth.made.count(next(line for line in pathsynth.made if line.startswith("finetune 2"))) < 2:
        time.sleep(0.05)
    partial = next((pathsynth.folder / "multirun" / ".stages" / "finetune").glob("*.partial"))
    assert pathsynth("gc", "--yes").out.endswith("removed 3 of 3\n")
    assert partial.is_dir()
    process.terminate()
    process.communicate(timeout=60)
