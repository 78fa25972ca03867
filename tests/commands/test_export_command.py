"""`pathsynth export`: what lies in the folder, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from pathsynth.__main__ import dispatch
from pathsynth.ledger.adapters import AdapterCard, read_card
from pathsynth.ledger.records import Result, write_result
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.report.adapter_card import adapter_card
from pathsynth.report.collect import collect_trials
from tests.metric_records import first_attempts_metric


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    folder = tmp_path / "multirun" / "s" / "rank=4-abcdef"
    (folder / "adapter").mkdir(parents=True)
    config = {"base": {"name": "tiny"}, "lora": {"rank": 4, "alpha": None, "targets": "attention"}, "data": {"name": "phantom"}}
    (folder / "manifest.json").write_text(json.dumps({"name": "rank=4 <b>", "config": config}))
    (folder / "state.json").write_text(json.dumps({"state": "done"}))
    classes, prompts = ("mucus", "debris"), ("pale <i>mucus</i>", "debris")
    made = AdapterCard("b45e", "tissue", classes, "phantom", 4, 8, ("to_q", "to_v"), 0, 3, 6, rslora=True, prompts=prompts, version="0.1")
    (folder / "adapter" / "adapter.json").write_text(json.dumps(asdict(made)))
    (folder / "adapter" / "pytorch_lora_weights.safetensors").write_bytes(b"weights")
    f1 = first_attempts_metric(value=0.5, low=0.4, high=0.6, data="phantom 32 px")
    write_result(folder / "result.json", Result("x", {}, config, (f1,), ()))
    return folder


def test_the_folder_holds_adapter_card_and_scores(trial, tmp_path, capsys):
    assert dispatch(["export", str(trial), str(tmp_path / "out" / "mine")]) == 0
    made = tmp_path / "out" / "mine"
    assert {p.name for p in made.iterdir()} == {"adapter.json", "pytorch_lora_weights.safetensors", "result.json", "README.md"}
    assert [p.name for p in made.parent.iterdir()] == ["mine"]
    card = (made / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: diffusers\n")
    assert 'pipe.load_lora_weights("mine")' in card and "`b45e`" in card and "| rank | 4 |" in card
    assert "| kind | LoRA, rsLoRA |" in card and r"| targets | to\_q, to\_v |" in card and "| step | 3 of 6 |" in card
    assert "| debris | debris |" in card and "<i>" not in card
    assert "| macro-F1 | 0.500 [0.400, 0.600] n=90 |" in card
    assert "Not for diagnosis" in card and "<b>" not in card
    assert capsys.readouterr().out.splitlines()[-1] == f"exported to {made}; README.md says how to load it"


def test_scores_come_along_without_places_on_this_disk_and_with_a_secret_not_at_all(trial, tmp_path, capsys):
    result = json.loads((trial / "result.json").read_text())
    result["settings"]["data"]["root"] = str(tmp_path / "private" / "images")
    (trial / "result.json").write_text(json.dumps(result))
    assert dispatch(["export", str(trial), str(tmp_path / "mine")]) == 0
    told = (tmp_path / "mine" / "result.json").read_text()
    assert json.loads(told)["settings"]["data"]["root"] == "…/images" and str(tmp_path) not in told
    result["settings"]["data"]["root"] = "https://me:secret@example.org/images"
    (trial / "result.json").write_text(json.dumps(result))
    assert dispatch(["export", str(trial), str(tmp_path / "other")]) == 2
    assert "looks like a secret" in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_the_card_says_whether_the_gate_chose_the_step_and_how_a_ready_set_was_sampled(trial):
    manifest = json.loads((trial / "manifest.json").read_text())
    manifest["config"] |= {"validation": {"every": 100}, "sampling": {"steps": 10, "guidance": 3.0}}
    (trial / "manifest.json").write_text(json.dumps(manifest))
    (summary,), made = collect_trials(trial), read_card(trial / "adapter")
    card = adapter_card(summary, made, "mine", ready=True)
    assert "The gate also chose this adapter" in card
    asked = "sampling.steps=10 sampling.scheduler=null sampling.guidance=3.0 sampling.guidance_rescale=0.0"
    assert f"data=ready data.root=mine data.size= {asked} n=4" in card
    del manifest["config"]["validation"]  # its name in an earlier version
    manifest["config"] |= {"callbacks": {"regeneration": {"every": 0}}}
    (trial / "manifest.json").write_text(json.dumps(manifest))
    (summary,) = collect_trials(trial)
    card = adapter_card(summary, made, "mine")
    assert "which no classifier chose" in card and "also chose" not in card


def test_an_adapter_that_was_not_evaluated_says_so(trial, tmp_path):
    (trial / "result.json").unlink()
    assert dispatch(["export", str(trial), str(tmp_path / "mine")]) == 0
    assert "It was not evaluated." in (tmp_path / "mine" / "README.md").read_text()


def test_nothing_is_overwritten_and_what_has_no_adapter_is_refused(trial, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    assert dispatch(["export", str(trial), str(tmp_path / "mine")]) == 2
    assert "not overwritten" in capsys.readouterr().err
    (trial / "adapter" / "adapter.json").write_text("{")
    assert dispatch(["export", str(trial), str(tmp_path / "other")]) == 2
    assert "is not an adapter card" in capsys.readouterr().err
    (trial / "adapter" / "adapter.json").unlink()
    assert dispatch(["export", str(trial), str(tmp_path / "other")]) == 2
    assert "no adapter in" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_fused_and_ready_do_not_go_together_and_a_damaged_manifest_is_reported(trial, tmp_path, capsys):
    assert dispatch(["export", str(trial), str(tmp_path / "mine"), "--fuse", "--ready"]) == 2
    assert "choose one of them" in capsys.readouterr().err
    for kind in ("--fuse", "--ready"):
        assert dispatch(["export", str(trial), str(tmp_path / "mine"), kind]) == 2
        assert f"the manifest of {trial} cannot be read" in capsys.readouterr().err
        assert not (tmp_path / "mine").exists()


def test_an_adapter_that_was_changed_since_its_stage_made_it_is_not_exported(trial, tmp_path, capsys):
    """By its length or within it; without its stage nothing is known of it."""
    store, weights = StageStore(trial.parents[1] / STAGES), trial / "adapter" / "pytorch_lora_weights.safetensors"
    stage = store.build("finetune", "0123456789ab", {}, lambda folder: shutil.copytree(trial / "adapter", folder / "adapter") and None)
    manifest = json.loads((trial / "manifest.json").read_text())
    manifest["plan"] = {"stages": [{"name": "finetune", "identity": "0123456789ab"}]}
    (trial / "manifest.json").write_text(json.dumps(manifest))
    assert dispatch(["export", str(trial), str(tmp_path / "whole")]) == 0
    for content in (b"Weights", b"weig"):
        weights.write_bytes(content)
        capsys.readouterr()
        assert dispatch(["export", str(trial), str(tmp_path / "mine")]) == 2
        told = (
            f"pathsynth: {weights} has changed since it was written; run the trial again with study.force=true, "
            "which copies it from the store"
        )
        assert capsys.readouterr().err == f"{told}\n"
        assert not (tmp_path / "mine").exists()
    (stage / "stage.json").unlink()
    assert dispatch(["export", str(trial), str(tmp_path / "mine")]) == 0


@pytest.mark.parametrize(("harm", "status", "told"), [("fill", 1, "No space left"), ("make_read_only", 2, "Read-only file system")])
def test_a_folder_that_cannot_be_written_leaves_nothing(trial, tmp_path, small_disk, capsys, harm, status, told):
    disk = small_disk(tmp_path / "disk")
    getattr(disk, harm)()
    assert dispatch(["export", str(trial), str(disk.place / "mine")]) == status
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and told in line
    assert [path.name for path in disk.place.iterdir() if path.name != "filler"] == []
