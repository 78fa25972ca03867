from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pathsynth.ledger.versions import cores
from pathsynth.studies.execution.supervise import supervise, trial_environment
from pathsynth.studies.planning.workers import ranks_here
from pathsynth.studies.trials.manifest import claim
from pathsynth.studies.trials.state import DONE, FAILED, INTERRUPTED, TrialState, last_lines, read_state, write_state

CHILD = """
import json, os, signal, sys, time
from pathlib import Path
from pathsynth.studies.trials.manifest import claim
from pathsynth.ledger.lease import adopt
from pathsynth.studies.trials.state import TrialState, lease_folder, write_state
folder, what = Path(sys.argv[1]), sys.argv[2]
adopt(lease_folder(folder), int(os.environ["PATHSYNTH_LEASE"]), 60)
state = TrialState("running", "abc", stage="finetune", pid=os.getpid(), started="then")
def stop(*_):
    if what == "stubborn":
        return
    write_state(folder, TrialState("interrupted", "abc", "finetune", reason="stopped on request", pid=os.getpid()))
    sys.exit(130)
signal.signal(signal.SIGTERM, stop)
write_state(folder, state)
(folder / "log.txt").write_text("first\\n\\nlast words\\n")
(folder / "session").write_text(f"{os.getsid(0)} {os.getpid()} {os.environ['OMP_NUM_THREADS']} {sys.stdin.read()!r}")
if what == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "silent":
    sys.exit(3)
if what == "done":
    write_state(folder, TrialState("done", "abc", pid=os.getpid()))
if what == "named":
    write_state(folder, TrialState("failed", "abc", "gate", reason="the disk is full", pid=os.getpid()))
    sys.exit(1)
if what in ("slow", "stubborn"):
    (folder / "ready").touch()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.05)
"""

SUPERVISOR = """
import json, sys
from pathlib import Path
from pathsynth.studies.trials.manifest import claim
from pathsynth.studies.execution.supervise import supervise, trial_environment
try:
    folder = Path(sys.argv[2])
    supervise(json.loads(sys.argv[1]), folder, trial_environment(None, 1), claim(folder, 60, wait=False))
except KeyboardInterrupt:
    sys.exit(130)
"""


def child(folder: Path, what: str) -> list[str]:
    return [sys.executable, "-c", CHILD, str(folder), what]


@pytest.fixture
def lease(tmp_path):
    with claim(tmp_path, 60, wait=False) as lease:
        yield lease


def started_supervisor(folder: Path, what: str) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, json.dumps(child(folder, what)), str(folder)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (folder / "ready").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    return process


def test_a_trial_that_ends_well_has_the_state_it_wrote(tmp_path, lease):
    assert supervise(child(tmp_path, "done"), tmp_path, trial_environment(3, 1), lease).state == DONE
    session, pid, threads, read = (tmp_path / "session").read_text().split(maxsplit=3)
    assert session == pid != str(os.getsid(0))
    assert threads == "3"
    assert read == "''"


def test_every_library_has_as_many_threads_as_the_environment_says(monkeypatch):
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    for name in names[1:]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert {trial_environment(None, 1)[name] for name in names} == {"1"}
    assert {trial_environment(3, 1)[name] for name in names} == {"3"}


def test_a_killed_trial_failed_and_says_by_what(tmp_path, lease, capfd):
    state = supervise(child(tmp_path, "killed"), tmp_path, trial_environment(1, 1), lease)
    assert state.state == FAILED
    assert state.reason == "killed by signal 9 (out of memory?) in stage finetune"
    assert read_state(tmp_path) == state
    assert state.ended
    told = capfd.readouterr().err
    assert "killed by signal 9" in told
    assert "last words" in told


def test_a_trial_without_a_last_word_failed(tmp_path, lease):
    state = supervise(child(tmp_path, "silent"), tmp_path, trial_environment(1, 1), lease)
    assert (state.state, "status 3" in state.reason) == (FAILED, True)


def test_a_reason_that_the_trial_gave_is_kept(tmp_path, lease):
    state = supervise(child(tmp_path, "named"), tmp_path, trial_environment(1, 1), lease)
    assert (state.state, state.reason, state.stage) == (FAILED, "the disk is full", "gate")


def test_a_command_that_cannot_start_at_all_is_not_taken_for_done(tmp_path, lease):
    write_state(tmp_path, TrialState("waiting", "abc"))
    state = supervise([sys.executable, "-c", "pass"], tmp_path, trial_environment(1, 1), lease)
    assert state.state == FAILED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_the_trial(tmp_path, number, alive):
    process = started_supervisor(tmp_path, "slow")
    process.send_signal(number)
    assert process.wait(30) == 130
    state = read_state(tmp_path)
    assert (state.state, state.reason) == (INTERRUPTED, "stopped on request")
    assert not alive(int((tmp_path / "session").read_text().split()[1]))


def test_the_second_signal_kills_the_trial(tmp_path, alive):
    process = started_supervisor(tmp_path, "stubborn")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert read_state(tmp_path).state == INTERRUPTED
    assert not alive(int((tmp_path / "session").read_text().split()[1]))


def test_threads_come_from_the_request_then_the_environment_then_the_cores(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert trial_environment(2, 1)["OMP_NUM_THREADS"] == "2"
    assert trial_environment(None, 1)["OMP_NUM_THREADS"] == "7"
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert trial_environment(None, 1)["MKL_NUM_THREADS"] == str(cores())
    assert trial_environment(None, 10 * cores())["MKL_NUM_THREADS"] == "1"


def test_a_running_state_whose_process_is_gone_reads_as_interrupted(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    write_state(tmp_path, TrialState("running", "abc", stage="gate", pid=gone.pid))
    assert read_state(tmp_path).state == INTERRUPTED
    with claim(tmp_path, 60, wait=False):
        assert read_state(tmp_path).state == "running"
    assert read_state(tmp_path).state == INTERRUPTED


def test_a_damaged_state_file_is_a_failure_with_a_remedy(tmp_path):
    (tmp_path / "state.json").write_text("{")
    state = read_state(tmp_path)
    assert state.state == FAILED
    assert "run the trial again" in state.reason


def test_a_supervisor_whose_trial_was_taken_over_writes_nothing(tmp_path, lease):
    other = TrialState("running", "abc", stage="generate", pid=1)
    takeover = """
import os, sys
from pathlib import Path
from pathsynth.ledger.lease import Lease, acquire, newest
from pathsynth.studies.trials.state import TrialState, lease_folder, write_state
folder = Path(sys.argv[1])
(lease_folder(folder) / "00000002.held").write_text((lease_folder(folder) / "00000001.held").read_text())
write_state(folder, TrialState("running", "abc", stage="generate", pid=1))
os.kill(os.getpid(), 9)
"""
    state = supervise([sys.executable, "-c", takeover, str(tmp_path)], tmp_path, trial_environment(1, 1), lease)
    assert state == other == read_state(tmp_path)


def test_last_lines_skip_empty_ones(tmp_path):
    assert last_lines(tmp_path) == []
    (tmp_path / "log.txt").write_text("a\n\nb\n \nc\n")
    assert last_lines(tmp_path, 2) == ["b", "c"]


def test_a_trial_is_reported_nothing_of_the_ranks_that_its_command_is_one_of(monkeypatch):
    for name, value in {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "a"}.items():
        monkeypatch.setenv(name, value)
    assert ranks_here() == 4
    assert not {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR"} & trial_environment(1, 1).keys()
