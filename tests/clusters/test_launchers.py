"""The same behaviour under every launcher that needs no daemons of root's, with a pipeline that takes no time."""

from __future__ import annotations

import os
import re
import signal

import pytest

from pathsynth.studies.trials.state import read_state
from tests.clusters.conftest import RayNodes, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

LAUNCHERS = {
    "basic": [],
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "ray": ["hydra/launcher=ray", "hydra.job.env_copy=[STAND_IN]"],
    "submitit_local": ["hydra/launcher=submitit_local", "hydra.launcher.cpus_per_task=1", "hydra.launcher.tasks_per_node=1"],
}


@pytest.fixture(params=list(LAUNCHERS))
def launcher(request, pathsynth) -> list[str]:
    """The overrides that choose it."""
    if request.param != "ray":
        return LAUNCHERS[request.param]
    nodes: RayNodes = request.getfixturevalue("ray_nodes")
    pathsynth.variables = dict(nodes.variables)
    return [*LAUNCHERS["ray"], f"hydra.launcher.address={nodes.address}"]


def running(pathsynth) -> bool:
    """Whether the trial of rank 1 is at its fine-tune."""
    states = [read_state(folder) for folder in (pathsynth.folder / "multirun" / "runs").glob("rank=1-*")]
    return any((state.state, state.stage) == ("running", "finetune") for state in states)


def test_a_failure_stops_a_sweep_ctrl_c_stops_it_and_the_same_command_goes_on(pathsynth, launcher):
    sweep = ("-m", "lora.rank=4,1,16", *launcher)
    pathsynth.told = {"4": {"finetune": "fail"}, "1": {"finetune": "wait"}, "16": {"finetune": "wait"}}
    ended = pathsynth.run(*sweep, "study.fail_fast=true")
    assert ended.code == 1, ended.err
    states = {line.split()[0].partition("-")[0]: line.split()[1] for line in ended.out.splitlines() if re.match(r"rank=\d+-\w+  ", line)}
    assert states.pop("rank=4") == "failed"
    assert set(states.values()) <= {"waiting", "interrupted"} and len(states) == 2, "begun before the failure, or not at all"

    pathsynth.told = {"1": {"finetune": "wait"}}
    command = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", *sweep)
    pathsynth.wait_for("finetune 4")
    wait_until(lambda: running(pathsynth), "rank 1 did not begin")
    os.killpg(command.pid, signal.SIGINT)
    out, err = command.communicate(timeout=60)
    assert command.returncode == 130, err
    assert pathsynth.state("rank=1-")["state"] == "interrupted"
    assert "interrupted" in out

    pathsynth.told = {}
    ended = pathsynth.run(*sweep)
    assert ended.code == 0, ended.err
    table = [line.split()[:2] for line in ended.out.splitlines() if line.startswith("rank=") and "n=90" in line]
    assert [(trial.partition("-")[0], state) for trial, state in table] == [("rank=4", "done"), ("rank=1", "done"), ("rank=16", "done")]
    assert len([line for line in pathsynth.made if line.startswith("gate")]) == 1
