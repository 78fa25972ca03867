from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from pathsynth.config import from_hydra
from pathsynth.config.shipped import conf_folder
from pathsynth.ledger.errors import RequestError
from pathsynth.report.collect import collect_trials, flat_settings


def test_study_in_natural_order_with_only_what_differs(study: Path) -> None:
    trials = collect_trials(study)
    assert [t.differing for t in trials] == [("lora.rank=4",), ("lora.rank=16",), ("lora.rank=64",)]
    assert [t.state for t in trials] == ["done", "done", "failed"]
    assert [t.label for t in trials] == ["lora.rank=4", "lora.rank=16", "lora.rank=64"]


def test_main_scores_come_from_their_own_column(study: Path) -> None:
    trial = collect_trials(study)[0]
    found = [(m.metric, m.stage, m.scorer, m.class_) for m in (trial.f1_gate, trial.f1_judge, trial.acceptance, trial.accepted_judge) if m]
    assert found == [
        ("macro_f1", "before filtering", "gate", None),
        ("macro_f1", "before filtering", "judge", None),
        ("acceptance", "before filtering", "gate", None),
        ("accuracy", "after filtering", "judge", None),
    ]


def test_unfinished_trial_has_a_reason_and_no_scores(study: Path) -> None:
    failed = collect_trials(study)[2]
    assert not failed.finished
    assert failed.problem == "the loss became nan"
    assert failed.f1_gate is None and failed.accepted_judge is None


def test_a_damaged_result_spoils_only_its_own_trial(study: Path) -> None:
    (study / "a-16" / "result.json").write_text("{")
    states = {t.folder.name: t.state for t in collect_trials(study)}
    assert states == {"a-16": "unreadable", "b-4": "done", "c-64": "failed"}


def test_a_damaged_manifest_spoils_only_its_own_trial(study: Path) -> None:
    (study / "c-64" / "manifest.json").write_text("not json")
    states = {t.folder.name: t.state for t in collect_trials(study)}
    assert states == {"a-16": "done", "b-4": "done", "c-64": "unreadable"}


def test_a_trial_whose_process_is_gone_is_not_running(study: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (study / "c-64" / "state.json").write_text(json.dumps({"state": "running", "pid": gone.pid}))
    assert collect_trials(study)[2].state == "interrupted"


def test_setting_that_one_trial_lacks_counts_as_null(study: Path) -> None:
    manifest = study / "a-16" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["config"]["lora"] |= {"alpha": 32, "rank": 4}
    manifest.write_text(json.dumps(content))
    content = json.loads((study / "b-4" / "manifest.json").read_text())
    del content["config"]["lora"]["alpha"]
    (study / "b-4" / "manifest.json").write_text(json.dumps(content))
    found = {t.folder.name: t.differing[0] for t in collect_trials(study)}
    assert found == {"a-16": "lora.alpha=32", "b-4": "lora.alpha=null", "c-64": "lora.alpha=null"}


def test_trial_folder_gives_its_one_trial(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    (trial,) = collect_trials(make_trial(tmp_path / "alone", name="only one"))
    assert (trial.name, trial.study, trial.differing, trial.label) == ("only one", "rank", (), "only one")


def test_settings_without_effect_do_not_tell_trials_apart(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("x", "y"):
        manifest = make_trial(tmp_path / name, name=name) / "manifest.json"
        content = json.loads(manifest.read_text())
        content["config"] |= {"multirun": name, "tracking": {"name": name}}
        content["config"]["seed"] = {"x": 1, "y": 2}[name]
        manifest.write_text(json.dumps(content))
    assert [t.differing for t in collect_trials(tmp_path)] == [("seed=1",), ("seed=2",)]


def test_names_of_an_earlier_version_do_not_tell_trials_apart(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    trainer = {"max_steps": 300, "warmup_steps": 5}
    cosine = {"_target_": "pathsynth.training.schedules.cosine", "steps": 300, "warmup_steps": 5, "restart_steps": None}
    regeneration = {"_target_": "pathsynth.training.regeneration.RegenerationCallback", "every": 9, "n": 2}
    forms = {
        "earlier": {"trainer": {**trainer, "schedule": "cosine"}, "validation": {"every": 9, "n": 2}, "seed": 1},
        "now": {
            "trainer": {"_target_": "pytorch_lightning.Trainer", "max_steps": 300},
            "training": {"warmup_steps": 5},
            "schedule": cosine,
            "finetune": {"_target_": "pathsynth.training.lora_module.LoraFinetuning"},
            "callbacks": {"regeneration": regeneration},
            "seed": 2,
        },
    }
    for name, form in forms.items():
        manifest = make_trial(tmp_path / name, name=name) / "manifest.json"
        content = json.loads(manifest.read_text())
        others = {key: value for key, value in content["config"].items() if key != "training"}
        manifest.write_text(json.dumps({**content, "config": {**others, **form}}))
    assert [t.differing for t in collect_trials(tmp_path)] == [("seed=1",), ("seed=2",)]


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_no_trial_is_one_line_that_names_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match=re.escape(str(tmp_path / name))) as error:
        collect_trials(tmp_path / name)
    assert "\n" not in str(error.value)


def test_settings_read_as_typed() -> None:
    settings = {"a": {"b": None, "c": True, "d": [1, "x"]}, "e": 0.5, "f": 1, "g": 0}
    assert flat_settings(settings) == {"a.b": "null", "a.c": "true", "a.d": "1,x", "e": "0.5", "f": "1", "g": "0"}


def test_timesteps_that_the_base_does_not_state_are_among_the_settings(study: Path) -> None:
    manifest = study / "a-16" / "manifest.json"
    content = json.loads(manifest.read_text())
    drawn = {"name": "generate", "settings": {"scheduler_settings": {"timestep_spacing": "trailing"}}}
    content["plan"] = {"stages": [{"name": "cache", "settings": {}}, drawn]}
    manifest.write_text(json.dumps(content))
    found = {t.folder.name: t.settings.get("sampling.scheduler_settings.timestep_spacing") for t in collect_trials(study)}
    assert found == {"a-16": "trailing", "b-4": None, "c-64": None}
    for damaged in ("none", {"stages": "none"}, {"stages": [None, {"name": "generate"}]}):
        manifest.write_text(json.dumps({**content, "plan": damaged}))
        assert all(t.state != "unreadable" for t in collect_trials(study))


def test_a_setting_that_earlier_trials_did_not_have_counts_as_its_default(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    """Else a study that goes on in a later version is split by a key that nobody chose."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        settings = from_hydra(compose("run", ["tracking=none"])).model_dump(mode="json", exclude_none=True)
    for name, rank, seed in (("earlier", 4, 0), ("later", 4, 1), ("other", 16, 0)):
        manifest = make_trial(tmp_path / "study" / name) / "manifest.json"
        config = {**settings, "seed": seed, "lora": {**settings["lora"], "rank": rank}}
        if name == "earlier":
            config["data"] = {key: value for key, value in config["data"].items() if key not in ("allow_fewer", "symmetry")}
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "config": config}))
    assert settings["data"]["allow_fewer"] is False
    assert [t.label for t in collect_trials(tmp_path / "study")] == ["lora.rank=4, seed=0", "lora.rank=4, seed=1", "lora.rank=16, seed=0"]
