"""Trials as tasks of a real Ray, with a pipeline that takes no time; the score of a trial is its rank / 100."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from pathsynth.studies.trials.state import read_state
from tests.clusters.conftest import RayNodes, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

SECRET = "s3cr3t-of-this-test"
STAND_IN = "hydra.job.env_copy=[STAND_IN]"
"""What the stand-in is told is no variable that goes to workers by itself."""


@contextmanager
def started(pathsynth, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command; where the test fails before its end, it is killed and what it printed is shown."""
    command = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", "-m", "hydra/launcher=ray", STAND_IN, *arguments)
    try:
        yield command
    finally:
        if command.stdout and not command.stdout.closed:
            command.kill()
            print(*command.communicate())


def lose_a_node(pathsynth, ray_nodes: RayNodes) -> int:
    """Wait until both nodes are at a trial, lose one, let the trials continue; the rank of the trial that was lost."""
    pathsynth.wait_for("finetune 2")
    pathsynth.wait_for("finetune 4")
    pids = {rank: int(pathsynth.state(f"rank={rank}-")["pid"]) for rank in (2, 4)}
    place = {rank: ray_nodes.node_of(pid) for rank, pid in pids.items()}
    assert sorted(place.values()) == [0, 1]
    lost = next(rank for rank, node in place.items() if node == 1)
    assert {psutil.Process(pid).environ()["WANDB_API_KEY"] for pid in pids.values()} == {SECRET}
    ray_nodes.kill(1)
    (pathsynth.folder / "open").touch()
    return lost


def test_a_study_runs_on_two_nodes_and_survives_the_loss_of_one(pathsynth, ray_nodes: RayNodes):
    pathsynth.told = {"2": {"finetune": "gate"}, "4": {"finetune": "gate"}}
    pathsynth.variables = {**ray_nodes.variables, "WANDB_API_KEY": SECRET, "OMP_NUM_THREADS": ""}
    with started(pathsynth, f"hydra.launcher.address={ray_nodes.address}", "lora.rank=2,4,8", "study.lease_seconds=4") as command:
        lost = lose_a_node(pathsynth, ray_nodes)
        out, err = command.communicate(timeout=150)
    assert command.returncode == 0, (out, err)
    assert [pathsynth.state(f"rank={rank}-")["state"] for rank in (2, 4, 8)] == ["done"] * 3
    assert "2 at once" in out
    assert "first 3 jobs build what several trials share: cache, gate, judge" in out, out
    assert f"{pathsynth.trial(f'rank={lost}-').name}: its node died; submitted again (1 of 2)" in out
    assert sorted(line for line in pathsynth.made if line.startswith("finetune")) == sorted(
        ["finetune 2 1", "finetune 4 1", "finetune 8 1", f"finetune {lost} 1"]
    )
    for folder in (ray_nodes.folder, pathsynth.folder / "multirun"):
        holding = [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and SECRET.encode() in p.read_bytes()]
        assert holding == []
    ray_nodes.start()


def test_a_node_that_has_just_died_is_left_out(pathsynth, ray_nodes: RayNodes):
    """Ray lists it for some ten seconds more."""
    ray_nodes.start()
    ray_nodes.kill(-1)
    pathsynth.variables = dict(ray_nodes.variables)
    with started(pathsynth, f"hydra.launcher.address={ray_nodes.address}", "lora.rank=2,4") as command:
        out, err = command.communicate(timeout=150)
    assert command.returncode == 0, (out, err)
    assert "of the Ray cluster is gone; the sweep runs on the others" in out, out


def test_a_job_that_loses_its_worker_too_often_is_left_and_the_others_go_on(pathsynth, ray_nodes: RayNodes):
    pathsynth.told = {"2": {"finetune": "wait"}}
    pathsynth.variables = dict(ray_nodes.variables)
    with started(pathsynth, f"hydra.launcher.address={ray_nodes.address}", "lora.rank=2,4", "hydra.launcher.retries=0") as command:
        pathsynth.wait_for("finetune 2")
        above = psutil.Process(int(pathsynth.state("rank=2-")["pid"])).parents()
        next(process for process in above if process.name().startswith("ray::")).kill()
        out, err = command.communicate(timeout=100)
    assert command.returncode == 1, (out, err)
    assert f"{pathsynth.trial('rank=2-').name}: its worker died; the same command continues it" in out
    trial = pathsynth.trial("rank=2-")
    wait_until(lambda: read_state(trial).state == "interrupted", "the trial outlived its worker", seconds=20)
    assert pathsynth.state("rank=4-")["state"] == "done"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can hide a folder from a process")
def test_a_node_that_does_not_share_the_folder_is_refused_before_anything_is_written(pathsynth, ray_nodes: RayNodes):
    hide = f"mount -t tmpfs none {shlex.quote(str(pathsynth.folder.parent))} && exec \"$@\""
    ray_nodes.start("unshare", "--mount", "sh", "-c", hide, "sh")
    pathsynth.variables = dict(ray_nodes.variables)
    with started(pathsynth, f"hydra.launcher.address={ray_nodes.address}", "lora.rank=2,4") as command:
        out, err = command.communicate(timeout=100)
    ray_nodes.kill(len(ray_nodes.nodes) - 1)
    assert (command.returncode, pathsynth.files()) == (2, []), (out, err)
    (line,) = [line for line in err.splitlines() if line.startswith("pathsynth run: ")]
    assert f"of the Ray cluster cannot see {pathsynth.folder}; start the command in a folder that all nodes share" in line


def test_ctrl_c_ends_the_trials_and_the_ray_of_the_commands_own(pathsynth, alive):
    pathsynth.told = {"1": {"finetune": "wait"}}
    pathsynth.variables = {"HOME": str(pathsynth.folder / "home")}
    with started(pathsynth, "lora.rank=1,2,3", "hydra.launcher.num_cpus=0.5", "hydra.launcher.n_jobs=1") as command:
        pathsynth.wait_for("finetune 1")
        below = psutil.Process(command.pid).children(recursive=True)
        folder = ray_folder(below)
        os.killpg(command.pid, signal.SIGINT)
        out, err = command.communicate(timeout=60)
    assert command.returncode == 130, (out, err)
    assert "Launching 3 jobs on Ray, 1 at once" in out
    assert f"{pathsynth.trial('rank=1-').name}  interrupted" in out
    assert pathsynth.state("rank=1-")["state"] == "interrupted"
    assert not any(line.startswith("finetune 2") for line in pathsynth.made)
    assert "Stopping; press Ctrl-C again to kill." in err and "ray" not in err.lower()
    wait_until(lambda: not any(alive(process.pid) for process in below), "processes were left", seconds=10)
    assert not folder.exists()
    assert not (pathsynth.folder / "home" / ".ray").exists()


def ray_folder(processes: list[psutil.Process]) -> Path:
    """Where a Ray has its files, as the command line of its node says."""
    words = next(words for words in (process.cmdline() for process in processes) if words and words[0].endswith("/raylet"))
    return Path(next(word for word in words if word.startswith("--temp_dir=")).partition("=")[2])
