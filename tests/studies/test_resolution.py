"""What a request resolved to is said before it is carried out."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir

from pathsynth.commands.quoting import quote_free_text
from pathsynth.config import from_hydra
from pathsynth.config.shipped import conf_folder
from pathsynth.ledger.errors import RequestError
from pathsynth.stages.plan import plan
from pathsynth.studies.planning.resolution import resolution, shared_lines


def resolved(command: str, *overrides: str) -> dict[str, str]:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = from_hydra(compose(command, quote_free_text(list(overrides), False)))
    return dict(line.split(maxsplit=1) for line in resolution(config, plan(config)))


def test_a_run_says_its_splits_prompts_base_and_the_rule_of_each_group(tmp_path):
    lines = resolved("run", "data.n_train=36", "data.n_val=18", "data.n_test=27", "evaluate.n=5", f"multirun={tmp_path}")
    assert lines["data"] == "phantom 32 px: 36 train, 18 val, 27 test"
    assert lines["prompts"] == "5 images of each of 9 classes, canonical prompts"
    assert "tiny (" in lines["base"]
    assert lines["optimizer"].startswith("Muon on unet_down at ")
    assert lines["stages"].startswith("to make cache, gate, judge, finetune")


@pytest.mark.slow
def test_counts_that_may_be_fewer_are_said_to_be_limits(tmp_path):
    official = ["data=medmnist", "data.flag=breastmnist", "data.download=true", f"data.root={tmp_path}"]
    official += ["data.n_train=1000", "data.n_val=9"]
    assert resolved("run", *official, "data.allow_fewer=true")["data"].endswith(": at most 1000 train, at most 9 val, all test")
    with pytest.raises(RequestError, match="BreastMNIST has 546 train images, not 1,000; lower data.n_train"):
        resolved("run", *official)
    assert list(tmp_path.iterdir()) == [], "nothing was downloaded for it"


def test_groups_have_their_own_rates_and_muon_hands_vectors_on():
    wide = ["lora.text_encoder=true", "+optimizer.group_lr.unet_up=0.5"]
    assert "unet_up at 0.5, text_encoder_down at " in resolved("run", *wide)["optimizer"]
    dora = ["lora.dora=true", "lora.targets=attention"]
    assert resolved("run", *dora)["optimizer"].endswith("; AdamW on unet_magnitude")
    assert resolved("run", *dora, "optimizer=adamw")["optimizer"].startswith("AdamW on unet_down at ")
    assert "unet_magnitude at " in resolved("run", *dora, "optimizer=adamw")["optimizer"]


def test_the_class_of_a_prompt_is_said_and_no_optimizer_where_nothing_is_trained():
    lines = resolved("generate", "prompt=pale mucus with faint streaks", "n=3")
    assert lines["prompts"] == "3 of each: mucus “pale mucus with faint streaks”"
    assert "optimizer" not in lines


def test_stages_that_are_there_are_reused(tmp_path):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = from_hydra(compose("finetune", [f"multirun={tmp_path}"]))
    made = plan(config)
    gate = next(stage for stage in made.stages if stage.name == "gate")
    folder = tmp_path / ".stages" / "gate" / gate.identity
    folder.mkdir(parents=True)
    (folder / "stage.json").write_text("{}")
    assert resolution(config, made)[-1].split(maxsplit=1)[1] == "reused gate; to make cache, finetune"


def test_of_several_requests_what_they_share_is_said():
    assert shared_lines([("a", "b", "c"), ("c", "x", "a")]) == ["a", "c"]
