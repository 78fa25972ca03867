"""`pathsynth ui` as a person starts it: what is refused, what it serves, and how it ends."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pathsynth.__main__ import dispatch
from pathsynth.commands import ui
from pathsynth.studies.trials.outcomes import Outcome
from pathsynth.ui import server


@pytest.fixture
def study(tmp_path: Path) -> Path:
    trial = tmp_path / "multirun" / "sweep" / "rank=4-aaaaaa"
    trial.mkdir(parents=True)
    (trial / "manifest.json").write_text("{}")
    (trial / "state.json").write_text(json.dumps({"state": "failed", "stage": "gate", "reason": "<b>killed</b> by signal 9"}))
    return trial.parent


@contextlib.contextmanager
def started(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command's process, and the address that it printed; the process is killed at the end."""
    command = [sys.executable, "-m", "pathsynth", "ui", "--port", "0", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout
            said = ""
            for line in process.stdout:
                said += line
                if found := re.search(r"http://\S+", line):
                    yield process, found[0]
                    break
            else:
                pytest.fail(said)
        finally:
            process.kill()


def fetch(address: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


@pytest.mark.slow
def test_a_study_is_served_from_this_machine_alone_and_ctrl_c_ends_it(study: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    """A collector of telemetry that the environment names hears nothing."""
    with server.listen("127.0.0.1", 0) as collector:
        collector.setblocking(False)
        monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.getsockname()[1]}")
        serve_and_stop(study, capsys)
        with pytest.raises(BlockingIOError):
            collector.accept()
    assert not (Path.cwd() / ".nicegui").exists()


def serve_and_stop(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with started(str(study)) as (process, address):
        status, page = fetch(address)
        assert status == 200 and "Synthetic, not for diagnosis" in page and "rank=4-aaaaaa" in page and "failed" in page
        assert "<b>killed" not in page
        own = re.sub(r"http://www\.w3\.org/\S+|xmlns='[^']*'", "", page)
        assert re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]+", own.replace(address, "/")) == [], "no other host is named"
        assert fetch(address, Host="evil.example")[0] == 403
        assert fetch(address + "_nicegui_ws/socket.io/?EIO=4&transport=polling", Origin="http://evil.example")[0] == 403
        for place in ("docs", "openapi.json", "report/other/report.html", "report/sweep/..%2f..%2f..%2fetc%2fpasswd", "sheet/sweep/none"):
            assert fetch(address + place)[0] == 404
        assert fetch(address + "report/sweep/rank=4-aaaaaa/state.json")[0] == 404, "pages and pictures alone"
        port = address.rpartition(":")[2].strip("/")
        assert dispatch(["ui", str(study), "--port", port]) == 2
        assert capsys.readouterr().err == f"pathsynth: port {port} is in use; choose another with --port, or any free one with --port 0\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


@pytest.mark.slow
def test_beyond_this_machine_the_address_holds_a_token(study: Path):
    with started(str(study), "--host", "0.0.0.0") as (process, address):
        bare, _, token = address.partition("?token=")
        assert len(token) >= 32
        local = re.sub(r"//[^:/]+", "//127.0.0.1", bare)
        assert fetch(local)[0] == fetch(f"{local}?token=wrong")[0] == 403
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        assert "Synthetic" in opener.open(f"{local}?token={token}", timeout=30).read().decode()
        assert "Synthetic" in opener.open(local, timeout=30).read().decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    "words, line",
    [
        (["nowhere"], "no folder nowhere"),
        (["a", "b"], "a and b: name one bundle or one study"),
        (["data=phantom"], "data=phantom is no setting of the page"),
        (["prompt=mucus"], "prompt=mucus is no setting of the page"),
        (["sampling.early_rejection.after_step=3"], "sampling.early_rejection.after_step is for a generation on the command line"),
        (["sampling.stepz=3"], "sampling.stepz"),
        (["--port", "70000"], "--port 70000 is no port"),
        (["--host", "x" * 70], "x is no address of this machine; leave it out"),
        (["--host", "203.0.113.1"], "203.0.113.1:0 cannot be listened on"),
    ],
)
def test_wrong_requests_are_refused_in_a_line(words: list[str], line: str, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert dispatch(["ui", "--port", "0", *words]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said


def test_without_the_extra_a_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: None)
    assert dispatch(["ui"]) == 2
    assert capsys.readouterr().err == "pathsynth: the live page needs NiceGUI; install pathsynth[ui]\n"


def test_settings_of_drawing_do_not_go_with_a_study(study: Path, capsys):
    assert dispatch(["ui", str(study), "base=tiny", "--port", "0"]) == 2
    assert "a study is only watched" in capsys.readouterr().err


def test_what_visitors_choose_begins_as_it_was_given_and_is_in_no_command_twice():
    config, words = ui.bundle_config(None, ["sampling.attempts=7", "sampling.steps=5"])
    assert config.sampling and (config.sampling.attempts, config.sampling.steps) == (7, 5)
    assert words == (ui.BATCH, "sampling.steps=5")


def test_an_address_is_reported_that_a_browser_can_open():
    with server.listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        assert server.address_of(listening, server.access_for("127.0.0.1")) == f"http://127.0.0.1:{port}/"
    with server.listen("0.0.0.0", 0) as listening:
        told = server.address_of(listening, server.access_for("0.0.0.0"))
        assert told.startswith(f"http://{socket.gethostname()}:") and "?token=" in told


def test_stopping_marks_the_commands_that_carry_out_a_trial_now(study: Path):
    from dataclasses import asdict

    from pathsynth.studies.trials.manifest import claim
    from pathsynth.studies.trials.stopping import JOBS, ask_commands_to_stop

    def command(name: str, trial: str, own: bool = True) -> Path:
        folder = study / JOBS / name
        (folder / "outcomes").mkdir(parents=True)
        record = {**asdict(Outcome(trial, None, "", own=own)), "folder": str(study / trial)}
        (folder / "outcomes" / "0.json").write_text(json.dumps(record))
        return folder

    running = study / "rank=8-bbbbbb"
    running.mkdir()
    (running / "state.json").write_text(json.dumps({"state": "running", "stage": "finetune"}))
    assert claim(running, 60, wait=False)
    carries, ended, waits = command("a", running.name), command("b", "rank=4-aaaaaa"), command("c", running.name, own=False)
    assert ask_commands_to_stop(study) == 1
    assert [(folder / "stop").exists() for folder in (carries, ended, waits)] == [True, False, False]
