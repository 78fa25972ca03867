"""`pathsynth rerun` from the command line, with a pipeline that takes no time."""

from __future__ import annotations

import io
import json
import signal
import socket
from pathlib import Path

import pytest

from pathsynth.__main__ import dispatch
from pathsynth.studies.trials.state import DONE, TrialState, login_name


@pytest.fixture
def done(pathsynth) -> Path:
    """A finished trial's folder, below the folder that the commands are started in."""
    assert pathsynth.run("lora.rank=2").code == 0
    return pathsynth.trial("rank=2-").relative_to(pathsynth.folder)


def reruns(pathsynth, folder: Path) -> list[Path]:
    return sorted((pathsynth.folder / folder).glob("rerun-*"))


@pytest.mark.slow
def test_a_trial_is_repeated_whole_and_compared(pathsynth, done):
    kept = {path: path.read_bytes() for path in (pathsynth.folder / done).iterdir() if path.is_file()}
    ended = pathsynth("rerun", str(done))
    assert ended.code == 0, ended.err
    assert "metrics" in ended.out
    assert "1 numbers" in ended.out
    assert "the same: " in ended.out
    (again,) = reruns(pathsynth, done)
    made = (again / "made.txt").read_text().split()[::3]
    assert made == ["cache", "gate", "judge", "finetune", "generate", "reference", "evaluate"]
    assert len(pathsynth.made) == 7
    assert {path: path.read_bytes() for path in kept} == kept
    places = (again / "runs" / done.name, pathsynth.folder / done)
    manifest, first = (json.loads((folder / "manifest.json").read_text()) for folder in places)
    assert manifest["identity"] == first["identity"]
    assert manifest["config"]["multirun"] == str(again)
    assert pathsynth("status").out.count("rank=2") == 1


@pytest.mark.slow
def test_a_result_that_differs_is_reported_and_ends_with_1(pathsynth, done):
    path = pathsynth.folder / done / "result.json"
    record = json.loads(path.read_text())
    record["metrics"][0]["value"] = 0.021
    path.write_text(json.dumps(record))
    manifest = pathsynth.folder / done / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "versions": {"torch": "0.1"}}))
    ended = pathsynth("rerun", str(done), "--into", "again")
    assert ended.code == 1
    assert "0.021 [0.0, 1.0] (n = 90) → 0.02 [0.0, 1.0] (n = 90)" in ended.out
    assert "another version: torch 0.1 → " in ended.out
    assert "not the same: " in ended.out
    assert (pathsynth.folder / "again" / "runs" / done.name / "result.json").is_file()


@pytest.mark.slow
def test_the_new_trial_has_as_many_threads(pathsynth, done):
    state = pathsynth.folder / done / "state.json"
    told = json.loads(state.read_text())
    assert told["threads"] >= 1 and (told["author"], told["host"]) == (login_name(), socket.gethostname())
    state.write_text(json.dumps({**json.loads(state.read_text()), "threads": 7}))
    assert pathsynth("rerun", str(done), "--into", "again").code == 0
    assert (pathsynth.folder / "again" / "made.txt").read_text().split()[2] == "7"


@pytest.mark.slow
def test_what_cannot_be_repeated_is_refused_and_writes_nothing(pathsynth, done):
    (pathsynth.folder / "full").mkdir()
    (pathsynth.folder / "full" / "file").touch()
    before = pathsynth.files()
    wrong = {
        ("nowhere",): "nowhere is no trial's folder",
        ("multirun",): "multirun is no trial's folder",
        (str(done), "--into", "full"): "full is not empty",
        (str(done), "--into", "full/file"): "full/file cannot be made",
    }
    for arguments, told in wrong.items():
        ended = pathsynth("rerun", *arguments)
        assert (ended.code, len(ended.err.splitlines())) == (2, 1), ended.err
        assert told in ended.err
    (pathsynth.base / "w.safetensors").write_bytes(b"other weights")
    ended = pathsynth("rerun", str(done))
    assert ended.code == 2
    assert "used other files (base " in ended.err
    (pathsynth.folder / done / "manifest.json").write_text("{")
    assert "cannot be read" in pathsynth("rerun", str(done)).err
    assert pathsynth.files() == before
    assert reruns(pathsynth, done) == []


@pytest.mark.slow
def test_a_trial_that_is_not_done_is_refused(pathsynth):
    pathsynth.told = {"2": {"gate": "fail"}}
    assert pathsynth.run("lora.rank=2").code == 1
    ended = pathsynth("rerun", str(pathsynth.trial("rank=2-")))
    assert ended.code == 2
    assert "is failed; finish it first" in ended.err


@pytest.mark.slow
def test_a_rerun_that_fails_or_is_stopped(pathsynth, done):
    pathsynth.told = {"2": {"judge": "fail"}}
    ended = pathsynth("rerun", str(done))
    assert ended.code == 1
    assert "the loss became nan" in ended.err
    assert "the rerun is failed: " in ended.out
    pathsynth.told = {"2": {"judge": "wait"}}
    process = pathsynth.start("rerun", str(done), "--into", "again")
    log = pathsynth.folder / "again" / "made.txt"
    pathsynth.wait_for("judge 2", log)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    state = json.loads((pathsynth.folder / "again" / "runs" / done.name / "state.json").read_text())
    assert state["state"] == "interrupted"


@pytest.mark.slow
def test_code_that_a_manifest_names_runs_only_after_a_yes(pathsynth, done):
    manifest = pathsynth.folder / done / "manifest.json"
    record = json.loads(manifest.read_text())
    record["config"]["callbacks"]["evil"] = {"_target_": "os.system", "command": "rm -rf /"}
    record["config"]["optimizer"]["inner"] = [{"_target_": "builtins.exec"}]
    manifest.write_text(json.dumps(record))
    before = pathsynth.files()
    ended = pathsynth("rerun", str(done), "--into", "again")
    assert (ended.code, ended.err) == (
        2,
        "pathsynth: the manifest runs code of builtins.exec, os.system; look at it, then allow it with --yes\n",
    )
    assert pathsynth.files() == before
    assert pathsynth("rerun", str(done), "--into", "again", "--yes").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("answer, code", [("n\n", 2), ("y\n", 0)])
def test_on_a_terminal_the_yes_is_asked_for(done, pathsynth, monkeypatch, capsys, answer, code):
    manifest = pathsynth.folder / done / "manifest.json"
    record = json.loads(manifest.read_text())
    record["config"]["callbacks"]["mine"] = {"_target_": "ours.Callback"}
    manifest.write_text(json.dumps(record))
    ran = []
    monkeypatch.setattr("pathsynth.commands.rerun.repeat", lambda *_: ran.append(1) or (Path("x"), TrialState(DONE)))
    monkeypatch.setattr("pathsynth.commands.rerun.compare_trials", lambda *_: [])
    monkeypatch.setattr("pathsynth.commands.rerun.differing_versions", lambda *_: [])
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.chdir(pathsynth.folder)
    assert dispatch(["rerun", str(done)]) == code
    assert "the manifest runs code of ours.Callback; run it?" in capsys.readouterr().out
    assert len(ran) == (code == 0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.slow
def test_an_edited_class_of_the_users_own_cannot_be_repeated(pathsynth):
    (pathsynth.folder / "ours.py").write_text("from pytorch_lightning import Callback\n")
    assert pathsynth.run("lora.rank=2", "+callbacks.mine._target_=ours.Callback").code == 0
    (pathsynth.folder / "ours.py").write_text("from pytorch_lightning import Callback as Callback\n")
    ended = pathsynth("rerun", str(pathsynth.trial("rank=2")), "--yes")
    assert ended.code == 2 and "used other files (ours.Callback " in ended.err
