"""What several trials share is built by jobs of its own, before any of the trials begins: ``study.shared_first``."""

from __future__ import annotations

import os
import signal

import pytest

from pathsynth.studies.planning.workers import on_cluster
from tests.commands.test_trials import begun

SWEEP = ("-m", "lora.rank=1,2,4", "study.shared_first=true")
TWO_AT_ONCE = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
SHARED = ["cache 1", "gate 2", "judge 4"]


@pytest.mark.parametrize(
    "launcher, first",
    [
        ({"_target_": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"}, True),
        ({"_target_": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher"}, False),
        ({"_target_": "hydra_plugins.pathsynth.ray_launcher.RayLauncher", "address": "auto"}, True),
        ({"_target_": "hydra_plugins.pathsynth.ray_launcher.RayLauncher", "address": None}, False),
        ({"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}, False),
    ],
)
def test_by_default_where_trials_would_hold_a_clusters_devices_while_they_wait(launcher, first):
    assert on_cluster(launcher) is first


def states(pathsynth) -> list[str]:
    return [pathsynth.state(f"rank={rank}-")["state"] for rank in (1, 2, 4)]


def test_no_trial_begins_while_what_it_shares_is_built(pathsynth):
    pathsynth.told = {"2": {"gate": "gate"}}
    command = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", *SWEEP, *TWO_AT_ONCE)
    pathsynth.wait_for("judge 4")
    assert sorted(begun(pathsynth)) == SHARED
    assert pathsynth.state("rank=1-")["state"] == "waiting"
    assert pathsynth.state("rank=1-")["reason"] == "what it shares with other trials is built"
    (pathsynth.folder / "open").touch()
    out, err = command.communicate(timeout=120)
    assert command.returncode == 0, err
    assert "first 3 jobs build what several trials share: cache, gate, judge" in out
    assert len(begun(pathsynth)) == 3 + 3 * 4 - 2, "reference is the same for all"
    assert states(pathsynth) == ["done"] * 3
    again = pathsynth.run(*SWEEP, *TWO_AT_ONCE)
    assert again.code == 0 and "first" not in again.out, again.out


def test_a_trial_that_fails_at_what_others_share_has_had_its_turn_and_they_go_on(pathsynth):
    pathsynth.told = {"2": {"gate": "fail"}}
    ended = pathsynth.run(*SWEEP)
    assert ended.code == 1
    assert states(pathsynth) == ["done", "failed", "done"]
    assert begun(pathsynth).count("gate 2") == 1
    assert [line for line in begun(pathsynth) if line.startswith("gate")] == ["gate 2", "gate 1"]
    assert pathsynth.state("rank=2-")["tries"] == 1


def test_a_failure_that_stops_the_study_starts_no_trial(pathsynth):
    pathsynth.told = {"1": {"cache": "fail"}}
    ended = pathsynth.run(*SWEEP, "study.fail_fast=true")
    assert ended.code == 1
    assert begun(pathsynth) == ["cache 1"]
    assert "waiting" in ended.out


def test_ctrl_c_while_shared_stages_are_built_starts_no_trial_and_the_same_command_goes_on(pathsynth):
    pathsynth.told = {"2": {"gate": "wait"}}
    command = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", *SWEEP, *TWO_AT_ONCE)
    pathsynth.wait_for("gate 2")
    pathsynth.wait_for("judge 4")  # after the cache
    os.killpg(command.pid, signal.SIGINT)
    _, err = command.communicate(timeout=60)
    assert command.returncode == 130, err
    assert not any(line.startswith("finetune") for line in begun(pathsynth))
    pathsynth.told = {}
    ended = pathsynth.run(*SWEEP, *TWO_AT_ONCE)
    assert ended.code == 0, ended.err
    assert begun(pathsynth).count("cache 1") == 1
    assert states(pathsynth) == ["done"] * 3


def test_a_search_builds_what_its_proposals_share_first(pathsynth):
    search = ("-m", "hydra/sweeper=optuna", "lora.rank=1,2", "hydra.sweeper.sampler=grid", "hydra.sweeper.n_jobs=2", *TWO_AT_ONCE)
    ended = pathsynth.run(*search, "study.shared_first=true")
    assert ended.code == 0, ended.err
    assert "first 2 jobs build what several trials share" in ended.out
    assert {line.split()[0] for line in begun(pathsynth)[:3]} == {"cache", "gate", "judge"}
    assert [line.split()[0] for line in begun(pathsynth)].count("gate") == 1
    assert "2 of 2 trials, 2 with a score" in ended.out
