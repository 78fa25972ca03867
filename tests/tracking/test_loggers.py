"""What a team sees: real trainings with W&B offline, read back from the files."""

from __future__ import annotations

import csv
import http.server
import json
import socket
import threading
from dataclasses import replace

import numpy as np
import pytest
import pytorch_lightning as pl
import wandb
from hydra import compose, initialize_config_dir
from pytorch_lightning.loggers import WandbLogger

from pathsynth.config import (
    LoraConfig,
    ObjectiveConfig,
    SamplingConfig,
    TrackingConfig,
    TrainerConfig,
    TrainingConfig,
    ValidationConfig,
    from_hydra,
)
from pathsynth.config.shipped import conf_folder
from pathsynth.data.phantom import phantom_data
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.nesting import flat
from pathsynth.ledger.records import Metric
from pathsynth.ledger.stages import StageStore
from pathsynth.ledger.versions import provenance
from pathsynth.models.base import load_base
from pathsynth.sampling.acceptance_rules import Candidate, MostProbable, judged_by
from pathsynth.sampling.slots import Slot, Stream, attempt_at
from pathsynth.stages.plan import plan
from pathsynth.studies.execution.pipeline import Trial
from pathsynth.tracking.loggers import GLOBAL_STEP, VALIDATION_STEP, RunMetadata, close, open_loggers
from pathsynth.tracking.media import MOST_ROWS, ArtifactMetadata, keep_artifact, show_confusion, show_numbers, use_artifacts
from pathsynth.tracking.reachability import answers, wandb_key_place
from pathsynth.training.finetune import FinetuneJob, FinetuneSettings, finetune
from pathsynth.training.latent_cache import build_cache, load_cache
from tests.metric_records import first_attempts_metric

DATA = phantom_data(32, 36, 18, 18, seed=0)
CARD = RunMetadata(
    identity="0123456789ab",
    name="rank=2-012345",
    group="demo",
    job_type="finetune",
    tags=("finetune", "phantom"),
    config=flat({"lora": {"rank": 2}, "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.01}, "seed": 3}),
    curves={"finetune/*": GLOBAL_STEP, "epoch": GLOBAL_STEP, "validation/*": VALIDATION_STEP},
    best={"validation/macro_f1": VALIDATION_STEP},
)
WANDB = TrackingConfig(trackers={"wandb": True})


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "waiting"))
    for name in ("WANDB_PROJECT", "WANDB_ENTITY", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def cache(small_base_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    base = load_base(str(small_base_folder), None, "b", 32, 32)
    build_cache(folder, DATA, base, augment=True)
    return load_cache(folder, DATA, base)


class WorseAndWorse:
    """A gate that accepts every slot's image in the first validation, and fewer classes in each that follows."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, attempts, images):
        if any(a.number == 0 for a in attempts):
            self.calls += 1
        return [judged_by([MostProbable()], Candidate(self._probabilities(a.slot.label)), a.slot.label) for a in attempts]

    def _probabilities(self, label: int) -> np.ndarray:
        seen = label if label >= 4 * (self.calls - 1) else (label + 1) % 9
        return np.where(np.arange(9) == seen, 0.6, 0.05)


SETTINGS = FinetuneSettings(
    seed=3,
    lora=LoraConfig(rank=2, dropout=0.0, targets="attention"),
    optimizer={"_target_": "torch.optim.AdamW", "lr": 1e-2},
    schedule={"_target_": "pathsynth.training.schedules.cosine", "steps": 20, "warmup_steps": 1},
    trainer=TrainerConfig(max_steps=20, precision="32-true", gradient_clip_val=1.0),
    training=TrainingConfig(batch_size=4, warmup_steps=1, ema_decay=0.9, checkpoint_every=5),
    objective=ObjectiveConfig(noise_offset=0.0, caption_dropout=0.1, paraphrases=False, augment=True),
    validation=ValidationConfig(every=10, n=5),
    sampling=SamplingConfig(steps=1, guidance=1.0, batch_size=45, seed=0, attempts=2, threshold=0.0),
)


class CutAfter(pl.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, module, *args) -> None:
        if trainer.global_step == self.step:
            raise RuntimeError("cut")


def train(folder, base_folder, cache, gate, tracking=WANDB, *callbacks: pl.Callback) -> None:
    base = load_base(str(base_folder), None, "b", 32, 32)
    loggers = open_loggers(tracking, folder, CARD)
    try:
        finetune(FinetuneJob(base, cache, DATA, gate, SETTINGS), folder, folder / "work", list(callbacks), loggers)
    finally:
        close(loggers)


def test_a_training_is_one_run_with_its_settings_curves_and_tables(small_base_folder, cache, tmp_path, offline_runs, capfd):
    train(tmp_path, small_base_folder, cache, WorseAndWorse())
    assert "anonymous" not in capfd.readouterr().err
    ((run,),) = offline_runs(tmp_path).values()
    assert (run.run["run_id"], run.run["display_name"], run.run["run_group"]) == ("0123456789ab", "rank=2-012345", "demo")
    assert (run.run["job_type"], run.run["tags"], run.run["project"]) == ("finetune", ["finetune", "phantom"], "pathsynth")
    assert run.config == {"lora.rank": 2, "optimizer._target_": "torch.optim.AdamW", "optimizer.lr": 0.01, "seed": 3}

    assert run.axes == {**CARD.curves, "validation/macro_f1": VALIDATION_STEP}
    assert [row[GLOBAL_STEP] for row in run.rows("finetune/loss")] == [9, 19]
    validations = run.rows("validation/macro_f1")
    assert [row[VALIDATION_STEP] for row in validations] == [10, 20]
    assert validations[0]["validation/macro_f1"] == 1 > validations[1]["validation/macro_f1"]
    assert run.summary["validation/macro_f1"] == {"max": 1}, "the best validation, not the last"
    assert [row[VALIDATION_STEP] for row in run.rows("validation/after_regeneration")] == [10, 20]

    first, second = (run.table("validation/images", row) for row in (0, 1))
    assert (len(first), len(second)) == (45, MOST_ROWS), "five slots of nine classes; then some were drawn again, more than are shown"
    assert [row["validation/images.nrows"] for row in run.rows("validation/images")] == [45, MOST_ROWS]
    row = first[0]
    assert (row["slot"], row["class"], row["attempt"], row["verdict"]) == (0, "adipose", 0, "accepted")
    assert row["prompt"] == DATA.prompts.canonical(0)
    assert row["probability"] == row["p(adipose)"] == 0.6
    assert row["image"] == (32, 32)
    assert int(row["seed"]) == attempt_at(Slot(Stream.VAL, 0, 0, row["prompt"]), 0, 0).seed
    again = [r for r in second if r["class"] == "adipose" and r["slot"] == 0]
    assert [(r["attempt"], r["verdict"], r["predicted"]) for r in again] == [
        (0, "another class is more probable", "background"),
        (1, "another class is more probable", "background"),
    ]
    assert run.of("exit")[0]["exit_code"] == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
def test_a_training_that_was_cut_off_goes_on_in_the_same_run(small_base_folder, cache, tmp_path, offline_runs, monkeypatch):
    gate = WorseAndWorse()
    with pytest.raises(RuntimeError, match="cut"):
        train(tmp_path, small_base_folder, cache, gate, WANDB, CutAfter(17))
    train(tmp_path, small_base_folder, cache, gate)
    ((first, second),) = offline_runs(tmp_path).values()
    assert first.folder != second.folder and first.run["run_id"] == second.run["run_id"]
    assert second.run["resume"] is True, "what makes `wandb sync` append the second part to the first"
    steps = [[h["item"]["_step"] for h in part.of("history")] for part in (first, second)]
    assert steps[0][-1] < steps[1][0], "rows of the second part are numbered after those of the first"
    assert steps[1] == list(range(steps[1][0], steps[1][0] + len(steps[1])))
    assert [row[GLOBAL_STEP] for row in second.rows("finetune/loss")] == [19]
    assert [row[VALIDATION_STEP] for row in second.rows("validation/macro_f1")] == [10, 20], "the validation before the cut is told again"
    assert second.summary["validation/macro_f1"] == first.summary["validation/macro_f1"] == {"max": 1}


def test_a_trial_that_finds_its_adapter_made_without_tracking_logs_its_history(tmp_path, offline_runs):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = from_hydra(compose("finetune", ["tracking=wandb"]))
    planned = plan(config)
    stage = next(s for s in planned.stages if s.name == "finetune")
    store = StageStore(tmp_path / "stages", 60)
    columns = "step,train_loss,held_out_loss,val_macro_f1,val_attempts"

    def make(folder):
        (folder / "history.csv").write_text(f"{columns}\n10,0.5,0.6,0.25,45\n20,nan,0.4,0.125,50\n")

    store.build("finetune", stage.identity, {}, make, provenance("a processor"))
    trial = Trial(config, planned, store, tmp_path / "trial", lambda *_: None)
    trial.build(stage)
    close(trial.loggers)
    ((run,),) = offline_runs(tmp_path / "trial").values()
    validations = run.rows("validation/macro_f1")
    assert [(row[VALIDATION_STEP], row["validation/macro_f1"], row["validation/attempts"]) for row in validations] == [
        (10, 0.25, 45),
        (20, 0.125, 50),
    ]
    assert [(row[GLOBAL_STEP], row["finetune/loss"]) for row in run.rows("finetune/loss")] == [(10, 0.5)]
    assert [(row[GLOBAL_STEP], row["finetune/held_out_loss"]) for row in run.rows("finetune/held_out_loss")] == [(10, 0.6), (20, 0.4)]
    assert run.summary["validation/macro_f1"] == {"max": 0.25}


def test_the_environment_wins_over_the_settings(tmp_path, offline_runs, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    monkeypatch.setenv("WANDB_ENTITY", "team")
    monkeypatch.setenv("WANDB_API_KEY", "5ecre7" * 7)
    close(open_loggers(TrackingConfig(trackers={"wandb": True}, project="ours", entity="us", mode="online"), tmp_path, CARD), failed=True)
    ((run,),) = offline_runs(tmp_path).values()
    assert (run.run["project"], run.run["entity"]) == ("theirs", "team")
    assert run.of("exit")[0]["exit_code"] == 1
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and b"5ecre75ecre7" in p.read_bytes()]


def test_without_a_key_and_a_mode_the_run_is_offline(tmp_path, offline_runs, monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    close(open_loggers(WANDB, tmp_path, CARD))
    assert len(offline_runs(tmp_path)) == 1
    monkeypatch.setenv("WANDB_MODE", "disabled")
    loggers = open_loggers(WANDB, tmp_path / "disabled", replace(CARD, identity="ba9876543210"))
    show_confusion(loggers, "confusion", "t", np.eye(9, dtype=int), DATA.space)
    close(loggers)
    assert not offline_runs(tmp_path / "disabled")


@pytest.fixture
def silent_server():
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("server", ["silent_server", "closed_port"])
def test_where_the_server_does_not_answer_runs_are_kept_offline(server, request, tmp_path, offline_runs, monkeypatch, capfd):
    address = f"http://127.0.0.1:{request.getfixturevalue(server)}"
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "5ecre7" * 7)
    monkeypatch.setenv("WANDB_BASE_URL", address)
    close(open_loggers(WANDB, tmp_path, CARD))
    close(open_loggers(WANDB.model_copy(update={"mode": "online"}), tmp_path, replace(CARD, identity="ba9876543210")))
    assert set(offline_runs(tmp_path)) == {"0123456789ab", "ba9876543210"}
    (line,) = [line for line in capfd.readouterr().out.splitlines() if address in line]
    assert line.endswith("its W&B runs are kept offline, and wandb sync sends them later")


@pytest.mark.slow
@pytest.mark.parametrize(
    "status, body",
    [
        pytest.param(401, "{}", id="wrong key"),
        pytest.param(200, "<html>log in first</html>", id="a login page", marks=pytest.mark.thorough),  # W&B asks again for 90 s
    ],
)
def test_where_the_server_takes_no_run_it_is_kept_offline(status, body, tmp_path, offline_runs, monkeypatch, capfd):
    class Server(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body.encode())

        do_HEAD = do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.delenv("WANDB_MODE")
        monkeypatch.setenv("WANDB_API_KEY", "5ecre7" * 7)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        for card in (CARD, replace(CARD, identity="ba9876543210")):
            close(open_loggers(WANDB, tmp_path, card))
        server.shutdown()
    assert set(offline_runs(tmp_path)) == {CARD.identity, "ba9876543210"}
    (line,) = [line for line in capfd.readouterr().out.splitlines() if "W&B takes no run" in line]
    assert line.endswith("runs are kept offline, and wandb sync sends them later")


def test_any_answer_of_a_server_is_one_but_a_failure_of_a_proxy_is_none():
    class Server(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(int(self.path.strip("/")))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        told = {code: answers(f"http://127.0.0.1:{server.server_port}/{code}", 5) for code in (401, 404, 500, 502, 503)}
        server.shutdown()
    assert told == {401: True, 404: True, 500: True, 502: False, 503: False}


@pytest.mark.slow
def test_runs_lie_in_the_folder_that_wandb_dir_names(tmp_path, offline_runs, monkeypatch):
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "all" / "runs"))
    for folder in ("a", "b"):
        close(open_loggers(WANDB, tmp_path / folder, CARD))
    ((first, second),) = offline_runs(tmp_path / "all" / "runs").values()
    assert first.folder != second.folder
    assert not [path for folder in ("a", "b") for path in (tmp_path / folder).rglob("*")]


def metric(name: str, value: float, low: float | None, high: float | None, slug: str | None = None) -> Metric:
    return first_attempts_metric(metric=name, value=value, low=low, high=high, n=18, class_=slug, data="phantom")


NUMBERS = [metric("macro_f1", 0.5, 0.4, 0.6), metric("kid", 0.1, None, None), metric("f1", 0.2, None, None, "mucus")]


def test_numbers_confusions_and_artifacts_are_as_they_were_reported(tmp_path, offline_runs):
    kept = tmp_path / "stage"
    (kept / "adapter").mkdir(parents=True)
    (kept / "adapter" / "w.safetensors").write_bytes(b"weights")
    confusion = np.zeros((9, 9), dtype=int)
    confusion[0, 0], confusion[3, 8] = 4, 2
    loggers = open_loggers(WANDB, tmp_path, CARD)
    assert loggers
    show_numbers(loggers, NUMBERS)
    show_confusion(loggers, "confusion/judge", "t", confusion, DATA.space)
    lineage = {"settings": {"rank": 2}, "made_from": ["gate-0123"]}
    keep_artifact(loggers, ArtifactMetadata("adapter", "adapter-ab", kept, ("adapter", "history.csv"), lineage))
    use_artifacts(loggers, ["gate-0123"])
    close(loggers)
    ((run,),) = offline_runs(tmp_path).values()
    told = {key: value for key, value in run.summary.items() if key.startswith("generated/")}
    name = "generated/before_filtering/gate"
    assert told == {
        f"{name}/macro_f1": 0.5,
        f"{name}/macro_f1/low": 0.4,
        f"{name}/macro_f1/high": 0.6,
        f"{name}/macro_f1/n": 18,
        f"{name}/kid": 0.1,
        f"{name}/kid/n": 18,
    }
    assert run.table("result") == [m.to_json() for m in NUMBERS]
    counts = {(r["Actual"], r["Predicted"]): r["nPredictions"] for r in run.table("confusion/judge_table")}
    assert len(counts) == 81
    assert {pair: n for pair, n in counts.items() if n} == {
        ("adipose", "adipose"): 4,
        ("lymphocytes", "colorectal adenocarcinoma epithelium"): 2,
    }
    artifact = run.artifacts["adapter"]
    assert artifact["name"] == "adapter-ab"
    assert json.loads(artifact["metadata"]) == lineage
    (entry,) = artifact["manifest"]["contents"]
    assert (entry["path"], entry["local_path"]) == ("adapter/w.safetensors", str(kept / "adapter" / "w.safetensors"))


class OnlineRun:
    """The little of an online run that is asked here; its project knows one artifact."""

    offline = False

    def __init__(self) -> None:
        self.used: list[str] = []

    def use_artifact(self, name: str) -> None:
        if name != "gate-0123:latest":
            raise wandb.errors.CommError(f"artifact {name} not found")
        self.used.append(name)


def test_an_artifact_that_was_never_sent_stops_no_trial():
    run = OnlineRun()
    use_artifacts([WandbLogger(experiment=run)], ["judge-4567", "gate-0123"])
    assert run.used == ["gate-0123:latest"]


@pytest.mark.slow
def test_another_lightning_logger_gets_the_same_curves_and_numbers(small_base_folder, cache, tmp_path):
    tracking = TrackingConfig.model_validate({"_target_": "pytorch_lightning.loggers.CSVLogger", "name": "metrics"})
    train(tmp_path, small_base_folder, cache, WorseAndWorse(), tracking)
    loggers = open_loggers(tracking, tmp_path, CARD)
    show_numbers(loggers, NUMBERS)
    curves, numbers = (list(csv.DictReader((tmp_path / "metrics" / f"version_{n}" / "metrics.csv").open())) for n in (0, 1))
    assert [row["step"] for row in curves if row["validation/macro_f1"]] == ["10", "20"]
    assert "lora.rank: 2" in (tmp_path / "metrics" / "version_0" / "hparams.yaml").read_text()
    assert numbers[0]["generated/before_filtering/gate/macro_f1"] == "0.5"
    assert not (tmp_path / "wandb").exists()


@pytest.mark.parametrize(
    "arguments, told",
    [
        ({"_target_": "pytorch_lightning.loggers.CSVLoger"}, "CSVLoger"),
        ({"_target_": "no_such_package.Logger"}, "no_such_package"),
        ({"_target_": "pytorch_lightning.loggers.CSVLogger", "colour": "red"}, "colour"),
        ({"_target_": "pathlib.Path"}, "no Lightning logger"),
    ],
)
def test_a_logger_that_cannot_be_made_is_refused_in_one_line(tmp_path, arguments, told):
    with pytest.raises(RequestError, match=r"choose tracking=wandb, csv or none") as caught:
        open_loggers(TrackingConfig.model_validate(arguments), tmp_path, CARD)
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_no_tracking_is_no_logger(tmp_path):
    assert open_loggers(TrackingConfig(), tmp_path, CARD) == []
    close([])


def test_settings_become_columns():
    assert flat({"a": {"b": {"c": 1}, "d": [1, 2]}, "e": None, "f": {}}) == {"a.b.c": 1, "a.d": [1, 2], "e": None}


def test_a_key_in_netrc_counts_for_its_own_host(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "https://curves.example.org:8080")
    assert wandb_key_place() is None
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password key\n")
    assert wandb_key_place() is None
    (tmp_path / "netrc").write_text("machine curves.example.org login user password key\n")
    assert wandb_key_place() == "netrc"
    (tmp_path / "netrc").write_text("machine")
    assert wandb_key_place() is None
    monkeypatch.setenv("WANDB_API_KEY", "key")
    assert wandb_key_place() == "the environment"
