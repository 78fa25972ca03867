"""Trials as tasks of a real Ray, with a pipeline that takes no time; the score of a trial is its rank / 100."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.clusters.conftest import RayNodes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

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
    """Wait until both nodes are at a trial, lose one, let the trials go on; the rank of the trial that was lost."""
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
    assert f"{pathsynth.trial(f'rank={lost}-').name}: its node died; submitted again (1 of 2)" in out
    assert sorted(line for line in pathsynth.made if line.startswith("finetune")) == sorted(
        ["finetune 2 1", "finetune 4 1", "finetune 8 1", f"finetune {lost} 1"]
    )
    for folder in (ray_nodes.folder, pathsynth.folder / "multirun"):
        holding = [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and SECRET.encode() in p.read_bytes()]
        assert holding == []
    ray_nodes.start()
