"""`pathsynth status` on made-up trials: what it tells people, programs and terminals."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pathsynth.__main__ import dispatch
from pathsynth.ledger.records import Result, write_result
from pathsynth.studies.trials import trial_table
from pathsynth.studies.trials.manifest import claim
from tests.metric_records import first_attempts_metric


def trial(root: Path, name: str, study: str = "rank", **state) -> Path:
    folder = root / "multirun" / study / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    if state:
        (folder / "state.json").write_text(json.dumps({"identity": "x", **state}))
    return folder


@pytest.fixture
def trials(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    times = {"started": "2026-01-01T10:00:00+00:00", "ended": "2026-01-01T10:10:00+00:00"}
    done = trial(tmp_path, "a", state="done", stage="evaluate", **times)
    f1 = first_attempts_metric(value=0.5, low=0.4, high=0.6)
    write_result(done / "result.json", Result("x", {}, {}, (f1,), ()))
    running = trial(tmp_path, "b", state="running", stage="finetune", detail="steps", step=30, steps=90, rate=0.5, pid=os.getpid())
    assert claim(running, 60, wait=False)
    trial(tmp_path, "c", state="failed", stage="gate", reason="killed by signal 9")
    trial(tmp_path, "d")
    trial(tmp_path, "e", state="running", stage="gate", pid=2**22 + 1)
    return tmp_path


def test_the_table_and_the_line_below_it(trials, capsys):
    assert dispatch(["status"]) == dispatch(["status", "multirun/rank"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 14
    assert "finetune: 30 of 90 steps, 0.5/s, 2 min left" in lines[2]
    assert "0.500 [0.400, 0.600] n=90" in lines[1]
    assert lines[6].startswith("1 of 5 done, 1 running, 1 failed, 1 interrupted, 1 waiting; about ")


def test_a_result_is_read_once_until_it_changes(trials, capsys, monkeypatch):
    """Else a thousand results are parsed for every table."""
    path = trials / "multirun" / "rank" / "a" / "result.json"
    os.utime(path, (time.time() - 60,) * 2)
    read, real = [], trial_table.read_metrics
    monkeypatch.setattr(trial_table, "read_metrics", lambda path, *words: read.append(path) or real(path, *words))
    assert [dispatch(["status"]) for _ in range(3)] == [0, 0, 0]
    assert len(read) == 1
    path.write_text(path.read_text().replace("0.5", "0.7"))
    assert dispatch(["status"]) == 0
    assert "0.700 [0.400, 0.600] n=90" in capsys.readouterr().out


def test_several_studies_have_a_line_each(trials, capsys):
    trial(trials, "z", study="other", state="done")
    assert dispatch(["status"]) == 0
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()[-2:]] == ["other: 1 of 1 done", "rank: 1 of 5 done"]


def test_json_has_stable_keys(trials, capsys):
    assert dispatch(["status", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    counts = {"trials": 5, "done": 1, "running": 1, "failed": 1, "interrupted": 1, "waiting": 1}
    assert set(told) == {"trials", "studies", "totals"}
    assert {key: told["totals"][key] for key in counts} == counts
    assert told["studies"]["rank"]["seconds_left"] == pytest.approx(told["totals"]["seconds_left"], abs=5)
    first, second = told["trials"][:2]
    assert set(first) == {
        *("study", "name", "folder", "state", "stage", "detail", "reason", "step", "steps", "rate"),
        *("seconds", "stage_seconds_left", "started", "ended", "macro_f1"),
    }
    assert (first["seconds"], first["macro_f1"]["value"], first["step"]) == (600.0, 0.5, None)
    assert first["folder"] == str(trials / "multirun" / "rank" / "a")
    assert (second["step"], second["steps"], second["rate"], second["stage_seconds_left"]) == (30, 90, 0.5, 120.0)


def test_trials_are_shown_by_the_score_that_ranks_their_study(trials, capsys):
    """The judge's, where all that have a score have his; the verdict is by the same."""
    for name, judge in (("a", 0.7), ("d", 0.3)):
        scores = [
            first_attempts_metric(value=value, scorer=scorer)
            for scorer, value in (("gate", 1 - judge), ("judge", judge))
        ]
        folder = trials / "multirun" / "rank" / name
        write_result(folder / "result.json", Result(name, {}, {}, tuple(scores), ()))
        config = {"lora": {"rank": 4 if name == "a" else 1}, "seed": 0}
        (folder / "manifest.json").write_text(json.dumps({"name": name, "config": config}))
    assert dispatch(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "macro-F1 before filtering, judge" in lines[0] and "0.700 n=90" in lines[1]
    verdict = "lora.rank=4 leads by 0.400 · whether that is noise cannot be known from 1 seed and 2 configurations"
    assert verdict in lines
    assert dispatch(["status", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["studies"]["rank"]["verdict"] == verdict
    assert told["trials"][0]["macro_f1"]["scorer"] == "judge"


def test_status_loads_no_torch_and_few_libraries(trials):
    """Not even for a verdict."""
    score = first_attempts_metric(value=0.6)
    write_result(trials / "multirun" / "rank" / "d" / "result.json", Result("y", {}, {}, (score,), ()))
    heavy = "{'torch', 'pandas', 'scipy.stats', 'fastjsonschema'}"
    code = f"import sys; from pathsynth.__main__ import dispatch; dispatch(['status']); print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=trials)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_folder_without_trials(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "multirun").mkdir()
    assert dispatch(["status"]) == dispatch(["status", "--json"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("no trials in multirun\n")
    assert json.loads(out.removeprefix("no trials in multirun\n"))["totals"]["seconds_left"] == 0


def test_watching_needs_a_terminal(trials, capsys):
    assert dispatch(["status", "--watch"]) == 2
    assert "--watch needs a terminal" in capsys.readouterr().err


def test_watching_shows_what_changes_until_ctrl_c(trials):
    terminal, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "150", "LINES": "40"}
    command = [sys.executable, "-m", "pathsynth", "status", "--watch"]
    process = subprocess.Popen(command, cwd=trials, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    read_until(terminal, b"1 of 5 done")
    (trials / "multirun" / "rank" / "d" / "state.json").write_text(json.dumps({"state": "done"}))
    read_until(terminal, b"2 of 5 done")
    process.send_signal(signal.SIGINT)
    read_to_the_end(terminal)
    assert process.wait(timeout=20) == 0


def read_until(terminal: int, wanted: bytes) -> None:
    seen, deadline = b"", time.monotonic() + 30
    while wanted not in seen:
        assert time.monotonic() < deadline, seen
        seen += os.read(terminal, 4096)


def read_to_the_end(terminal: int) -> None:
    """What the program still writes; a terminal that nobody reads is full after a few screens, and would hold it up."""
    with contextlib.suppress(OSError):  # how a terminal says that its program is gone
        while os.read(terminal, 4096):
            pass


def test_trials_of_one_name_tell_what_is_between_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for hashed, steps in (("aaaaaa", 240), ("bbbbbb", 300)):
        folder = trial(tmp_path, f"rank=1-{hashed}", state="done")
        stage = {"name": "finetune", "settings": {"max_steps": steps}, "parents": {}}
        (folder / "manifest.json").write_text(json.dumps({"written": str(steps), "plan": {"stages": [stage]}}))
    assert dispatch(["status"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "rank=1-bbbbbb differs from rank=1-aaaaaa: finetune.max_steps 240 → 300"
