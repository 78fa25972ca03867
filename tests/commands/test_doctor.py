"""What `pathsynth doctor` says of this machine, and of what the newest trial needs."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pathsynth.commands import doctor

CLOSED = "http://127.0.0.1:9"


@pytest.fixture
def examined(tmp_path, monkeypatch, capsys):
    """The findings by part and the exit status, with a folder of studies in ``tmp_path`` and no network."""
    for name in ("HF_ENDPOINT", "WANDB_BASE_URL"):
        monkeypatch.setenv(name, CLOSED)
    for name in ("HF_HUB_OFFLINE", "WANDB_MODE", "WANDB_API_KEY", "PATHSYNTH_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))

    def examine(**variables: str):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        code = doctor.examine_machine(tmp_path / "multirun", as_json=True)
        return code, {finding["part"]: finding for finding in json.loads(capsys.readouterr().out)}

    return examine


def newest_trial(tmp_path, config) -> None:
    folder = tmp_path / "multirun" / "runs" / "one-abc123"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"config": config}))


def test_a_machine_without_network_or_data_can_do_the_main_job(examined):
    code, found = examined()
    assert code == 0
    assert found["torch"]["state"] == found["leases"]["state"] == "ok"
    assert [found[part]["state"] for part in ("hub", "W&B", "W&B login", "data")] == ["note"] * 4
    assert "does not answer" in found["hub"]["value"]


def test_an_address_that_answers_is_distinct_from_one_that_does_not(examined):
    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _, found = examined(HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    assert found["hub"]["value"].endswith(" answers")
    assert found["W&B"]["state"] == "note"


def test_offline_modes_ask_no_address(examined, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("an address was asked")

    monkeypatch.setattr("pathsynth.commands.doctor.answers", refuse)
    _, found = examined(HF_HUB_OFFLINE="1", WANDB_MODE="offline")
    assert (found["hub"]["state"], found["W&B"]["value"]) == ("note", "WANDB_MODE is offline")


def test_a_key_for_wandb_is_found_and_not_shown(examined, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password 0123456789secret\n")
    _, found = examined()
    assert found["W&B login"]["value"] == "a key in netrc"
    _, found = examined(WANDB_API_KEY="0123456789secret")
    assert "secret" not in json.dumps(found)


def test_what_the_newest_trial_needs_and_is_not_there_is_missing(examined, tmp_path):
    newest_trial(tmp_path, {"data": {"root": str(tmp_path / "gone")}, "base": {"path": str(tmp_path)}})
    code, found = examined()
    assert code == 1
    assert found["newest trial"]["value"] == f"data.root={tmp_path / 'gone'} is not there"
    (tmp_path / "gone").mkdir()
    code, found = examined()
    assert (code, found["newest trial"]["state"]) == (0, "ok")


def test_the_extra_and_the_base_of_the_newest_trial_are_needed_too(examined, tmp_path, monkeypatch):
    newest_trial(tmp_path, {"base": {"hub": "some/base", "revision": "0" * 40}})
    code, found = examined(HF_HUB_CACHE=str(tmp_path / "hub"))
    assert (code, found["newest trial"]["value"]) == (1, "base some/base is neither in the hub's cache nor reachable")
    folder = tmp_path / "multirun" / "runs" / "one-abc123"
    (folder / "manifest.json").write_text(json.dumps({"config": {}}))
    (folder / ".hydra").mkdir()
    launcher = "hydra_plugins.pathsynth.ray_launcher.RayLauncher"
    (folder / ".hydra" / "hydra.yaml").write_text(f"hydra: {{launcher: {{_target_: {launcher}}}}}")
    real = doctor.installed_version
    monkeypatch.setattr(doctor, "installed_version", lambda name: None if name == "ray" else real(name))
    code, found = examined()
    assert (code, found["newest trial"]["value"]) == (1, f"{launcher} needs the extra ray")
    assert found["newest trial"]["remedy"] == "pip install 'pathsynth[ray]'"


def test_a_data_folder_that_is_not_there_is_missing(examined, tmp_path):
    code, found = examined(PATHSYNTH_DATA=str(tmp_path / "none"))
    assert (code, found["data"]["state"]) == (1, "missing")
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "pathmnist.npz").write_bytes(b"")
    code, found = examined(PATHSYNTH_DATA=str(tmp_path / "some"))
    assert (code, found["data"]["value"]) == (0, "pathmnist.npz")


def test_another_version_than_the_tested_one_is_missing(examined, monkeypatch):
    versions = {"torch": "0.1", "wandb-workspaces": None}
    real = doctor.installed_version
    monkeypatch.setattr(doctor, "installed_version", lambda name: versions[name] if name in versions else real(name))
    code, found = examined()
    assert (code, found["torch"]["state"]) == (1, "missing")
    assert found["extra workspace"]["state"] == "note"
    assert "pathsynth[workspace]" in found["extra workspace"]["remedy"]


def test_the_table_names_every_part_but_the_libraries_that_are_right(tmp_path, monkeypatch, capsys):
    for name in ("HF_ENDPOINT", "WANDB_BASE_URL"):
        monkeypatch.setenv(name, CLOSED)
    doctor.examine_machine(tmp_path, as_json=False)
    shown = capsys.readouterr().out
    assert "as they were tested" in shown and "processor" in shown and "torchmetrics" not in shown


def test_mlflows_servers_are_asked_and_no_password_is_shown(examined, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    newest_trial(tmp_path, {"tracking": {"uri": CLOSED}})
    _, found = examined()
    assert (found["MLflow"]["value"], found["MLflow"]["state"]) == (f"{CLOSED} does not answer", "note")
    assert "pathsynth send" in found["MLflow"]["remedy"]
    _, found = examined(MLFLOW_TRACKING_URI="http://me:s3cr3t@127.0.0.1:9")
    assert found["MLflow"]["value"] == f"{CLOSED} does not answer"
