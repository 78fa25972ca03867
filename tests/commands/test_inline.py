"""``study.isolation=inline``: a trial in the command's own process, for a debugger; it ends as any other does."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from pathsynth.__main__ import dispatch

INLINE = "study.isolation=inline"


def test_a_trial_in_the_commands_process_is_done_as_any_other(pathsynth):
    ended = pathsynth.run("-m", "lora.rank=2,4", INLINE, "training.threads=1")
    assert ended.code == 0, ended.err
    states = [pathsynth.state(f"rank={rank}") for rank in (2, 4)]
    assert [state["state"] for state in states] == ["done", "done"]
    assert states[0]["pid"] == states[1]["pid"], "one process carried out both"
    assert all("done" in (pathsynth.trial(f"rank={rank}") / "log.txt").read_text() for rank in (2, 4))
    assert "finetune" in (pathsynth.trial("rank=4") / "log.txt").read_text() and {line.split()[-1] for line in pathsynth.made} == {"1"}
    again = pathsynth.run("lora.rank=2")
    assert again.code == 0 and "done already" in again.out, "it is the same trial in a process of its own"


@pytest.mark.slow
def test_a_failure_has_a_reason_and_the_next_trial_is_carried_out(pathsynth):
    pathsynth.told = {"2": {"finetune": "fail"}, "4": {"finetune": "bug"}}
    ended = pathsynth.run("-m", "lora.rank=2,4,8", INLINE)
    assert ended.code == 1
    assert [pathsynth.state(f"rank={rank}")["state"] for rank in (2, 4, 8)] == ["failed", "failed", "done"]
    assert pathsynth.state("rank=2")["reason"] == "the loss became nan at step 3; lower optimizer.lr"
    assert pathsynth.state("rank=4")["reason"] == "ValueError: two lines"
    assert "failed: the loss became nan at step 3" in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_good_order_and_it_goes_on(pathsynth, number):
    pathsynth.told = {"2": {"finetune": "wait"}}
    process = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", "lora.rank=2", INLINE)
    pathsynth.wait_for("finetune 2")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    state = pathsynth.state("rank=2")
    assert (process.returncode, state["state"], state["reason"], state["tries"]) == (130, "interrupted", "stopped on request", 0), err
    assert "Traceback" not in err
    pathsynth.told = {}
    assert pathsynth.run("lora.rank=2", INLINE).code == 0


@pytest.mark.slow
def test_a_breakpoint_has_the_terminal(pathsynth):
    pathsynth.told = {"2": {"finetune": "break"}}
    ours, theirs = os.openpty()
    words = ["run", f"base.path={pathsynth.base}", "tracking=none", "lora.rank=2", INLINE]
    process = pathsynth.start(*words, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = _until(ours, "(Pdb)")
    for line in ("p answer", "answer += 1", "c"):
        os.write(ours, f"{line}\n".encode())
        shown += _until(ours, "finetune" if line == "c" else "(Pdb)")
    while process.poll() is None:
        _read(ours)
    assert process.returncode == 0, shown
    (answer,) = (pathsynth.folder / "multirun" / ".stages" / "finetune").glob("*/answer")
    assert "41" in shown and answer.read_text() == "42"
    assert pathsynth.state("rank=2")["state"] == "done"


def _until(terminal: int, text: str) -> str:
    """What is shown up to some text, or to the end."""
    shown, deadline = "", time.monotonic() + 60
    while text not in shown:
        assert time.monotonic() < deadline, shown
        read = _read(terminal)
        if read is None:
            break
        shown += read
    return shown


def _read(terminal: int) -> str | None:
    """What the terminal shows by now; None where it is gone."""
    try:
        return os.read(terminal, 65536).decode(errors="replace") or None
    except OSError:
        return None


@pytest.mark.parametrize(
    "words, told",
    [
        (["trainer.devices=2"], "and trainer.devices=2 needs one for each; set trainer.devices=1"),
        (["-m", "seed=1,2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], " the launcher starts several; set hydra/launcher=basic"),
    ],
)
def test_what_needs_several_processes_is_refused(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    assert dispatch(["run", INLINE, *words]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    line = err
    assert told in line
    assert list(tmp_path.iterdir()) == []


def test_the_key_that_people_may_look_for_is_answered_with_its_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    assert dispatch(["run", "trial.isolation=inline"]) == 2
    assert "no key 'trial.isolation' in run; it is study.isolation" in capsys.readouterr().err
