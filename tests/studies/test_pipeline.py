"""The whole loop at its smallest, as a user starts it: real base, gate, judge, adapter, images and result."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load_file

from pathsynth.ledger.records import read_result
from tests.forked import run_forked

pytestmark = pytest.mark.slow

SMALL = [
    "data.n_train=90",
    "data.n_val=36",
    "data.n_test=18",
    "gate.epochs=1",
    "judge.epochs=1",
    "lora.targets=attention",
    "trainer.max_steps=4",
    "training.batch_size=4",
    "callbacks.regeneration.every=2",
    "callbacks.regeneration.n=1",
    "sampling.steps=2",
    "sampling.attempts=2",
    "evaluate.n=2",
]
UNTRACKED = ["tracking=none", *SMALL]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "pathsynth", *arguments]
    return subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "WANDB_MODE": "offline"}
    )


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    process = start(folder, *arguments)
    output, _ = process.communicate(timeout=280)
    return process.returncode, output


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small_base_folder):
    folder = tmp_path_factory.mktemp("whole")
    code, output = run(folder, "run", f"base.path={small_base_folder}", *SMALL)
    assert code == 0, output
    return folder, small_base_folder


def the_trial(folder: Path, study: str = "runs") -> Path:
    """The first finished trial of a study, by name."""
    states = sorted((folder / "multirun" / study).glob("*/state.json"))
    return next(path.parent for path in states if json.loads(path.read_text())["state"] == "done")


def test_a_trial_leaves_everything_that_was_promised(finished):
    trial = the_trial(finished[0])
    result = read_result(trial / "result.json")
    assert json.loads((trial / "state.json").read_text())["state"] == "done"
    before = result.find("macro_f1", "before filtering", "judge")
    assert before and before.n == 18 and before.low is not None
    assert result.find("accuracy", split="val", scorer="gate")
    assert result.find("accuracy", "before filtering", "colour").n == 18 and result.find("accuracy", split="val", scorer="colour")
    assert result.find("error_correlation", split="val") or "error_correlation" in {m.metric for m in result.missing}
    assert result.find("accuracy", split="test", scorer="gate") is None, "test is scored only when requested"
    groups = [{"name": g.name, "rule": g.rule, "lr": g.lr} for g in result.optimizer]
    assert groups == [{"name": f"unet_{role}", "rule": "muon", "lr": 6e-3} for role in ("down", "up")]
    assert json.loads((trial / "manifest.json").read_text())["optimizer"] == json.loads((trial / "optimizer.json").read_text())
    table = pd.read_parquet(trial / "attempts.parquet")
    assert set(table.groupby(["label", "slot"]).attempt.min()) == {0}
    assert len(table[table.attempt == 0]) == 18
    assert (trial / "adapter" / "pytorch_lora_weights.safetensors").is_file()
    sheets = {p.name for p in (trial / "grids").glob("*.png")}
    assert sheets - {"nearest.png"} == {"real.png", "first_attempts.png", "accepted.png"}
    assert len({path.parent.name for path in (trial / "grids" / "real").glob("*/*.png")}) == 9
    first = table[(table.attempt == 0) & table.image.notna()]
    assert len(first) == 18 and all((trial / image).is_file() for image in first.image), "pages show them, accepted or rejected"
    judged = pd.read_parquet(trial / "judged.parquet").merge(table, on=["class_slug", "slot", "attempt"], suffixes=("_judge", "_gate"))
    assert len(judged) == len(first) + (table.accepted & (table.attempt > 0)).sum()
    first_judged = judged[judged.attempt == 0]
    assert (first_judged.predicted_judge == first_judged.label).mean() == result.find("accuracy", "before filtering", "judge").value
    retried = table[(table.attempt > 0) & ~table.accepted & table.image.notna()]
    assert not any((trial / image).exists() for image in retried.image), "these stay in the store"
    assert (trial / "grids" / "nearest.png").is_file() == bool(table.accepted.any())


def test_a_team_sees_gate_judge_and_trial_each_as_one_run(finished, offline_runs):
    trial = the_trial(finished[0])
    manifest = json.loads((trial / "manifest.json").read_text())
    stages = {stage["name"]: stage["identity"] for stage in manifest["plan"]["stages"]}
    runs = {parts[0].run["job_type"]: parts for parts in offline_runs(trial).values()}
    assert {job: [part.run["run_id"] for part in parts] for job, parts in runs.items()} == {
        "gate": [stages["gate"]],
        "judge": [stages["judge"]],
        "evaluate": [manifest["identity"]],
    }
    own, gate = runs["evaluate"][0], runs["gate"][0]
    assert (own.run["display_name"], own.run["run_group"], own.run["tags"]) == (trial.name, "runs", ["run", "phantom", "tiny", "attention"])
    assert own.config["trainer.max_steps"] == 4 and own.config["stage.gate"] == stages["gate"]
    assert not (trial / "tracked_at.txt").exists(), "an offline run can be seen nowhere"
    assert all(part.of("exit")[0]["exit_code"] == 0 for parts in runs.values() for part in parts)

    overall = [m for m in read_result(trial / "result.json").metrics if m.class_ is None]
    assert overall
    for m in overall:
        key = "/".join(word.replace(" ", "_") for word in (m.split, m.stage, m.scorer, m.metric) if word)
        told = [own.summary.get(f"{key}{end}") for end in ("", "/low", "/high", "/n")]
        assert told == [m.value, m.low, m.high, m.n], key
    assert len(own.table("result")) == len(read_result(trial / "result.json").metrics)
    for matrix, images in {"before_filtering/gate": 18, "before_filtering/judge": 18}.items():
        assert sum(row["nPredictions"] for row in own.table(f"confusion/{matrix}_table")) == images
    assert sum(row["nPredictions"] for row in gate.table("confusion/val_table")) == 18, "the half of val that chose nothing"
    assert [row["validation/step"] for row in own.rows("validation/macro_f1")] == [2, 4]
    assert {row["attempt"] for row in own.table("validation/images")} == {0, 1}
    assert len(own.rows("grids/accepted")) == 1

    adapter, images = own.artifacts["adapter"], own.artifacts["images"]
    assert gate.artifacts["classifier"]["name"] == f"gate-{stages['gate']}"
    assert json.loads(adapter["metadata"])["made_from"] == [f"gate-{stages['gate']}"]
    assert set(json.loads(images["metadata"])["made_from"]) == {f"gate-{stages['gate']}", adapter["name"]}
    files = [entry for artifact in (gate.artifacts["classifier"], adapter, images) for entry in artifact["manifest"]["contents"]]
    assert {"classifier.safetensors", "adapter/pytorch_lora_weights.safetensors", "attempts.parquet"} <= {f["path"] for f in files}
    assert all(Path(entry["local_path"]).is_file() for entry in files), "what is sent later is still in its place"


def test_a_panel_added_to_a_finished_trial_scores_its_images_and_trains_nothing_else(finished):
    folder, base = finished
    judge = ("+classifier@evaluate.judges.small=cs3darknet", "evaluate.judges.small.epochs=1", "evaluate.judges.small.seed=7")
    code, output = run_forked(folder, "run", f"base.path={base}", *UNTRACKED, *judge, "study.name=panel")
    assert code == 0, output
    trial = the_trial(folder, "panel")
    result, alone = read_result(trial / "result.json"), read_result(the_trial(folder) / "result.json")
    for scorer in ("judge_small", "panel_mean", "panel_worst", "panel_majority"):
        found = result.find("accuracy", "before filtering", scorer)
        assert found and found.n == 18, scorer
    assert result.find("accuracy", split="val", scorer="judge_small")
    before = {m for m in alone.metrics if m.scorer == "judge"}
    assert {m for m in result.metrics if m.scorer == "judge"} == before, "what the judge says stays the same"
    plans = [json.loads((place / "manifest.json").read_text())["plan"]["stages"] for place in (the_trial(folder), trial)]
    names = [{stage["identity"] for stage in stages} for stages in plans]
    added = [stage["name"] for stage in plans[1] if stage["identity"] not in names[0]]
    assert added == ["judge_small", "panel", "evaluate"]
    code, output = run_forked(folder, "report", "multirun/panel")
    assert code == 0 and "What several judges say" in (trial / "report.html").read_text(), output


def test_the_report_is_one_page(finished):
    trial = the_trial(finished[0])
    code, output = run_forked(finished[0], "report", str(trial))
    assert code == 0, output
    page = (trial / "report.html").read_text()
    assert "http" not in page.split("<body")[1].split("src=")[1][:20]
    assert "smooth" in page


def test_the_same_command_again_finds_everything_done(finished):
    code, output = run(finished[0], "run", f"base.path={finished[1]}", *SMALL)
    assert (code, "done already" in output) == (0, True)


def test_another_n_evaluates_again_and_trains_nothing(finished, offline_runs):
    folder, base = finished
    first = the_trial(folder)
    before = {p: p.stat().st_mtime_ns for p in (folder / "multirun" / ".stages").glob("*/*/stage.json")}
    code, output = run_forked(folder, "run", f"base.path={base}", *SMALL[:-1], "evaluate.n=1")
    assert code == 0, output
    after = {p: p.stat().st_mtime_ns for p in (folder / "multirun" / ".stages").glob("*/*/stage.json")}
    assert {p.parent.parent.name for p in after.keys() - before.keys()} == {"generate", "reference", "evaluate"}
    assert all(after[p] == stamp for p, stamp in before.items())
    again = [offline_runs(path.parent) for path in (folder / "multirun" / "runs").glob("*/manifest.json") if path.parent != first]
    assert [parts[0].run["job_type"] for runs in again for parts in runs.values()] == ["evaluate"], "a shared gate is logged once"
    assert 'do wandb sync "$run"; done' in output
    results = [read_result(path) for path in (folder / "multirun" / "runs").glob("*/result.json")]
    shared = [(result.timings[stage], result.stages[stage]) for result in results for stage in ("cache", "gate", "judge", "finetune")]
    assert len(results) == 2 and shared[:4] == shared[4:], "what was found there cost what it cost, and is by whoever made it"
    assert all(seconds > 0 and made.device and made.versions["torch"] for seconds, made in shared)


def test_another_acceptance_and_scores_on_the_test_split_train_nothing(finished):
    folder, base = finished
    before = set((folder / "multirun" / ".stages").glob("*/*/stage.json"))
    own = ["gate.test=true", "sampling.threshold=0.2", "sampling.margin=0.01", "sampling.attempts=3", "study.name=stricter"]
    code, output = run_forked(folder, "run", f"base.path={base}", *UNTRACKED, *own)
    assert code == 0, output
    made = {path.parent.parent.name: path.parent for path in set((folder / "multirun" / ".stages").glob("*/*/stage.json")) - before}
    assert set(made) == {"gate_test", "generate", "evaluate"}
    assert {score["split"] for score in json.loads((made["gate_test"] / "scores.json").read_text())} == {"val", "test"}
    confusion = json.loads((made["gate_test"] / "confusion.json").read_text())
    assert {split: len(rows) for split, rows in confusion.items()} == {"val": 9, "test": 9}


def test_a_classifier_that_is_there_is_scored_on_the_test_split_without_training(finished):
    folder, _ = finished
    words = [*SMALL[:3], "classifier.epochs=1", "tracking=none"]
    for study, own, splits in (("plain", [], {"val"}), ("tested", ["classifier.test=true"], {"val", "test"})):
        code, output = run_forked(folder, "classify", *words, *own, f"study.name={study}")
        assert code == 0, output
        assert {score["split"] for score in json.loads((the_trial(folder, study) / "scores.json").read_text())} == splits
    assert len(list((folder / "multirun" / ".stages" / "classifier").glob("*/stage.json"))) == 1


def test_an_adapter_that_trials_share_is_trained_first_and_each_trial_is_one_run(finished, offline_runs):
    folder, base = finished
    words = [f"base.path={base}", *SMALL, "seed=5", "evaluate.n=1,2", "study.name=shared", "study.shared_first=true"]
    code, output = run(folder, "run", "-m", *words)
    assert code == 0, output
    assert "first one job builds what several trials share: finetune" in output
    trials = sorted(path.parent for path in (folder / "multirun" / "shared").glob("*/result.json"))
    assert len(trials) == 2
    adapters = [(trial / "adapter" / "pytorch_lora_weights.safetensors").read_bytes() for trial in trials]
    assert adapters[0] == adapters[1]
    for trial in trials:
        runs = offline_runs(trial)
        assert list(runs) == [json.loads((trial / "manifest.json").read_text())["identity"]]
        (parts,) = runs.values()
        steps = [row["validation/step"] for part in parts for row in part.rows("validation/macro_f1")]
        assert sorted(set(steps)) == [2, 4]
        assert all(part.of("exit")[0]["exit_code"] == 0 for part in parts)
        assert len([row for part in parts for row in part.rows("grids/accepted")]) == 1


def test_generate_draws_what_the_prompt_names(finished):
    folder, base = finished
    words = ["data=phantom", *(w for w in UNTRACKED if w.partition(".")[0] not in ("judge", "evaluate"))]
    code, output = run_forked(folder, "generate", "prompt=pale mucus, please (H&E)", "n=2", f"base.path={base}", *words, "study.name=draw")
    assert code == 0, output
    table = pd.read_parquet(the_trial(folder, "draw") / "attempts.parquet")
    assert set(table.class_slug) == {"mucus"} and set(table.prompt) == {"pale mucus, please (H&E)"}


COLUMNS = ["class_slug", "slot", "attempt", "seed", "accepted", "reason", "image", "sha256"]
SHARDS = {
    "joblib": ([], ["-m", "shard=range(0,3)", "shards=3", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], 3),
    "torchrun": (["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"], [], 2),
}


def ledger(place: Path) -> pd.DataFrame:
    return pd.read_parquet(place / "attempts.parquet")[COLUMNS].sort_values(["class_slug", "slot", "attempt"]).reset_index(drop=True)


@pytest.mark.parametrize("launcher", ["torchrun", pytest.param("joblib", marks=pytest.mark.thorough)])
def test_shards_make_the_set_of_one_process(finished, launcher):
    folder, base = finished
    words = [w for w in UNTRACKED if w.partition(".")[0] not in ("judge", "evaluate")]
    words = ["data=phantom", *words, f"base.path={base}", "labels=all", "n=2", "sampling.deterministic=true"]
    code, output = run_forked(folder, "generate", *words, "study.name=whole")
    assert code == 0, output
    starter, share, shards = SHARDS[launcher]
    command = [sys.executable, "-m", *starter, "pathsynth", "generate", *words, *share, f"study.name={launcher}"]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280)
    assert process.returncode == 0, process.stdout + process.stderr
    joined = folder / f"joined_{launcher}"
    code, output = run_forked(folder, "join", f"multirun/{launcher}", joined.name)
    assert code == 0 and f"joined {shards} shards" in output, output
    one, parts = ledger(the_trial(folder, "whole")), ledger(joined)
    kept = one.image.str.startswith("images/").fillna(False)
    assert one.drop(columns="image").equals(parts.drop(columns="image")) and len(one) >= 18
    assert kept.any(), "the gate takes some class for the requested one"
    assert {p.relative_to(joined).as_posix() for p in joined.rglob("*.png")} == set(one.image[kept])
    metadata = (joined / "images" / "metadata.jsonl").read_text().splitlines()
    assert len(metadata) == kept.sum()


def test_any_candidate_is_drawn_again(finished):
    folder, _ = finished
    trial = the_trial(folder)
    table = pd.read_parquet(trial / "attempts.parquet")
    rejected = table[~table.accepted].iloc[0]
    name = f"{rejected.class_slug}-{rejected.slot:05d}-{rejected.attempt}"
    code, output = run_forked(folder, "replay", str(trial), name, "--save", "again.png")
    assert (code, output.splitlines()[-1]) == (0, "the same pixels"), output
    with Image.open(folder / "again.png") as image:
        assert hashlib.sha256(image.tobytes()).hexdigest() == rejected.sha256
    shutil.copytree(trial, trial.with_name("changed"))
    image = next((trial.with_name("changed") / "images").rglob("*.png"))
    assert run_forked(folder, "replay", str(image))[0] == 0
    with Image.open(image) as picture:
        red, green, blue = picture.getpixel((0, 0))
        picture.putpixel((0, 0), (red ^ 4, green, blue))
        picture.save(image)
    code, output = run_forked(folder, "replay", str(image))
    known = "the same pixels as when it was first drawn, but"
    assert (code, output.splitlines()[-1]) == (
        1,
        f"{known} {image} has other pixels than were drawn: 1 of 3072 values differ, by 4 of 255 at most",
    )
    table["seed"] += 1
    table.to_parquet(trial.with_name("changed") / "attempts.parquet", index=False)
    code, output = run_forked(folder, "replay", str(trial.with_name("changed")), name)
    shutil.rmtree(trial.with_name("changed"))
    assert code == 1 and "not the same pixels" in output and "values differ, by" in output


def generate(folder: Path, base: Path, study: str, *sampling: str) -> tuple[Path, pd.DataFrame, str]:
    """A generation of few images that nearly nothing is accepted of: its trial, its ledger, and what it said."""
    words = [w for w in UNTRACKED if w.partition(".")[0] not in ("judge", "evaluate") and w.partition("=")[0] != "sampling.steps"]
    own = ["sampling.steps=4", "sampling.attempts=3", "sampling.deterministic=true", *sampling]
    code, output = run_forked(folder, "generate", "data=phantom", "n=3", f"base.path={base}", *words, *own, f"study.name={study}")
    assert code == 0, output
    trial = the_trial(folder, study)
    return trial, pd.read_parquet(trial / "attempts.parquet"), output


def replayed(folder: Path, trial: Path, row: pd.Series) -> str:
    _, output = run_forked(folder, "replay", str(trial), f"{row.class_slug}-{row.slot:05d}-{row.attempt}")
    return output.splitlines()[-1]


def test_a_revised_candidate_is_drawn_again_with_all_that_it_revises(finished):
    folder, base = finished
    trial, table, _ = generate(folder, base, "again", "sampling.image_to_image=0.5", "sampling.reject_copies=true")
    assert set(table[table.attempt == 0].strategy) == {"fresh"} and set(table[table.attempt > 0].strategy) == {"image_to_image"}
    assert set(zip(table.strategy, table.denoiser_calls, strict=True)) == {("fresh", 8), ("image_to_image", 4)}
    assert replayed(folder, trial, table[table.attempt == 2].iloc[0]) == "the same pixels"


def test_a_hopeless_candidate_is_given_up_and_drawn_again_as_far_as_it_came(finished):
    folder, base = finished
    early = ("sampling.early_rejection.after_step=2", "sampling.early_rejection.n=4")
    trial, table, output = generate(folder, base, "early", *early, "sampling.threshold=0.01")
    assert "early rejection: after 2 of 4 steps" in output
    fitted, stopped = json.loads((trial / "early_rejection.json").read_text()), table[table.stopped_at.notna()]
    assert (fitted["candidates"], fitted["after"]) == (18, 2) and fitted["probability"] > 0
    assert (set(stopped.reason), set(stopped.denoiser_calls)) == ({"hopeless after 2 steps"}, {4})
    assert stopped.probability.max() < fitted["probability"] <= table[table.stopped_at.isna() & table.accepted].probability.max()
    assert replayed(folder, trial, stopped.iloc[-1]) == "the same pixels"


def test_an_exported_set_draws_the_same_images_without_training(finished):
    folder, base = finished
    sampling = [w for w in UNTRACKED if w.startswith("sampling.")]
    code, output = run_forked(folder, "export", str(the_trial(folder)), "ready", "--ready")
    assert code == 0, output
    sampling += ["sampling.guidance=3"]  # as the trial of the set drew
    own = ["data.size=32", "data.root=ready", f"base.path={base}", *sampling]
    code, output = run_forked(folder, "generate", "label=mucus", "n=2", *own, "study.name=ready")
    assert code == 0 and ("takes" in output or "judge: nothing was accepted" in output), output
    assert (the_trial(folder, "ready") / "judged.parquet").is_file() == ("takes" in output)
    words = [w for w in UNTRACKED if w.partition(".")[0] not in ("judge", "evaluate")]
    code, output = run_forked(folder, "generate", "data=phantom", "label=mucus", "n=2", f"base.path={base}", *words, "study.name=trained")
    assert code == 0, output
    first, second = (pd.read_parquet(the_trial(folder, name) / "attempts.parquet") for name in ("ready", "trained"))
    assert first.drop(columns=["image"]).equals(second.drop(columns=["image"]))
    code, output = run_forked(folder, "run", "data=ready", "data.size=32", "data.root=ready", f"base.path={base}")
    assert code == 2 and "only generate can use it" in output
    shutil.copytree(base, folder / "other")
    (folder / "other" / "model_index.json").write_text((base / "model_index.json").read_text() + "\n")
    code, output = run_forked(folder, "generate", *own[:2], f"base.path={folder / 'other'}", *sampling)
    assert code == 2 and "belongs to base" in output


def test_kill_of_one_trial_leaves_the_others_and_nothing_half_written(finished):
    folder, base = finished
    words = [w for w in UNTRACKED if not w.startswith(("trainer.max_steps", "callbacks.regeneration.every"))]
    process = start(folder, "run", "-m", f"base.path={base}", *words, "trainer.max_steps=40", "lora.rank=1,2", "study.name=kill")
    deadline = time.monotonic() + 120
    victim = None
    while victim is None and time.monotonic() < deadline and process.poll() is None:
        for state in (folder / "multirun" / "kill").glob("*/state.json"):
            record = json.loads(state.read_text())
            if record["state"] == "running" and record["stage"] == "finetune":
                victim = record["pid"]
        time.sleep(0.05)
    assert victim, "no trial reached its fine-tuning"
    os.kill(victim, signal.SIGKILL)
    output, _ = process.communicate(timeout=200)
    states = sorted(json.loads(p.read_text())["state"] for p in (folder / "multirun" / "kill").glob("*/state.json"))
    assert (process.returncode, states) == (1, ["done", "failed"]), output
    stages = [p for p in (folder / "multirun" / ".stages").glob("*/*") if p.is_dir() and p.suffix not in (".partial", ".lease")]
    assert all((p / "stage.json").is_file() for p in stages)
    code, output = run(folder, "run", "-m", f"base.path={base}", *words, "trainer.max_steps=40", "lora.rank=1,2", "study.name=kill")
    assert (code, "1 done already" in output) == (0, True), output
    assert not list((folder / "multirun" / ".stages").glob("*/*.partial"))


def test_an_adapter_card_that_was_changed_in_the_store_is_made_again(finished):
    folder, base = finished
    cards = {path: path.read_text() for path in (folder / "multirun" / ".stages" / "finetune").glob("*/adapter/adapter.json")}
    assert cards
    for path, whole in cards.items():
        path.chmod(0o644)
        path.write_text(whole.replace(json.loads(whole)["base"], "another-base"))
    code, output = run_forked(folder, "run", f"base.path={base}", *UNTRACKED[:-1], "evaluate.n=3")
    assert code == 0, output
    assert "adapter/adapter.json was changed; it is built again" in output
    assert any(path.read_text() == whole for path, whole in cards.items())


def test_a_truncated_cache_is_built_again(finished):
    folder, base = finished
    (cache,) = (folder / "multirun" / ".stages" / "cache").glob("*/cache.safetensors")
    whole = cache.read_bytes()
    cache.chmod(0o644)
    cache.write_bytes(whole[: len(whole) // 2])
    words = [w for w in UNTRACKED if w.partition(".")[0] not in ("judge", "evaluate")]
    code, output = run_forked(folder, "finetune", f"base.path={base}", *words, "lora.rank=3", "study.name=damage")
    assert code == 0, output
    assert "cache.safetensors was changed; it is built again" in output
    assert cache.stat().st_size == len(whole)


def test_an_image_of_a_trial_that_was_changed_in_place_leaves_the_store_as_it_is(finished):
    folder, _ = finished
    trial = the_trial(folder)
    image = next((trial / "images").glob("*/*.png"))
    paths = list((folder / "multirun" / ".stages" / "generate").glob(f"*/images/{image.parent.name}/{image.name}"))
    whole, stored = image.read_bytes(), [path.read_bytes() for path in paths]
    assert whole in stored
    image.write_bytes(b"altered")
    try:
        assert [path.read_bytes() for path in paths] == stored
    finally:
        image.write_bytes(whole)


def test_a_rerun_comes_to_the_same_bits(finished):
    folder, _ = finished
    code, output = run(folder, "rerun", str(the_trial(folder)), "--into", "again")
    assert code == 0, output
    for told in ("adapter/pytorch_lora_weights.safetensors", "adapter/adapter.json", "attempts.parquet", "metrics", "confusion matrices"):
        lines = [line.split() for line in output.splitlines() if line.startswith(told)]
        assert any("same" in words for words in lines), output


def test_a_training_that_a_search_prunes_goes_on_to_the_same_adapter(finished):
    folder, base = finished
    pruner = "hydra.sweeper.pruner={_target_: optuna.pruners.ThresholdPruner, lower: 2.0}"  # no score is so high
    search = ["hydra/sweeper=optuna", "-m", "lora.rank=16,32", "hydra.sweeper.n_trials=1", "hydra.sweeper.sampler=random", pruner]
    code, output = run_forked(folder, "run", f"base.path={base}", *UNTRACKED, "study.name=pruned", *search)
    assert code == 0, output
    (trial,) = (path.parent for path in (folder / "multirun" / "pruned").glob("*/state.json"))
    state = json.loads((trial / "state.json").read_text())
    assert (state["state"], state["reason"], state["stage"]) == ("pruned", "pruned at step 2", "finetune"), output
    assert "search trial 0 pruned at step 2" in output and "1 pruned" in output
    rank = json.loads((trial / "manifest.json").read_text())["config"]["lora"]["rank"]
    for place in ("multirun=elsewhere", "multirun=multirun"):
        code, output = run_forked(folder, "run", f"base.path={base}", *UNTRACKED, "study.name=pruned", f"lora.rank={rank}", place)
        assert code == 0, output
    weights = "adapter/pytorch_lora_weights.safetensors"
    (undisturbed,) = (folder / "elsewhere" / "pruned").glob(f"*/{weights}")
    gone_on, whole = load_file(trial / weights), load_file(undisturbed)
    assert gone_on.keys() == whole.keys() and all(np.array_equal(gone_on[name], whole[name]) for name in whole)
