"""`pathsynth workspace`: the view that is sent to W&B, here to a server of our own, and what is refused before anything is sent."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pathsynth.__main__ import dispatch

KEY = "0123456789abcdef" * 2 + "01234567"
ANSWERS = {
    "UpsertView": {"upsertView": {"view": {"id": "VmlldzoxMg==", "name": "nw-tissue-v"}, "inserted": True}},
    "viewer": {"viewer": {"id": "u", "username": "me", "entity": "team", "admin": False, "flags": "{}", "teams": {"edges": []}}},
}


@pytest.fixture
def server(monkeypatch) -> Iterator[list[dict]]:
    """A W&B server that answers what a saved view asks; the list holds every request."""
    asked: list[dict] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body)
            data = next((answer for name, answer in ANSWERS.items() if name in body["query"]), {})
            sent = json.dumps({"data": data}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_) -> None:
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    monkeypatch.setattr(served, "handle_error", lambda *_: None)  # a client that hangs up is no fault of the command
    threading.Thread(target=served.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{served.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    yield asked
    served.shutdown()


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study with one trial that was tracked online."""
    trial = tmp_path / "multirun" / "ranks" / "rank=4-abcdef"
    trial.mkdir(parents=True)
    (trial / "manifest.json").write_text(json.dumps({"name": "rank=4", "config": {"study": {"name": "ranks"}}}))
    (trial / "state.json").write_text(json.dumps({"state": "done"}))
    (trial / "tracked_at.txt").write_text("https://wandb.ai/team/tissue/runs/0123456789ab\n")
    return trial.parent


@pytest.mark.slow
def test_a_view_of_the_study_is_saved_where_its_runs_are(server, study, capsys):
    code = dispatch(["workspace", str(study)])
    told = capsys.readouterr()
    assert code == 0, told.err
    assert told.out.splitlines()[-1].startswith("view: http://127.0.0.1") and "/team/tissue?nw=" in told.out
    (sent,) = [body["variables"] for body in server if "UpsertView" in body["query"]]
    assert (sent["entityName"], sent["projectName"], sent["displayName"]) == ("team", "tissue", "pathsynth: ranks")
    view = json.loads(sent["spec"])["section"]
    panels = [panel["config"] for section in view["panelBankConfig"]["sections"] for panel in section["panels"]]
    shown = {metric for panel in panels for metric in panel["metrics"]}
    assert {"generated/before_filtering/judge/macro_f1", "validation/macro_f1", "finetune/loss"} <= shown
    filters = json.dumps(view["runSets"][0]["filters"])
    assert '"value": "ranks"' in filters and '"name": "group"' in filters and '"value": "evaluate"' in filters
    assert KEY not in json.dumps(server) + told.out + told.err


@pytest.mark.parametrize(
    "change, told",
    [
        ("offline trials", "was tracked online; run it with a W&B key and without WANDB_MODE=offline"),
        ("offline now", "WANDB_MODE=offline keeps W&B offline"),
        ("no extra", "a view needs wandb-workspaces; install it: pip install 'pathsynth[workspace]'"),
        ("no server", "W&B did not save a view in team/tissue"),
    ],
)
def test_what_stands_in_the_way_is_reported_in_one_line(server, study, monkeypatch, capsys, change, told):
    if change == "offline trials":
        (study / "rank=4-abcdef" / "tracked_at.txt").unlink()
    elif change == "offline now":
        monkeypatch.setenv("WANDB_MODE", "offline")
    elif change == "no extra":
        monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    else:
        monkeypatch.setitem(ANSWERS, "UpsertView", {})
    assert dispatch(["workspace", str(study)]) == 2
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1 and KEY not in err
