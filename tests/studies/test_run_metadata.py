from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from pathsynth.config import RunConfig, from_hydra
from pathsynth.config.shipped import conf_folder
from pathsynth.stages.plan import Plan, plan
from pathsynth.stages.stage import StagePlan
from pathsynth.studies.trials.run_metadata import artifact_metadata, artifact_names, classifier_metadata, trial_metadata
from pathsynth.tracking.loggers import GLOBAL_STEP, VALIDATION_STEP


def planned(command: str, *overrides: str) -> tuple[RunConfig, Plan]:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = from_hydra(compose(command, ["study.name=ours", *overrides]))
    return config, plan(config)


def stage(made: Plan, name: str) -> StagePlan:
    return next(s for s in made.stages if s.name == name)


def test_the_card_of_a_trial_tells_what_it_is_and_how_to_find_it():
    config, made = planned("run", "lora.rank=4", "lora.targets=attention", "optimizer.lr=2e-3")
    card = trial_metadata(config, made, "rank=4-abcdef")
    assert (card.identity, card.name, card.group) == (made.identity, "rank=4-abcdef", "ours")
    assert card.tags == ("run", "phantom", "tiny", "attention")
    assert (card.config["lora.rank"], card.config["optimizer.lr"]) == (4, 2e-3)
    assert card.config["stage.gate"] == stage(made, "gate").identity
    assert not any(isinstance(value, dict) for value in card.config.values())
    assert not any(key.startswith(("tracking", "multirun")) for key in card.config)
    assert card.curves["finetune/*"] == GLOBAL_STEP
    assert card.best == {"validation/macro_f1": VALIDATION_STEP}


@pytest.mark.parametrize(
    "command, job_type",
    [("run", "evaluate"), ("evaluate", "evaluate"), ("finetune", "finetune"), ("generate", "generate"), ("pretrain", "pretrain")],
)
def test_job_types(command, job_type):
    config, made = planned(command)
    assert trial_metadata(config, made, "x").job_type == job_type


def test_trials_that_share_a_gate_share_its_run():
    cards = []
    for rank in (1, 16):
        config, made = planned("run", f"lora.rank={rank}")
        assert config.gate
        cards.append(classifier_metadata(config, stage(made, "gate"), config.gate))
    assert cards[0] == cards[1]
    assert (cards[0].job_type, cards[0].name) == ("gate", f"gate resnet18 {cards[0].identity[:6]}")
    assert cards[0].tags == ("run", "phantom", "resnet18")
    assert cards[0].config["epochs"] == 6 and cards[0].config["data.name"] == "phantom"
    assert cards[0].best == {"resnet18/macro_f1": GLOBAL_STEP}


def test_a_card_names_no_place_on_this_disk(tmp_path):
    (tmp_path / "groups.csv").write_text("file,group\n")
    (tmp_path / "adapter").mkdir()
    config, made = planned("run", "+callbacks.keep._target_=a.B", f"+callbacks.keep.files=[{tmp_path}/one,two]")
    assert config.data and config.gate and config.lora
    data = config.data.model_copy(update={"root": f"{tmp_path}/images", "group": f"csv:{tmp_path}/groups.csv"})
    lora = config.lora.model_copy(update={"start": f"{tmp_path}/adapter"})
    config = config.model_copy(update={"data": data, "lora": lora})
    card = trial_metadata(config, made, "x")
    assert (card.config["data.root"], card.config["data.group"], card.config["lora.start"]) == ("…/images", "csv:…/groups.csv", "…/adapter")
    assert card.config["callbacks.keep.files"] == ["…/one", "two"]
    adapter = artifact_metadata(stage(made, "finetune"), tmp_path)
    assert adapter
    for shown in (card.config, classifier_metadata(config, stage(made, "gate"), config.gate).config, adapter.lineage):
        assert str(tmp_path) not in str(shown)


def test_long_words_fit_into_a_tag():
    config, made = planned("run")
    assert config.base
    config = config.model_copy(update={"base": config.base.model_copy(update={"name": "x" * 90})})
    assert all(0 < len(tag) <= 64 for tag in trial_metadata(config, made, "x").tags)


def test_artifacts_are_named_by_identity_and_tell_their_parents():
    _, made = planned("run")
    names = {s.name: artifact_names({s.name: s.identity}) for s in made.stages}
    assert names["cache"] == names["evaluate"] == []
    adapter = artifact_metadata(stage(made, "finetune"), Path("f"))
    images = artifact_metadata(stage(made, "generate"), Path("g"))
    assert adapter and images
    assert [adapter.name] == names["finetune"] and adapter.kind == "adapter"
    assert adapter.lineage["made_from"] == names["gate"]
    assert sorted(images.lineage["made_from"]) == sorted([*names["finetune"], *names["gate"]])
    assert images.kind == "images"
    gate = artifact_metadata(stage(made, "gate"), Path("h"))
    assert gate and gate.kind == "classifier" and gate.name == f"gate-{stage(made, 'gate').identity}"
    assert artifact_metadata(stage(made, "cache"), Path("c")) is None
