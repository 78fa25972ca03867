"""What waits for MLflow beside a trial, and what becomes of it where no server answers."""

from __future__ import annotations

import math
import socket
import sys
import time
from dataclasses import replace

import pytest
from PIL import Image

from pathsynth.__main__ import dispatch
from pathsynth.config import TrackingConfig
from pathsynth.ledger import interruption
from pathsynth.tracking.loggers import RunMetadata, close, end_stopped, open_loggers
from pathsynth.tracking.mlflow_sender import address_of, masked_address
from pathsynth.tracking.outbox import Artifact, Described, Measured, Outbox, Picture, RunHead, Status, outboxes
from pathsynth.tracking.syncing import send_hint

HEAD = RunHead("0123456789ab", "rank=2-012345", "demo", None, {"job_type": "finetune"})
CARD = RunMetadata("0123456789ab", "rank=2-012345", "demo", "finetune", ("phantom",), {"lora.rank": 2})


def records(outbox: Outbox) -> list:
    return [record for record, _ in outbox.read(0)]


def test_every_kind_of_record_is_read_back(tmp_path):
    outbox = Outbox(tmp_path / "run", HEAD)
    written = [
        Status("RUNNING", 1),
        Described({"lora.rank": "2"}, {"made_from": "gate-01"}),
        Picture("a.png", "validation/first", 10, 2),
        Artifact("b.json", "result.json", table=True),
    ]
    for record in written:
        outbox.write(record)
    outbox.measure({"loss": 0.5, "grad": math.inf}, 3)
    *others, measured = records(Outbox(tmp_path / "run"))
    assert others == written
    assert isinstance(measured, Measured) and (measured.values, measured.step) == ({"loss": 0.5, "grad": math.inf}, 3)
    assert Outbox(tmp_path / "run").head == HEAD


def test_a_run_that_goes_on_tells_nothing_twice(tmp_path):
    first = Outbox(tmp_path / "run", HEAD)
    for step in (1, 2, 3):
        first.measure({"loss": 1 / step, "bad": math.nan}, step)
    again = Outbox(tmp_path / "run", HEAD)
    again.measure({"loss": 1 / 3, "bad": math.nan}, 3)
    again.measure({"loss": 0.9}, 3)
    again.measure({"loss": 1 / 4}, 4)
    told = [(r.step, key, value) for r in records(again) for key, value in r.values.items() if key == "loss"]
    assert told == [(1, "loss", 1.0), (2, "loss", 0.5), (3, "loss", 1 / 3), (3, "loss", 0.9), (4, "loss", 0.25)]
    assert sum("bad" in r.values for r in records(again)) == 3
    assert again.highest("loss") == 1.0


def test_a_line_that_a_kill_cut_short_is_dropped(tmp_path):
    outbox = Outbox(tmp_path / "run", HEAD)
    outbox.measure({"loss": 0.5}, 1)
    with (tmp_path / "run" / "records.jsonl").open("ab") as journal:
        journal.write(b'{"kind": "measured", "val')
    assert len(records(outbox)) == 1
    outbox.note_sent(next(outbox.read(0))[1])
    assert not outbox.waits
    Outbox(tmp_path / "run", HEAD).measure({"loss": 0.25}, 2)
    assert [r.values["loss"] for r in records(outbox)] == [0.5, 0.25]
    assert outbox.waits


def test_a_file_is_kept_as_it_was_until_it_is_sent(tmp_path):
    outbox = Outbox(tmp_path / "run", HEAD)
    Image.new("RGB", (4, 4), "red").save(tmp_path / "sheet.png")
    kept = outbox.keep(tmp_path / "sheet.png")
    Image.new("RGB", (4, 4), "blue").save(tmp_path / "sheet.png")
    with Image.open(kept) as image:
        assert image.convert("RGB").getpixel((0, 0)) == (255, 0, 0)
    outbox.note_sent(0, str(tmp_path / "sheet.png"))
    outbox.note_sent(0, kept)
    assert not list((tmp_path / "run" / "files").iterdir()) and (tmp_path / "sheet.png").exists()


def test_one_process_sends_at_a_time(tmp_path):
    outbox = Outbox(tmp_path / "run", HEAD)
    with outbox.for_one_sender() as mine, Outbox(tmp_path / "run").for_one_sender() as too:
        assert mine and not too
    with outbox.for_one_sender() as mine:
        assert mine


@pytest.fixture
def nobody():
    """The address of a port at which no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def silent():
    """The address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def no_database(nobody):
    return nobody.replace("http", "postgresql") + "/curves"


@pytest.mark.parametrize("server", ["nobody", "no_database", pytest.param("silent", marks=pytest.mark.slow)])
def test_where_the_server_does_not_answer_records_wait_and_one_line_says_so(server, request, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    address = request.getfixturevalue(server)
    trial = tmp_path / "multirun" / "demo" / "rank=2-012345"
    begun = time.monotonic()
    for identity in ("0123456789ab", "ba9876543210"):
        loggers = open_loggers(TrackingConfig(trackers={"mlflow": True}, uri=address), trial, replace(CARD, identity=identity))
        loggers[0].log_metrics({"finetune/loss": 0.5}, 10)
        close(loggers)
    assert time.monotonic() - begun < 60
    out = capfd.readouterr().out.splitlines()
    assert out == [
        f"{address}: no answer within 4 s; its MLflow records are kept beside the trial; "
        "they are sent when it answers, or later by pathsynth send"
    ]
    assert [outbox.waits for outbox in outboxes(tmp_path / "multirun")] == [True, True]
    assert send_hint([trial]) == "records for MLflow wait; to send them: pathsynth send multirun/demo"
    assert dispatch(["send"]) == 1
    assert capfd.readouterr().out.splitlines() == ["sent 0 of 2 runs", f"{address}: no answer within 4 s"]


def test_a_pruned_trial_says_so_and_is_not_waited_for(nobody, tmp_path):
    begun = time.monotonic()
    loggers = open_loggers(TrackingConfig(trackers={"mlflow": True}, uri=nobody), tmp_path / "multirun" / "demo" / "a", CARD)
    with interruption.listening():
        interruption.note("pruned at step 200")
        end_stopped(loggers, interruption.Interrupted())
    (outbox,) = outboxes(tmp_path / "multirun")
    *_, described, status = records(outbox)
    assert (described, status.status) == (Described({}, {"state": "pruned at step 200"}), "KILLED")
    assert time.monotonic() - begun < 20


def test_where_nothing_waits_nothing_is_sent(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "multirun" / "demo" / "a").mkdir(parents=True)
    assert send_hint([tmp_path / "multirun" / "demo" / "a"]) is None
    assert dispatch(["send"]) == 0
    assert capfd.readouterr().out == "nothing waits in multirun\n"
    assert dispatch(["send", "elsewhere"]) == 2
    assert "no folder elsewhere; name a study's" in capfd.readouterr().err


def test_records_go_where_the_settings_say_then_the_environment_then_to_a_file(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert address_of(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:s3cr3t@there:5000")
    assert address_of(None, tmp_path) == "http://me:s3cr3t@there:5000"
    assert masked_address("http://me:s3cr3t@there:5000/x") == "http://there:5000/x"
    assert address_of("http://here:5000", tmp_path) == masked_address("http://here:5000") == "http://here:5000"


def test_without_mlflow_a_request_is_refused_before_anything_starts(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert dispatch(["classify", "data=phantom", "tracking=mlflow"]) == 2
    assert "tracking=mlflow needs MLflow; install it: pip install 'pathsynth[mlflow]'" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())
