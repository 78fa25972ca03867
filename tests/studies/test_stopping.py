"""Requests to stop that come at any moment, to a trial's process that does nothing but start, and to a command with workers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pathsynth.studies.execution.supervise import supervise, trial_environment
from pathsynth.studies.trials import stopping
from pathsynth.studies.trials.manifest import claim
from pathsynth.studies.trials.outcomes import FOLDER_VARIABLE
from pathsynth.studies.trials.state import INTERRUPTED, TrialState, read_state, write_state
from pathsynth.studies.trials.stopping import Urgency, ask_to_stop, stop_after_failure, urgency

TRIAL = """
import sys, time, types
from pathlib import Path
folder, what = Path(sys.argv[1]), sys.argv[2]

class Loud:
    def __del__(self):
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            pass

def imports():
    try:
        time.sleep(0.02)
    except BaseException:
        pass

def run(config, plan, store, folder, progress, display):
    progress("gate", "building")
    (folder / "building").touch()
    if what == "torch":
        import torch
    for _ in range(15):
        Loud()
        imports()
    if what == "deaf":
        sum(range(10**12))  # one native call that keeps Python's lock
    if what == "turns":
        try:
            time.sleep(60)
        except BaseException as error:
            raise SystemError("returned a result with an exception set") from error
    if what == "swallows":
        end = time.monotonic() + 60
        while time.monotonic() < end:
            imports()
    for step in range(1500):
        time.sleep(0.02)
        progress("finetune", "steps", step, 1500)

pipeline = types.ModuleType("pathsynth.studies.execution.pipeline")
pipeline.run = pipeline.build_stages = run
sys.modules["pathsynth.studies.execution.pipeline"] = pipeline
from pathsynth.studies.execution import trial
study = types.SimpleNamespace(lease_seconds=60, stop_seconds=float(sys.argv[3]))
config = types.SimpleNamespace(study=study, multirun=str(folder))
trial.read_manifest = lambda _: types.SimpleNamespace(config=config, plan=types.SimpleNamespace(identity="abc", stages=()))
sys.exit(trial.main([str(folder)]))
"""

SUPERVISOR = """
import sys
from pathlib import Path
from pathsynth.studies.trials.manifest import claim
from pathsynth.studies.execution.supervise import supervise, trial_environment
folder = Path(sys.argv[1])
command = [sys.executable, "-c", sys.argv[4], *sys.argv[1:4]]
try:
    supervise(command, folder, trial_environment(1, 1), claim(folder, 60, wait=False), float(sys.argv[3]))
except KeyboardInterrupt:
    sys.exit(130)
"""


def start(folder: Path, what: str = "steps", stop_seconds: float = 20, watched_seconds: float | None = None) -> subprocess.Popen:
    """A supervisor in a process of its own; ``watched_seconds`` is what its trial itself is told, where that is something else."""
    code = TRIAL if watched_seconds is None else TRIAL.replace("float(sys.argv[3])", str(watched_seconds))
    return subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(folder), what, str(stop_seconds), code], stderr=subprocess.DEVNULL)


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.02)


def stop_at_random_moments(root: Path, tries: int, what: str, longest: float) -> None:
    moments = random.Random(0)
    for number in range(tries):
        folder = root / str(number)
        folder.mkdir()
        process = start(folder, what)
        time.sleep(0.25)  # the supervisor's own start, before which a signal simply ends it
        while not (folder / ".lease").exists():
            time.sleep(0.01)
        time.sleep(0.1 + moments.uniform(0, longest))
        sent = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
        assert time.monotonic() - sent < 6, f"try {number}: the request was lost"
        assert (number, read_state(folder).state) == (number, INTERRUPTED)


@pytest.mark.slow
def test_a_request_at_any_moment_of_a_trials_start_stops_it(tmp_path):
    stop_at_random_moments(tmp_path, 8, "steps", 1.6)


@pytest.mark.slow
def test_a_request_at_any_moment_of_a_trials_start_with_torch_stops_it(tmp_path):
    stop_at_random_moments(tmp_path, 15, "torch", 6)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_and_a_closed_terminal_stop_a_trial(tmp_path, number):
    process = start(tmp_path)
    wait_for(tmp_path / "building")
    process.send_signal(number)
    assert process.wait(30) == 130
    assert read_state(tmp_path).reason == "stopped on request"


@pytest.mark.slow
def test_a_request_that_a_library_turns_into_an_error_is_no_failure(tmp_path):
    process = start(tmp_path, "turns")
    wait_for(tmp_path / "building")
    time.sleep(0.8)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 130
    state = read_state(tmp_path)
    assert (state.state, state.tries) == (INTERRUPTED, 0)


@pytest.mark.slow
def test_a_folder_of_another_trial_that_is_done_is_not_done(tmp_path):
    """Six digits of two identities may be the same."""
    write_state(tmp_path, TrialState("done", "another", pid=1))
    process = start(tmp_path)
    wait_for(tmp_path / "building")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 130


@pytest.mark.slow
@pytest.mark.parametrize(("what", "watched"), [("swallows", None), ("swallows", 100), ("deaf", None)])
def test_a_trial_that_does_not_stop_is_killed_after_its_time(tmp_path, alive, what, watched):
    """By its own watchdog or by its supervisor; one in a native call that holds Python's lock by the supervisor alone."""
    process = start(tmp_path, what, 1.5, watched)
    wait_for(tmp_path / "building")
    time.sleep(0.8)
    pid = read_state(tmp_path).pid
    sent = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 130
    assert 1.4 < time.monotonic() - sent < 5
    state = read_state(tmp_path)
    assert (state.state, state.stage) == (INTERRUPTED, "gate")
    assert not alive(pid)


def test_a_trial_without_its_supervisor_kills_itself_where_it_cannot_stop(tmp_path, alive):
    process = start(tmp_path, "swallows", 1)
    wait_for(tmp_path / "building")
    pid = read_state(tmp_path).pid
    process.kill()
    process.wait()
    end = time.monotonic() + 15
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(pid)
    assert read_state(tmp_path).state == INTERRUPTED


def test_a_second_request_kills_within_a_second(tmp_path, alive):
    process = start(tmp_path, "swallows")
    wait_for(tmp_path / "building")
    pid = read_state(tmp_path).pid
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert time.monotonic() - sent < 1
    assert not alive(pid)


def test_sighup_stays_ignored_under_nohup(tmp_path):
    process = subprocess.Popen(["nohup", sys.executable, "-c", SUPERVISOR, str(tmp_path), "steps", "20", TRIAL], stderr=subprocess.DEVNULL)
    wait_for(tmp_path / "building")
    process.send_signal(signal.SIGHUP)
    os.kill(int(read_state(tmp_path).pid or 0), signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 130


@pytest.fixture
def outcomes(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "outcomes"
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


def test_marks_say_how_urgent_it_is(outcomes):
    assert urgency() is Urgency.NONE
    stop_after_failure()
    assert urgency() is Urgency.STOP
    ask_to_stop()
    assert urgency() is Urgency.STOP
    (outcomes / "kill").touch()
    assert urgency() is Urgency.KILL


def test_a_mark_stops_the_own_child_and_raises_nothing(tmp_path, outcomes):
    """What another job's failure, or the operator's Ctrl-C elsewhere, means to a supervisor in a worker."""
    ask_to_stop()
    with claim(tmp_path, 60, wait=False) as lease:
        state = supervise([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, trial_environment(1, 1), lease)
    assert state.state == INTERRUPTED


def test_a_signal_to_a_worker_stops_its_job_only(outcomes, monkeypatch):
    from omegaconf import OmegaConf

    from pathsynth.studies.execution import job

    def killed(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "_run_trial", killed)
    monkeypatch.setattr(stopping, "_command", None)
    assert job.run_trial(OmegaConf.create()) != 0
    assert urgency() is Urgency.NONE
    monkeypatch.setattr(stopping, "_command", os.getpid())
    with pytest.raises(KeyboardInterrupt):
        job.run_trial(OmegaConf.create())
    assert urgency() is Urgency.STOP
