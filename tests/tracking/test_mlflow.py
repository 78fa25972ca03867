"""Runs in a real MLflow server on this machine: what a team sees, and what is left after the server was away."""

from __future__ import annotations

import base64
import io
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
from PIL import Image

from pathsynth.__main__ import dispatch
from pathsynth.config import TrackingConfig
from pathsynth.ledger.adapters import read_card
from pathsynth.tracking.loggers import GLOBAL_STEP, VALIDATION_STEP, close, open_loggers
from pathsynth.tracking.media import ArtifactMetadata, keep_artifact, show_confusion, show_numbers, show_pictures, use_artifacts
from pathsynth.tracking.mlflow_sender import IDENTITY
from pathsynth.tracking.outbox import outboxes
from pathsynth.tracking.reachability import answers
from tests.forked import forked_output
from tests.postgresql import NEEDS_POSTGRESQL, free_port, postgresql
from tests.tracking.mlflow_server import MlflowServer, mlflow_server
from tests.tracking.test_loggers import CARD, DATA, NUMBERS

pytestmark = pytest.mark.slow
STORES = ["sqlite", pytest.param("postgresql", marks=NEEDS_POSTGRESQL)]


@pytest.fixture(scope="module", params=STORES)
def server(request, tmp_path_factory) -> Iterator[MlflowServer]:
    folder = tmp_path_factory.mktemp("mlflow")
    if request.param == "sqlite":
        with mlflow_server(folder, f"sqlite:///{folder}/server.db") as one:
            yield one
    else:
        with postgresql() as store, mlflow_server(folder, store) as one:
            yield one


def tracking(server: MlflowServer) -> TrackingConfig:
    return TrackingConfig(trackers={"mlflow": True}, uri=server.address)


def runs_of(address: str, experiment: str) -> list:
    from mlflow import MlflowClient

    client = MlflowClient(address)
    return list(client.search_runs([client.get_experiment_by_name(experiment).experiment_id]))


def curve(address: str, run, name: str) -> list[tuple[int, float]]:
    from mlflow import MlflowClient

    return sorted((m.step, m.value) for m in MlflowClient(address).get_metric_history(run.info.run_id, name))


def test_a_run_has_settings_curves_pictures_tables_and_artifacts(server, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)  # load_table asks there
    kept = tmp_path / "stage"
    (kept / "adapter").mkdir(parents=True)
    (kept / "adapter" / "w.safetensors").write_bytes(b"weights")
    Image.new("RGB", (32, 32), "red").save(tmp_path / "sheet.png")
    confusion = np.zeros((9, 9), dtype=int)
    confusion[0, 0], confusion[3, 8] = 4, 2
    card = replace(CARD, group="shown")
    loggers = open_loggers(tracking(server), tmp_path / "multirun" / "shown" / "a", card)
    for step in range(5):
        loggers[0].log_metrics({"finetune/loss": 1 / (step + 1), GLOBAL_STEP: step}, step)
    for step, score in ((10, 0.75), (20, 0.5)):
        loggers[0].log_metrics({"validation/macro_f1": score, VALIDATION_STEP: step}, step)
        show_pictures(loggers, {"validation/first_attempts": tmp_path / "sheet.png"}, step)
    show_numbers(loggers, NUMBERS)
    show_confusion(loggers, "confusion/judge", "t", confusion, DATA.space)
    keep_artifact(loggers, ArtifactMetadata("adapter", "adapter-ab", kept, ("adapter",), {"made_from": ["gate-0123"]}))
    use_artifacts(loggers, ["gate-0123"])
    close(loggers)
    (tmp_path / "sheet.png").unlink()

    (run,) = runs_of(server.address, "shown")
    assert (run.info.run_name, run.info.status) == (CARD.name, "FINISHED")
    assert run.data.params == {key: str(value) for key, value in CARD.config.items()}
    told = {key: run.data.tags[key] for key in ("pathsynth.identity", "job_type", "phantom", "made_from")}
    assert told == {"pathsynth.identity": CARD.identity, "job_type": "finetune", "phantom": "", "made_from": "gate-0123"}
    assert curve(server.address, run, "finetune/loss") == [(step, 1 / (step + 1)) for step in range(5)]
    assert curve(server.address, run, "validation/macro_f1") == [(10, 0.75), (20, 0.5)]
    assert run.data.metrics["validation/macro_f1/best"] == 0.75, "the best validation, not the last"
    assert GLOBAL_STEP not in run.data.metrics and VALIDATION_STEP not in run.data.metrics
    ends = ("macro_f1", "macro_f1/low", "kid")
    assert [run.data.metrics[f"generated/before_filtering/gate/{end}"] for end in ends] == [0.5, 0.4, 0.1]

    client = MlflowClient(server.address)
    pictures = [a.path for a in client.list_artifacts(run.info.run_id, "images") if a.path.endswith(".png")]
    steps = Counter(path.split("+step+")[0].removeprefix("images/") for path in pictures)
    assert steps == {"validation~first_attempts": 2, "confusion~judge": 1}
    table = client.load_table(run.info.experiment_id, "result.json", [run.info.run_id])
    assert list(table["value"]) == [m.value for m in NUMBERS]
    counts = client.load_table(run.info.experiment_id, "confusion/judge.json", [run.info.run_id])
    assert counts.iloc[3, 9] == 2 and counts.iloc[0, 1] == 4 and counts.shape == (9, 10)
    local = client.download_artifacts(run.info.run_id, "adapter-ab/adapter/w.safetensors", str(tmp_path))
    with open(local, "rb") as weights:
        assert weights.read() == b"weights"


def test_a_run_that_goes_on_is_the_same_run_and_tells_nothing_twice(server, tmp_path):
    card = replace(CARD, group="goes-on")
    trial = tmp_path / "multirun" / "goes-on" / "a"
    for first, last in ((0, 6), (4, 10)):
        loggers = open_loggers(tracking(server), trial, replace(card, config={**card.config, "training.threads": first}))
        for step in range(first, last):
            loggers[0].log_metrics({"finetune/loss": 1 / (step + 1)}, step)
        close(loggers, failed=first == 0)
    (run,) = runs_of(server.address, "goes-on")
    assert run.info.status == "FINISHED"
    assert run.data.params["training.threads"] == "0", "MLflow keeps a setting as it was first told"
    assert curve(server.address, run, "finetune/loss") == [(step, 1 / (step + 1)) for step in range(10)]


def test_a_server_that_is_away_for_a_while_costs_nothing(server, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (32, 32), "red").save(tmp_path / "sheet.png")
    card = replace(CARD, group="away")
    loggers = open_loggers(tracking(server), tmp_path / "multirun" / "away" / "a", card)
    loggers[0].log_metrics({"finetune/loss": 1.0}, 0)
    deadline = time.monotonic() + 120
    (outbox,) = outboxes(tmp_path / "multirun")
    while outbox.waits:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    server.stop()
    try:
        loggers[0].log_metrics({"finetune/loss": 0.5}, 1)
        show_pictures(loggers, {"validation/first_attempts": tmp_path / "sheet.png"}, 1)
        while f"{server.address}: no answer" not in capfd.readouterr().out:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        gone = open_loggers(tracking(server), tmp_path / "multirun" / "away" / "b", replace(card, identity="ba9876543210", name="b"))
        gone[0].log_metrics({"finetune/loss": 0.25}, 0)
        close(gone)
        assert [o.waits for o in outboxes(tmp_path / "multirun")] == [True, True]
    finally:
        server.start()
    loggers[0].log_metrics({"finetune/loss": 0.125}, 2)
    close(loggers)
    assert dispatch(["send"]) == 0
    assert "sent 1 of 1 runs" in capfd.readouterr().out
    runs = {run.info.run_name: run for run in runs_of(server.address, "away")}
    assert {name: run.info.status for name, run in runs.items()} == {CARD.name: "FINISHED", "b": "FINISHED"}
    assert curve(server.address, runs[CARD.name], "finetune/loss") == [(0, 1.0), (1, 0.5), (2, 0.125)]
    assert curve(server.address, runs["b"], "finetune/loss") == [(0, 0.25)]
    assert runs[CARD.name].data.tags["mlflow.loggedImages"] == "True"


SMALLEST = (
    *("study=fast", "debug=fast_dev_run", "study.name=whole", "lora.targets=attention", "lora.rank=1", "data.n_train=90", "data.n_val=36"),
    *("data.n_test=18", "gate.epochs=1", "judge.epochs=1", "gate.width=0.25", "sampling.steps=1", "sampling.attempts=1", "evaluate.n=1"),
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)  # what a trial logs does not depend on the server's database
def test_a_trial_has_a_run_in_each_tracker_and_so_have_its_classifiers(server, small_base_folder, tmp_path, monkeypatch):
    import mlflow
    from mlflow import MlflowClient

    monkeypatch.setenv("WANDB_MODE", "offline")
    trackers = ["tracking=[wandb,mlflow]", f"tracking.uri={server.address}"]
    told = forked_output(tmp_path, "run", f"base.path={small_base_folder}", *SMALLEST, *trackers)
    assert "records for MLflow wait" not in told
    runs = {run.data.tags["job_type"]: run for run in runs_of(server.address, "whole")}
    assert set(runs) == {"gate", "judge", "evaluate"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    (trial,) = (path.parent for path in tmp_path.glob("multirun/whole/*/result.json"))
    assert len(list(trial.glob("wandb/offline-run-*"))) == 3
    shown = runs["evaluate"]
    assert shown.data.params["lora.rank"] == "1" and "tracking.uri" not in shown.data.params
    assert "generated/before_filtering/gate/macro_f1" in shown.data.metrics
    assert shown.data.tags["made_from"] == f"gate-{runs['gate'].data.tags[IDENTITY]}, judge-{runs['judge'].data.tags[IDENTITY]}"
    client = MlflowClient(server.address)
    kept = {a.path.split("-")[0]: a.path for a in client.list_artifacts(shown.info.run_id)}
    assert {"adapter", "images", "confusion", "result.json"} <= set(kept)
    local = client.download_artifacts(shown.info.run_id, f"{kept['adapter']}/adapter", str(tmp_path))
    assert read_card(Path(local)).rank == 1

    model = mlflow.pyfunc.load_model(client.download_artifacts(shown.info.run_id, f"{kept['adapter']}/model", str(tmp_path)))
    once, again = (model.predict(pd.DataFrame({"prompt": ["mucus", "debris"], "seed": seeds})) for seeds in ([1, 2], [1, 3]))
    assert once[0] == again[0] and once[1] != again[1]
    with Image.open(io.BytesIO(base64.b64decode(once[0]))) as image:
        assert image.size == (32, 32)
    served = f"runs:/{shown.info.run_id}/{kept['adapter']}/model"
    with model_server(server, served) as place:
        rows = [{"prompt": "mucus", "seed": 1}, {"prompt": "debris", "seed": 3}]
        answer = requests.post(f"{place}/invocations", json={"dataframe_records": rows}, timeout=60)
    assert answer.json() == {"predictions": again}, "the bits of the model that was loaded"


@contextmanager
def model_server(server: MlflowServer, model: str) -> Iterator[str]:
    """The address at which ``mlflow models serve`` answers, as docs/how-to/tracking.md starts it."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--port", str(port), "-m", model]
    log = server.folder / "model.log"
    with log.open("wb") as out:
        environment = {**os.environ, "MLFLOW_TRACKING_URI": server.address, "MLFLOW_DISABLE_TELEMETRY": "true"}
        environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # as where the environment is activated
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 200
        while not answers(f"http://127.0.0.1:{port}/ping", 2):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
def test_a_trial_whose_server_stops_while_it_trains_ends_well_and_nothing_is_missing(server, small_base_folder, tmp_path, run_command):
    words = [f"base.path={small_base_folder}", *SMALLEST, "study.name=stopped", "tracking=mlflow", f"tracking.uri={server.address}"]
    words += ["trainer.max_steps=40", "trainer.log_every_n_steps=1", "callbacks.regeneration.every=20"]
    command = [sys.executable, "-m", "pathsynth", "run", *words]
    with (tmp_path / "out").open("wb") as out:
        trial = subprocess.Popen(command, cwd=tmp_path, stdout=out, stderr=out)
    deadline = time.monotonic() + 300
    while "finetune/loss" not in "".join(path.read_text() for path in tmp_path.glob("multirun/stopped/*/mlflow/*/*.jsonl")):
        assert trial.poll() is None and time.monotonic() < deadline, (tmp_path / "out").read_text()
        time.sleep(0.02)
    server.stop()
    try:
        assert trial.wait(300) == 0, (tmp_path / "out").read_text()
    finally:
        server.start()
    assert "pathsynth send" in (tmp_path / "out").read_text(), "it was away until the end"
    run_command(tmp_path, "send", "multirun/stopped")
    runs = {run.data.tags["job_type"]: run for run in runs_of(server.address, "stopped")}
    assert {kind: run.info.status for kind, run in runs.items()} == dict.fromkeys(("gate", "judge", "evaluate"), "FINISHED")
    steps = [step for step, _ in curve(server.address, runs["evaluate"], "finetune/loss")]
    assert steps == list(range(steps[0], steps[0] + 40))
    assert "generated/before_filtering/gate/macro_f1" in runs["evaluate"].data.metrics


WORKER = """
import sys
from pathlib import Path
from pathsynth.tracking.mlflow_sender import BackgroundSender, Sender
from pathsynth.tracking.outbox import Outbox, RunHead, Status, milliseconds

trial = Path(sys.argv[1])
outbox = Outbox(trial / "mlflow" / trial.name, RunHead(trial.name, trial.name, trial.parent.name, sys.argv[2] or None))
background = BackgroundSender(Sender(outbox))
for step in range(300):
    outbox.measure({"finetune/loss": step / 300, "grad": 1.0}, step)
    background.wake()
outbox.write(Status("FINISHED", milliseconds()))
background.end()
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("server", "place"),
    [
        ("sqlite", "file"),
        pytest.param("sqlite", "server", marks=pytest.mark.thorough),
        pytest.param("postgresql", "server", marks=NEEDS_POSTGRESQL),
    ],
    indirect=["server"],
)
def test_two_workers_write_at_once(server, place, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri = server.address if place == "server" else ""
    trials = [tmp_path / "multirun" / "pair" / name for name in ("a", "b")]
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, str(trial), uri], stdout=subprocess.PIPE, text=True) for trial in trials]
    told = [worker.communicate(timeout=500)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert told == ["", ""]
    address = uri or f"sqlite:///{tmp_path}/multirun/mlflow.db"
    runs = runs_of(address, "pair")
    assert sorted(run.info.run_name for run in runs) == ["a", "b"]
    for run in runs:
        assert run.info.status == "FINISHED"
        assert curve(address, run, "finetune/loss") == [(step, step / 300) for step in range(300)]
