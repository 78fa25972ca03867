"""Trials from the command line to their end: done, found done, killed, failed, interrupted, shared."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import psutil
import pytest

STAGES = ["cache", "gate", "judge", "finetune", "generate", "reference", "evaluate"]


def begun(pathsynth) -> list[str]:
    return [line.rsplit(" ", 1)[0] for line in pathsynth.made]


def leftovers(pathsynth) -> list[str]:
    """Whatever in the stage store is neither a lock nor a finished stage."""
    root = pathsynth.folder / "multirun" / ".stages"
    places = [p for p in root.glob("*/*") if p.suffix != ".lease"]
    return [p.name for p in places if not (p / "stage.json").is_file() or (p / "half").read_text() != "whole"]


def test_a_trial_is_done_once_and_then_found(pathsynth):
    ended = pathsynth.run("lora.rank=16")
    assert ended.code == 0, ended.err
    assert begun(pathsynth) == [f"{stage} 16" for stage in STAGES]
    assert pathsynth.state("rank=16")["state"] == "done"
    assert "0.160 [0.000, 1.000] n=90" in ended.out
    manifest = (pathsynth.trial("rank=16") / "manifest.json").read_text()
    again = pathsynth.run("lora.rank=16", "training.threads=1")
    assert again.code == 0
    assert "done already" in again.out
    assert len(pathsynth.made) == len(STAGES)
    assert (pathsynth.trial("rank=16") / "manifest.json").read_text() == manifest


def test_the_manifest_is_frozen_whole_and_without_secrets(pathsynth):
    pathsynth.variables = {"WANDB_API_KEY": "s3cr3t-value"}
    assert pathsynth.run("lora.rank=2", "data.n_train=90").code == 0
    text = (pathsynth.trial("rank=2") / "manifest.json").read_text()
    record = json.loads(text)
    assert "s3cr3t-value" not in text
    assert record["config"]["lora"]["rank"] == 2
    assert record["overrides"][-2:] == ["lora.rank=2", "data.n_train=90"]
    assert record["identity"] == record["plan"]["identity"]
    assert [stage["name"] for stage in record["plan"]["stages"]] == STAGES
    assert record["versions"]["torch"]


def test_a_multirun_shares_its_stages_and_a_killed_trial_fails_alone(pathsynth):
    pathsynth.told = {"4": {"finetune": "kill"}}
    ended = pathsynth.run("-m", "lora.rank=1,4,16")
    assert ended.code == 1
    assert [line for line in begun(pathsynth) if line.startswith("gate")] == ["gate 1"]
    assert [pathsynth.state(f"rank={rank}-")["state"] for rank in (1, 4, 16)] == ["done", "failed", "done"]
    assert pathsynth.state("rank=4-")["reason"].startswith("killed by signal 9")
    assert "killed by signal 9" in ended.out
    pathsynth.told = {}
    again = pathsynth.run("-m", "lora.rank=1,4,16")
    assert again.code == 0
    assert "3 trials; 2 done already; 1 to do" in again.out
    assert begun(pathsynth).count("finetune 4") == 2
    assert leftovers(pathsynth) == []


def test_every_kind_of_failure_has_a_status_a_reason_and_no_traceback(pathsynth):
    pathsynth.told = {"1": {"gate": "fail"}, "2": {"gate": "bug"}, "3": {"gate": "full"}, "4": {"gate": "refuse"}}
    ended = pathsynth.run("-m", "lora.rank=1,2,3,4")
    reasons = [pathsynth.state(f"rank={rank}-")["reason"] for rank in (1, 2, 3, 4)]
    assert ended.code == 1
    assert reasons == [
        "the loss became nan at step 3; lower optimizer.lr",
        "ValueError: two lines",
        "the disk is full (images/1.png); free some space and run the same command again",
        "the adapter belongs to another base",
    ]
    assert "Traceback (most recent call last)" not in ended.out
    assert "Traceback" in (pathsynth.trial("rank=2-") / "log.txt").read_text()
    assert [pathsynth.state(f"rank={rank}-")["tries"] for rank in (1, 2, 3, 4)] == [1, 1, 0, 1], "a full disk is no fault of the trial"
    assert leftovers(pathsynth) == []


@pytest.mark.slow
def test_a_study_file_is_a_multirun_with_a_folder_of_its_own(pathsynth):
    ended = pathsynth.run("study=demo")
    assert ended.code == 0, ended.err
    trials = [p.name.split("-")[0] for p in (pathsynth.folder / "multirun" / "demo").iterdir() if not p.name.startswith(".")]
    assert sorted(trials) == ["rank=1", "rank=16"]


def test_the_joblib_launcher_runs_trials_side_by_side_and_isolates_them(pathsynth):
    pathsynth.told = {"4": {"finetune": "kill"}}
    ended = pathsynth.run("-m", "lora.rank=1,4,16", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert ended.code == 1, ended.err
    assert [pathsynth.state(f"rank={rank}-")["state"] for rank in (1, 4, 16)] == ["done", "failed", "done"]
    assert len([line for line in pathsynth.made if line.startswith("gate")]) == 1
    assert "Parallel(" not in ended.out and "sweep output dir" not in ended.out, "what joblib was given is nobody's concern"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edited", "launcher"),
    [
        pytest.param("lr: 7e-3\n_target_: torch.optim.AdamW\n", [], id="another"),
        pytest.param("lr: [", ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], id="broken-joblib"),
    ],
)
def test_a_file_edited_while_a_sweep_runs_changes_no_job_that_waits(pathsynth, launcher, edited):
    own = pathsynth.folder / "conf" / "optimizer" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("lr: 1e-3\n_target_: torch.optim.AdamW\n")
    pathsynth.told = {rank: {"finetune": "gate"} for rank in ("1", "4")}
    arguments = ["run", "--config-dir", "conf", f"base.path={pathsynth.base}", "tracking=none", "optimizer=mine"]
    process = pathsynth.start(*arguments, "-m", "lora.rank=1,4,16", *launcher)
    pathsynth.wait_for("finetune 1")
    own.write_text(edited)
    (pathsynth.folder / "open").touch()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    trials = [json.loads((pathsynth.trial(f"optimizer=mine,rank={rank}-") / "manifest.json").read_text()) for rank in (1, 4, 16)]
    assert [trial["config"]["optimizer"]["lr"] for trial in trials] == [1e-3] * 3
    assert "waiting" not in out


@pytest.mark.slow
def test_jobs_are_numbered_from_0_and_listed_in_the_order_of_the_sweep(pathsynth):
    pathsynth.run("-m", "lora.rank=4")
    ended = pathsynth.run("-m", "lora.rank=1,4,16")
    assert [line.split()[0] for line in ended.out.splitlines() if line.strip().startswith("#")] == ["#0", "#1"]
    table = [line.split("-")[0] for line in ended.out.splitlines() if line.startswith("rank=") and "n=90" in line]
    assert table == ["rank=1", "rank=4", "rank=16"]


@pytest.mark.slow
def test_data_that_changed_while_a_sweep_ran_is_said_and_nothing_stays_waiting(pathsynth):
    pathsynth.told = {"1": {"finetune": "gate"}}
    process = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", "-m", "lora.rank=1,4")
    pathsynth.wait_for("finetune 1")
    (pathsynth.base / "w.safetensors").write_bytes(b"other weights")
    (pathsynth.folder / "open").touch()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "planned as rank=4-" in out and "have changed since" in out
    assert "waiting" not in out


@pytest.mark.slow
def test_a_report_of_what_measures_no_agreement_says_where_to_look(pathsynth):
    asked = (f"base.path={pathsynth.base}", "data=phantom", "tracking=none")
    assert pathsynth("finetune", *asked, "study.name=trained").code == 0
    ended = pathsynth("report", "multirun/trained")
    assert (ended.code, ended.err) == (
        2,
        "pathsynth: multirun/trained has no trial of run, evaluate, generate or classify, of which pages are made; "
        "finetune: see adapter and history.csv in each trial's folder\n",
    )
    assert pathsynth("generate", *asked, "n=1", "study.name=drawn").code == 0
    ended = pathsynth("report", "multirun/drawn")  # what stands in for a trial leaves no attempts
    assert ended.code == 2 and "attempts.parquet of a generation" in ended.err and "study.force=true" in ended.err


@pytest.mark.slow
def test_hydras_own_sweeper_refuses_one_job_and_runs_the_others(pathsynth):
    ended = pathsynth.run("-m", "hydra/sweeper=basic", "lora.rank=-1,2")
    assert ended.code == 1
    assert pathsynth.state("rank=2-")["state"] == "done"
    assert "refused" in ended.out


def interrupt(pathsynth, process: subprocess.Popen, number: int) -> int:
    process.send_signal(number)
    process.communicate(timeout=60)
    return process.returncode


def test_ctrl_c_stops_a_multirun_and_the_same_command_goes_on(pathsynth):
    pathsynth.told = {"4": {"generate": "wait"}}
    arguments = ["run", f"base.path={pathsynth.base}", "tracking=none", "-m", "lora.rank=1,4,16"]
    process = pathsynth.start(*arguments)
    pathsynth.wait_for("generate 4")
    assert interrupt(pathsynth, process, signal.SIGINT) == 130
    state = pathsynth.state("rank=4-")
    assert (state["state"], state["stage"]) == ("interrupted", "generate")
    assert not list((pathsynth.folder / "multirun" / "runs").glob("rank=16-*"))
    assert leftovers(pathsynth) == []
    pathsynth.told = {}
    assert pathsynth(*arguments).code == 0
    assert begun(pathsynth).count("finetune 4") == 1
    assert begun(pathsynth).count("generate 4") == 2


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, *(pytest.param(seconds, marks=pytest.mark.thorough) for seconds in (0.1, 0.5, 0.6, 0.7))])
def test_ctrl_c_that_reaches_joblibs_worker_as_it_takes_a_job_is_an_interruption(pathsynth, seconds):
    """A terminal sends it to all of its processes, and a worker that is just taking its job breaks by it."""
    sweep = ("-m", "lora.rank=4,1,16,8", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    pathsynth.told = {"1": {"finetune": "wait"}}
    process = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", *sweep)
    pathsynth.wait_for("finetune 1")
    pathsynth.wait_for("evaluate 4")
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert pathsynth.state("rank=1-")["state"] == "interrupted"
    pathsynth.told = {}
    assert pathsynth.run(*sweep).code == 0


@pytest.mark.slow
def test_sigterm_stops_a_trial_in_every_stage(pathsynth):
    for rank, stage in enumerate(STAGES, start=1):
        pathsynth.told = {str(rank): {stage: "wait"}}
        process = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", f"lora.rank={rank}")
        pathsynth.wait_for(f"{stage} {rank}")
        assert interrupt(pathsynth, process, signal.SIGTERM) == 130
        state = pathsynth.state(f"rank={rank}-")
        assert (state["state"], state["stage"]) == ("interrupted", stage)
    assert leftovers(pathsynth) == []


@pytest.mark.slow
@pytest.mark.parametrize("words", [["lora.rank=1"], ["-m", "lora.rank=1,4"]], ids=["afresh", "forked"])
def test_a_trial_whose_supervisor_is_killed_stops_by_itself(pathsynth, alive, words):
    pathsynth.told = {"1": {"finetune": "wait"}}
    process = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", *words)
    pathsynth.wait_for("finetune 1")
    pid = pathsynth.state("rank=1-")["pid"]
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)
    assert pathsynth.state("rank=1-")["state"] == "interrupted"
    pathsynth.told = {}
    assert pathsynth.run("lora.rank=1").code == 0


@pytest.mark.slow
def test_a_multirun_whose_output_nobody_reads_is_done_all_the_same(pathsynth):
    process = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", "-m", "lora.rank=1,2")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 0
    lines = process.stderr.read().splitlines()
    assert [line for line in lines if not line.startswith("checking jobs: ")] == [], "that one comes on a busy machine"
    assert [pathsynth.state(f"rank={rank}-")["state"] for rank in (1, 2)] == ["done", "done"]


@pytest.mark.slow
def test_two_commands_that_want_the_same_trial_make_it_once(pathsynth):
    arguments = ["run", f"base.path={pathsynth.base}", "tracking=none", "lora.rank=8"]
    both = [pathsynth.start(*arguments), pathsynth.start(*arguments)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert begun(pathsynth) == [f"{stage} 8" for stage in STAGES]
    assert sum("done already" in out for out in outputs) == 1
    assert sum("another process is running it; waiting for its end" in out for out in outputs) == 1


def test_a_killed_trial_process_leaves_no_half_stage(pathsynth):
    pathsynth.told = {"1": {"generate": "wait"}}
    process = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", "lora.rank=1")
    pathsynth.wait_for("generate 1")
    os.kill(int(pathsynth.state("rank=1-")["pid"]), signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert all(name.endswith(".partial") for name in leftovers(pathsynth))
    pathsynth.told = {}
    assert pathsynth.run("lora.rank=1").code == 0
    assert leftovers(pathsynth) == []


@pytest.mark.slow
def test_each_command_ends_done_and_only_evaluated_trials_have_results(pathsynth):
    own = [f"base.path={pathsynth.base}", "tracking=none"]
    for command, arguments in {
        "classify": ["tracking=none", "classifier.epochs=1"],
        "finetune": own,
        "generate": ["data=phantom", *own, "prompt=H&E: mucus, it's (pale)", "n=2"],
        "evaluate": own,
    }.items():
        ended = pathsynth(command, *arguments)
        assert ended.code == 0, ended.err
    trials = [p for p in (pathsynth.folder / "multirun" / "runs").iterdir() if not p.name.startswith(".")]
    assert len(trials) == 4
    assert [(p / "result.json").exists() for p in trials].count(True) == 1


@pytest.mark.slow
def test_only_a_trained_adapter_is_evaluated(pathsynth):
    own = [f"base.path={pathsynth.base}", "tracking=none"]
    ended = pathsynth("evaluate", *own)
    assert (ended.code, pathsynth.files()) == (2, [])
    assert "has no adapter of these settings to evaluate; train it: pathsynth run, or finetune, with them" in ended.err
    assert pathsynth("finetune", *own).code == 0
    assert pathsynth("evaluate", *own, "evaluate.n=7").code == 0
    assert pathsynth("evaluate", *own, "lora.rank=3").code == 2


@pytest.mark.slow
def test_images_that_would_fill_the_disk_are_warned_of(pathsynth):
    ended = pathsynth.run("evaluate.n=9", "sampling.attempts=2000000000")
    assert ended.code == 0, ended.err
    assert "warning: up to 162,000,000,000 images may need" in ended.out


def test_images_that_fit_nowhere_are_refused_with_the_number_that_does(pathsynth):
    ended = pathsynth.run("evaluate.n=2000000000")
    assert (ended.code, pathsynth.files()) == (2, [])
    assert "evaluate.n=2000000000 asks for 18,000,000,000 images, and the " in ended.err
    assert "; set evaluate.n=" in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("terminal", [True, False])
def test_a_request_to_stop_reaches_trials_that_run_side_by_side(pathsynth, terminal, alive):
    """A terminal's Ctrl-C goes to the command and to the launcher's workers (not to the trials), a SIGTERM to the command."""
    pathsynth.told = {"1": {"finetune": "wait"}, "4": {"finetune": "wait"}}
    arguments = ["run", f"base.path={pathsynth.base}", "tracking=none", "-m", "lora.rank=1,4,16"]
    process = pathsynth.start(*arguments, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    pathsynth.wait_for("finetune 1")
    pathsynth.wait_for("finetune 4")
    pids = [int(pathsynth.state(f"rank={rank}-")["pid"]) for rank in (1, 4)]
    if terminal:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out.count("interrupted") >= 2
    assert [pathsynth.state(f"rank={rank}-")["state"] for rank in (1, 4)] == ["interrupted", "interrupted"]
    assert not any(alive(pid) for pid in pids)
    assert not list((pathsynth.folder / "multirun" / "runs").glob("rank=16-*"))


@pytest.mark.slow
def test_a_signal_to_one_worker_stops_its_trial_only(pathsynth):
    """What a scheduler's time limit or scancel sends to one job of a sweep."""
    pathsynth.told = {"1": {"finetune": "wait"}, "4": {"finetune": "gate"}}
    arguments = ["run", f"base.path={pathsynth.base}", "tracking=none", "-m", "lora.rank=1,4,16"]
    process = pathsynth.start(*arguments, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    pathsynth.wait_for("finetune 1")
    pathsynth.wait_for("finetune 4")
    server, worker, *_ = psutil.Process(pathsynth.state("rank=1-")["pid"]).parents()
    assert "pathsynth.studies.execution.trial_server" in server.cmdline()
    assert worker.pid != process.pid
    worker.send_signal(signal.SIGTERM)
    pathsynth.wait_for("evaluate 16")
    (pathsynth.folder / "open").touch()
    process.communicate(timeout=60)
    assert process.returncode == 1, "one trial is not done"
    assert [pathsynth.state(f"rank={rank}-")["state"] for rank in (1, 4, 16)] == ["interrupted", "done", "done"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [(), ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")])
def test_the_second_ctrl_c_kills_within_a_second(pathsynth, alive, launcher):
    pathsynth.told = {"1": {"finetune": "stubborn"}}
    process = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", "-m", "lora.rank=1,4", *launcher)
    pathsynth.wait_for("finetune 1")
    pid = int(pathsynth.state("rank=1-")["pid"])
    process.send_signal(signal.SIGINT)
    time.sleep(0.7)
    assert alive(pid)
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    while alive(pid) and time.monotonic() - asked < 5:
        time.sleep(0.02)
    assert time.monotonic() - asked < 1
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert pathsynth.state("rank=1-")["state"] == "interrupted"


def test_the_second_ctrl_c_kills(pathsynth, alive):
    pathsynth.told = {"1": {"finetune": "stubborn"}}
    process = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", "lora.rank=1")
    pathsynth.wait_for("finetune 1")
    pid = int(pathsynth.state("rank=1-")["pid"])
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert alive(pid)
    assert interrupt(pathsynth, process, signal.SIGINT) == 130
    assert not alive(pid)
    assert pathsynth.state("rank=1-")["state"] == "interrupted"
    pathsynth.told = {}
    assert pathsynth.run("lora.rank=1").code == 0


@pytest.mark.slow
def test_a_configuration_folder_of_the_users_own_works(pathsynth):
    own = pathsynth.folder / "base" / "mine" / "lora"
    own.mkdir(parents=True)
    (own / "wide.yaml").write_text("rank: 7\nalpha: null\ndropout: 0.0\ntargets: all\n")
    ended = pathsynth.run("--config-dir", str(own.parent), "lora=wide")
    assert ended.code == 0, ended.err
    ended = pathsynth.run(f"hydra.searchpath=[file://{own.parent}]", "lora=wide", "lora.rank=8")
    assert ended.code == 0, ended.err
    assert {line.split()[1] for line in begun(pathsynth)} == {"7", "8"}


@pytest.mark.slow
def test_a_finished_study_is_found_done_without_being_composed(pathsynth):
    arguments = ("-m", "lora.rank=1,2,3")
    assert pathsynth.run(*arguments).code == 0
    made = pathsynth.made
    pathsynth.variables = {"STAND_IN_NO_COMPOSING": "1"}
    ended = pathsynth.run(*arguments)
    assert ended.code == 0, ended.err
    assert "3 trials; 3 done already; 0 to do" in ended.out
    assert ended.out.count("0.0") >= 3, "the closing table shows every trial"
    assert pathsynth.made == made
    pathsynth.variables = {}
    more = pathsynth.run("-m", "lora.rank=1,2,3,4")
    assert more.code == 0
    assert "4 trials; 3 done already; 1 to do; about " in more.out
    assert begun(pathsynth).count("finetune 4") == 1


@pytest.mark.slow
def test_the_memo_is_not_trusted_when_base_or_configuration_changed(pathsynth):
    assert pathsynth.run("-m", "lora.rank=1,2").code == 0
    settings = pathsynth.base / "unet" / "config.json"
    settings.write_text(settings.read_text() + "\n")
    ended = pathsynth.run("-m", "lora.rank=1,2")
    assert ended.code == 0
    assert "2 trials; 2 to do" in ended.out
    own = pathsynth.folder / "base" / "mine" / "lora"
    own.mkdir(parents=True)
    (own / "wide.yaml").write_text("rank: 7\nalpha: 3\ndropout: 0.0\ntargets: all\n")
    arguments = ("--config-dir", str(own.parent), "-m", "lora=wide", "seed=0,1")
    assert "2 to do" in pathsynth.run(*arguments).out
    assert "0 to do" in pathsynth.run(*arguments).out
    (own / "wide.yaml").write_text("rank: 7\nalpha: 4\ndropout: 0.0\ntargets: all\n")
    assert "2 to do" in pathsynth.run(*arguments).out


@pytest.mark.slow
def test_a_failed_trial_is_tried_again_up_to_its_limit(pathsynth):
    pathsynth.told = {"2": {"finetune": "fail"}}
    for _ in range(2):
        ended = pathsynth.run("-m", "lora.rank=1,2", "study.retry_failed=1")
        assert ended.code == 1
    assert begun(pathsynth).count("finetune 2") == 2
    ended = pathsynth.run("-m", "lora.rank=1,2", "study.retry_failed=1")
    assert ended.code == 1, "a trial that is left failed is still a failure"
    assert "has failed 2 times and is left; study.force=true tries again" in ended.out
    assert begun(pathsynth).count("finetune 2") == 2
    assert pathsynth.run("lora.rank=2", "study.retry_failed=1").code == 1
    assert begun(pathsynth).count("finetune 2") == 2
    pathsynth.told = {}
    ended = pathsynth.run("-m", "lora.rank=1,2", "study.retry_failed=1", "study.force=true")
    assert ended.code == 0, ended.err
    assert begun(pathsynth).count("finetune 2") == 3
    assert begun(pathsynth).count("finetune 1") == 1


@pytest.mark.parametrize("launcher", [(), ("hydra/launcher=joblib", "hydra.launcher.n_jobs=1")])
def test_fail_fast_stops_at_the_first_failure(pathsynth, launcher):
    pathsynth.told = {"2": {"finetune": "fail"}}
    ended = pathsynth.run("-m", "lora.rank=1,2,3", "study.fail_fast=true", *launcher)
    assert ended.code == 1
    assert [line for line in begun(pathsynth) if line.startswith("finetune")] == ["finetune 1", "finetune 2"]
    assert "waiting" in ended.out


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [(), ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")])
def test_two_operators_share_a_study(pathsynth, launcher):
    """The second passes over the trial that the first is at, takes the next, and comes back to wait for the first's."""
    pathsynth.told = {"1": {"finetune": "gate"}}
    arguments = ["run", f"base.path={pathsynth.base}", "tracking=none", "-m", "lora.rank=1,2,3"]
    one = pathsynth.start(*arguments)
    pathsynth.wait_for("finetune 1")
    two = pathsynth.start(*arguments, *launcher)
    pathsynth.wait_for("evaluate 3")
    (pathsynth.folder / "open").touch()
    ends = [process.communicate(timeout=120) for process in (one, two)]
    assert [one.returncode, two.returncode] == [0, 0], ends
    assert sorted(line for line in begun(pathsynth) if line.startswith("finetune")) == ["finetune 1", "finetune 2", "finetune 3"]
    assert "1 trial is running in another process" in ends[1][0]
    for out, _ in ends:
        assert out.count("done") >= 3


@pytest.mark.slow
def test_ctrl_c_of_one_operator_leaves_the_others_trial_alone(pathsynth, alive):
    pathsynth.told = {"1": {"finetune": "gate"}}
    arguments = ["run", f"base.path={pathsynth.base}", "tracking=none", "-m", "lora.rank=1,2"]
    one = pathsynth.start(*arguments)
    pathsynth.wait_for("finetune 1")
    two = pathsynth.start(*arguments)
    pathsynth.wait_for("evaluate 2")
    time.sleep(2)  # the second has nothing left but to wait for the first
    asked = time.monotonic()
    two.send_signal(signal.SIGINT)
    out, _ = two.communicate(timeout=60)
    assert two.returncode == 130
    assert time.monotonic() - asked < 5
    assert f"left to the processes that run them: {pathsynth.trial('rank=1-').name}" in out
    assert alive(int(pathsynth.state("rank=1-")["pid"]))
    (pathsynth.folder / "open").touch()
    one.communicate(timeout=60)
    assert (one.returncode, pathsynth.state("rank=1-")["state"]) == (0, "done")


@pytest.mark.slow
def test_a_trial_that_stands_still_is_taken_over_and_its_late_result_refused(pathsynth):
    pathsynth.told = {"1": {"evaluate": "gate"}}
    arguments = ["run", f"base.path={pathsynth.base}", "tracking=none", "lora.rank=1", "study.lease_seconds=1.5"]
    one = pathsynth.start(*arguments)
    pathsynth.wait_for("evaluate 1")
    stalled = int(pathsynth.state("rank=1-")["pid"])
    os.kill(stalled, signal.SIGSTOP)
    pathsynth.told = {}
    two = pathsynth.start(*arguments)
    out, err = two.communicate(timeout=120)
    assert two.returncode == 0, err
    state = pathsynth.state("rank=1-")
    assert (state["state"], state["pid"] != stalled) == ("done", True)
    result = (pathsynth.trial("rank=1-") / "result.json").stat()
    (pathsynth.folder / "open").touch()
    os.kill(stalled, signal.SIGCONT)
    out, err = one.communicate(timeout=120)
    assert one.returncode == 0, "its trial is done, by the other"
    assert "taken over by another process" in out
    assert pathsynth.state("rank=1-") == state
    after = (pathsynth.trial("rank=1-") / "result.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (result.st_ino, result.st_mtime_ns)
    assert leftovers(pathsynth) == []


@pytest.mark.slow
def test_a_trial_of_other_versions_is_reported(pathsynth):
    assert pathsynth.run("-m", "lora.rank=1,2").code == 0
    path = pathsynth.trial("rank=1-") / "manifest.json"
    record = json.loads(path.read_text())
    record["versions"]["torch"] = "1.0"
    path.write_text(json.dumps(record))
    ended = pathsynth.run("-m", "lora.rank=1,2")
    assert "note: 1 trial finished with torch 1.0, now 2." in ended.out


DROPS_CTRL_C = """
import signal, sys

class Finder:
    waits = True

    def find_spec(self, name, path=None, target=None):
        if name == "hydra.core.global_hydra" and self.waits:
            Finder.waits = False
            Dropped()

class Dropped:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        for _ in range(100000):
            pass

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs in the background with Ctrl-C ignored
sys.meta_path.insert(0, Finder())
"""


def test_a_ctrl_c_that_python_drops_while_a_command_loads_is_not_lost(pathsynth):
    """An exception that a destructor raises goes nowhere."""
    (pathsynth.folder / "stand_in" / "sitecustomize.py").write_text(DROPS_CTRL_C)
    ended = pathsynth.run("lora.rank=1")
    assert "Exception ignored" in ended.err, "it was dropped"
    assert (ended.code, pathsynth.files()) == (130, [])
