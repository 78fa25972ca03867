from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from pydantic import ValidationError

from pathsynth.config import SamplingConfig, TrackingConfig, from_hydra, parse_config
from pathsynth.config.groups import require_group
from pathsynth.config.shipped import conf_folder
from pathsynth.ledger.errors import RequestError

CLASSIFIER = {
    "architecture": "resnet18",
    "stem": "small",
    "part": "a",
    "pretrained": False,
    "epochs": 2,
    "batch_size": 64,
    "lr": 1e-3,
    "weight_decay": 0.01,
    "augment_d4": True,
    "augment_stain": True,
    "patience": 2,
    "seed": 1,
}
VALUES: dict[str, Any] = {
    "command": "run",
    "seed": 3,
    "multirun": "multirun",
    "study": {"name": "demo"},
    "tracking": {},
    "trainer": {"max_steps": 10, "precision": "32-true", "gradient_clip_val": 1.0},
    "training": {"batch_size": 8, "warmup_steps": 0, "ema_decay": 0.0},
    "data": {"name": "phantom", "size": 32, "seed": 0, "n_train": 20, "n_val": 10, "n_test": 10},
    "base": {"name": "tiny"},
    "gate": CLASSIFIER,
    "judge": {**CLASSIFIER, "part": "b"},
    "lora": {"rank": 8, "alpha": None, "dropout": 0.0, "targets": "attention"},
    "optimizer": {"_target_": "torch.optim.AdamW", "lr": 1e-4},
    "objective": {"min_snr_gamma": None, "noise_offset": 0.0, "caption_dropout": 0.1, "paraphrases": True, "augment": True},
    "callbacks": {"regeneration": {"_target_": "pathsynth.training.regeneration.RegenerationCallback", "every": 0, "n": 1}},
    "sampling": {"steps": 10, "guidance": 3.0, "batch_size": 16, "seed": 0, "attempts": 4, "threshold": 0.0},
    "generate": {"labels": "all", "n": 2},
    "evaluate": {"n": 4, "split": "val"},
}
PRETRAIN = {
    "seed": 0,
    "latent_channels": 12,
    "channels": [32, 64],
    "decoder_steps": 1,
    "decoder_lr": 1e-3,
    "steps": 1,
    "batch_size": 8,
    "lr": 1e-3,
}
NAN, INF = float("nan"), float("inf")

WRONG: dict[str, list[Any]] = {
    "command": ["train"],
    "seed": [-1, "one", 1.5],
    "study.name": ["", "../elsewhere", "a/b", ".stages"],
    "tracking.trackers": [["wandb"]],
    "tracking.mode": ["offine"],
    "trainer.max_steps": [0, -1],
    "training.batch_size": [0, "many"],
    "trainer.accumulate_grad_batches": [0],
    "trainer.precision": ["8"],
    "trainer.gradient_clip_val": [-1, NAN],
    "training.warmup_steps": [-1],
    "training.ema_decay": [-0.1, 1, NAN],
    "training.explosion": [1, 0.5, NAN],
    "training.keep_checkpoints": [0, "all"],
    "training.retries": [-1],
    "training.retry_factor": [0, 1, NAN],
    "training.channels_last": ["perhaps"],
    "training.compile": ["perhaps"],
    "lora.text_encoder": ["perhaps"],
    "training.threads": [0],
    "data.name": ["pathmist"],
    "data.size": [15, 513],
    "data.seed": [-1],
    "data.n_train": [-1],
    "data.n_val": [-1],
    "data.n_test": [-1],
    "data.allow_subset": ["perhaps"],
    "data.val_share": [0, 1, NAN],
    "data.test_share": [0, 1, NAN],
    "base.canvas": [0],
    "gate.stem": ["large"],
    "gate.part": ["c"],
    "gate.epochs": [0],
    "gate.batch_size": [1],
    "gate.lr": [0, -1, INF],
    "gate.weight_decay": [-0.1],
    "gate.patience": [0],
    "gate.seed": [-1],
    "judge.part": ["c"],
    "lora.rank": [-4, 0, "eight", 1.5, None],
    "lora.alpha": [0],
    "lora.dropout": [-0.1, 1],
    "lora.init": ["zero"],
    "lora.dora": ["perhaps"],
    "lora.rslora": [2],
    "objective.min_snr_gamma": [0, -5],
    "objective.noise_offset": [-0.1],
    "objective.caption_dropout": [-0.1, 1.1],
    "callbacks.regeneration.every": [-1],
    "callbacks.regeneration.n": [0],
    "sampling.steps": [0, 1001],
    "sampling.guidance": [0.5, INF, NAN],
    "sampling.batch_size": [0],
    "sampling.seed": [-1],
    "sampling.attempts": [0, -3],
    "sampling.threshold": [2, -0.1, NAN],
    "sampling.early_rejection.after_step": [0],
    "sampling.early_rejection.max_lost": [1],
    "sampling.early_rejection.n": [1],
    "evaluate.n": [0],
    "evaluate.split": ["train"],
    "pretrain.latent_channels": [0, 49],
    "pretrain.channels": [[]],
    "pretrain.decoder_steps": [0],
    "pretrain.steps": [0],
    "pretrain.lr": [0],
}


def _with(key: str, value: Any) -> dict[str, Any]:
    values = copy.deepcopy({**VALUES, "pretrain": PRETRAIN})
    *groups, last = key.split(".")
    place = values
    for group in groups:
        place = place.setdefault(group, {})
    place[last] = value
    return values


def _refusal(values: dict[str, Any]) -> str:
    with pytest.raises(RequestError) as caught:
        parse_config(values)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_valid_values_survive_unchanged() -> None:
    config = parse_config(_with("lora.rank", 4))
    assert config.lora is not None
    assert config.lora.rank == 4
    assert config.judge is not None
    assert config.judge.part == "b"
    assert config.pretrain is not None
    assert config.pretrain.channels == (32, 64)
    assert parse_config(config.model_dump(mode="json")) == config


def test_groups_that_a_command_does_not_read_may_be_absent() -> None:
    values = {key: VALUES[key] for key in ("study", "tracking", "trainer", "training")}
    assert parse_config({**values, "command": "classify", "classifier": CLASSIFIER, "data": VALUES["data"]}).lora is None


def test_settings_cannot_be_changed_later() -> None:
    config = parse_config(VALUES)
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 4


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused_in_one_line_that_names_the_key_and_the_value(key: str, value: Any) -> None:
    message = _refusal(_with(key, value))
    assert re.match(rf"{re.escape(key)}(: .*got| must be .*, not) {re.escape(repr(value))}", message), message


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("lora.targets", "atention", "nearest: attention"),
        ("lora.targets", "regex:(", "no regular expression"),
        ("lora.targets", [], "names no module"),
        ("lora.init", "pissa_niter_4", "changes the frozen base, so its adapter does not reload"),
        ("lora.init", "olora", "does not reload"),
    ],
)
def test_an_adapter_that_cannot_be_made_or_reloaded_is_refused_with_the_reason(key: str, value: Any, told: str) -> None:
    message = _refusal(_with(key, value))
    assert message.startswith(key) and told in message


def test_what_one_key_allows_and_another_forbids_is_refused() -> None:
    raw = _with("lora.dora", True)
    raw["lora"]["text_encoder"] = True
    assert "lora.dora=true cannot be reloaded on a text encoder" in _refusal(raw)
    assert "data.flag belongs to data=medmnist" in _refusal(_with("data.flag", "bloodmnist"))


def test_targets_may_be_a_list_or_a_pattern() -> None:
    for targets in (["to_q", "to_v"], "regex:.*attn2.*", "all-linear"):
        config = parse_config(_with("lora.targets", targets))
        assert config.lora is not None and parse_config(config.model_dump(mode="json")).lora == config.lora


@pytest.mark.parametrize("value", [0, -2, "few"])
def test_a_request_key_is_named_as_people_type_it(value: Any) -> None:
    assert _refusal(_with("generate.n", value)).startswith(("n: ", "n must be "))


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("lora.rnak", "lora.rank"),
        ("sampling.attemps", "sampling.attempts"),
        ("sampling.early_rejection.aftr_step", "sampling.early_rejection.after_step"),
        ("trainer.max_step", "trainer.max_steps"),
        ("judge.epoch", "judge.epochs"),
        ("smapling", "sampling"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(key: str, nearest: str) -> None:
    message = _refusal(_with(key, 1))
    assert message == f"unknown key {key}; nearest: {nearest}"


def test_an_unknown_key_like_no_other_gets_no_suggestion() -> None:
    assert _refusal(_with("lora.zzzz", 1)) == "unknown key lora.zzzz"


@pytest.mark.parametrize("key", ["lora.rank", "sampling.attempts", "gate.architecture", "study.name", "command"])
def test_a_missing_key_is_named(key: str) -> None:
    values = _with(key, 0)
    *groups, last = key.split(".")
    place = values
    for group in groups:
        place = place.setdefault(group, {})
    del place[last]
    message = _refusal(values)
    assert key in message
    assert "missing" in message


CSV = "pytorch_lightning.loggers.CSVLogger"


def test_another_logger_is_named_by_its_class_and_survives_a_manifest() -> None:
    config = parse_config({**VALUES, "tracking": {"_target_": CSV, "name": "metrics", "flush_logs_every_n_steps": 5}})
    assert not (config.tracking.wandb or config.tracking.mlflow)
    assert config.tracking.logger == {"_target_": CSV, "name": "metrics", "flush_logs_every_n_steps": 5}
    assert parse_config(config.model_dump(mode="json", exclude_none=True)) == config


def test_earlier_manifests_named_one_tracker() -> None:
    def read(**tracking: Any) -> TrackingConfig:
        return parse_config({**VALUES, "tracking": tracking}).tracking

    assert read(name="wandb", project="p", logger={}) == TrackingConfig(trackers={"wandb": True}, project="p")
    assert read(name="none", project="p") == TrackingConfig(project="p")
    assert read(name="logger", logger={"_target_": CSV}) == TrackingConfig(logger={"_target_": CSV})


@pytest.mark.parametrize(
    ("choice", "wandb", "mlflow", "logger"),
    [
        ("wandb", True, False, {}),
        ("mlflow", False, True, {}),
        ("none", False, False, {}),
        ("csv", False, False, {"_target_": CSV, "name": "metrics"}),
        ("[wandb,mlflow]", True, True, {}),
        ("[mlflow,wandb]", True, True, {}),
        ("[mlflow,csv]", False, True, {"_target_": CSV, "name": "metrics"}),
    ],
)
def test_several_trackers_are_chosen_at_once(choice: str, wandb: bool, mlflow: bool, logger: dict[str, Any]) -> None:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        tracking = from_hydra(compose("classify", [f"tracking={choice}"])).tracking
    assert (tracking.wandb, tracking.mlflow, tracking.logger) == (wandb, mlflow, logger)
    assert (tracking.project, tracking.uri) == ("pathsynth", None)


@pytest.mark.parametrize(
    ("tracking", "told"),
    [
        ({"_target_": 3}, f"tracking._target_ should name a class, as in {CSV}, got 3"),
        ({"_target_": "CSVLogger"}, f"tracking._target_ should name a class, as in {CSV}, got 'CSVLogger'"),
        ({"logger": {"name": "metrics"}}, "a logger of your own is named by tracking._target_"),
        ({"trackers": {"tensorboard": True}}, "tracking.trackers: should be one of wandb, mlflow, got 'tensorboard'"),
        ({"uri": "localhost:5000"}, "tracking.uri=localhost:5000 is no address; give one as http://127.0.0.1:5000"),
        ({"uri": "http://me:s3cr3t@localhost:5000"}, "tracking.uri holds a password and would be stored with the results"),
        ({"_target_": CSV, "api_token": "s3cr3t"}, "tracking.api_token looks like a secret"),
    ],
)
def test_a_logger_that_is_none_is_refused(tracking: dict[str, Any], told: str) -> None:
    message = _refusal({**VALUES, "tracking": tracking})
    assert message.startswith(told)
    assert "s3cr3t" not in message


def test_a_group_that_is_no_group_is_refused() -> None:
    assert _refusal(_with("lora", "rank=8")).startswith("lora: ")


@pytest.mark.parametrize("key", ["tracking.api_key", "optimizer.token"])
def test_a_secret_is_refused_without_being_reported(key: str) -> None:
    message = _refusal(_with(key, "s3cr3t"))
    assert message.startswith(f"{key} looks like a secret")
    assert "s3cr3t" not in message


@pytest.mark.parametrize(
    "key, value, told",
    [
        ("data.classes", "apple", "data.classes: should be a list, as in data.classes=[apple]; got 'apple'"),
        ("sampling.scheduler", "DDIM", "got 'DDIM'; nearest: DDIMScheduler"),
        ("data.name", "Folder", "got 'Folder'; nearest: folder"),
        ("trainer.deterministic", "warm", "should be one of True, False, warn, got 'warm'; nearest: warn"),
        ("sampling.scheduler", "xyz", "UniPCMultistepScheduler, got 'xyz'"),
    ],
)
def test_a_wrong_word_or_form_is_reported_with_the_right_one(key: str, value: str, told: str) -> None:
    assert _refusal(_with(key, value)).endswith(told)


@pytest.mark.parametrize("key", ["sort_key", "key", "monitor_key", "max_tokens", "token_length", "keys", "tokenizer"])
def test_not_every_key_is_a_secret(key: str) -> None:
    value = 77 if key == "max_tokens" else "loss"
    assert parse_config(_with(f"optimizer.{key}", value)).optimizer[key] == value


@pytest.mark.parametrize("key", ["wandb_api_key", "apikey", "access_key", "db_password", "hf_token", "credentials", "secrets"])
def test_every_secret_is_refused_in_a_list_too(key: str) -> None:
    assert f"{key} looks like a secret" in _refusal(_with(f"optimizer.{key}", "s3cr3t"))
    assert f"{key} looks like a secret" in _refusal(_with("optimizer.stores", [{key: "s3cr3t"}]))
    assert f"{key} looks like a secret" in _refusal(_with(f"optimizer.{key}", ["s3cr3t"]))


MINE = {"_target_": "my_retry.Mine"}


@pytest.mark.parametrize(
    "words, told",
    [
        ({"early_rejection": {"after_step": 20}}, "sampling.early_rejection.after_step=20 is no step before the last of sampling.steps=20"),
        ({"early_rejection": {"after_step": 5}, "speculate": True}, "sampling.speculate=true starts an attempt before"),
        ({"image_to_image": 0.5, "speculate": True}, "set it to false, or sampling.image_to_image=0"),
        ({"image_to_image": 1.0}, "less than 1"),
        ({"retry": MINE, "image_to_image": 0.5}, "sampling.image_to_image belongs to pathsynth.sampling.retry.StandardRetry"),
        ({"retry": MINE, "guidance_step": 1.0}, "set sampling.guidance_step=0"),
        ({"retry": MINE, "speculate": True}, "set sampling.speculate=false"),
        ({"retry": {"_target_": "Mine"}}, "sampling.retry._target_ should name a class, as in my_retry.MyRetry, got 'Mine'"),
        ({"retry": {"least": 1}}, "sampling.retry._target_ should name a class"),
        ({"rules": {"mine": {"least": 1}}}, "sampling.rules.mine._target_ should name a class, as in my_rule.MyRule"),
    ],
)
def test_ways_of_sampling_that_do_not_go_together_are_refused(words, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        SamplingConfig(steps=20, guidance=3, batch_size=8, seed=0, attempts=2, threshold=0, **words)


def test_the_standard_strategy_of_retries_is_the_usual_one_whether_or_not_it_is_named():
    named, unnamed = (
        SamplingConfig(steps=20, guidance=3, batch_size=8, seed=0, attempts=2, threshold=0, **words)
        for words in ({"retry": {"_target_": "pathsynth.sampling.retry.StandardRetry"}}, {})
    )
    assert named == unnamed and named.retry == {}


@pytest.mark.parametrize(
    "values, told",
    [
        ({"val_share": 0.9, "test_share": 0.9}, "data.val_share=0.9 and data.test_share=0.9 leave nothing for train"),
        ({"val_share": 0.5, "test_share": 0.5}, "leave nothing for train"),
        ({"group": "slide"}, "data.group should be regex:<pattern> or csv:<file>, got 'slide'"),
        ({"group": "csv:"}, "data.group should be"),
        ({"group": "regex:("}, "data.group=regex:( is no regular expression"),
        ({"name": "phantom", "group": "regex:x"}, "data.group belongs to data=folder"),
        ({"captions": "caption"}, "data.captions should be txt, or a .jsonl or .csv file with file_name and text, got 'caption'"),
        ({"captions": ""}, "data.captions should be txt"),
        ({"name": "phantom", "captions": "txt"}, "data.captions belongs to data=folder, and data.name is phantom; leave it out"),
        ({"name": "ready", "prompts": "my.yaml"}, "data.prompts belongs to data that is trained on"),
    ],
)
def test_values_of_data_that_do_not_go_together_are_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestError) as refusal:
        parse_config({**VALUES, "data": {"name": "folder", "size": 32, **values}})
    assert told in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("judges", "why"),
    [
        ({"Second": {}}, "evaluate.judges.Second: name a judge by lower-case letters"),
        ({"test": {}}, "and not test"),
        ({"second": {"test": True}}, "evaluate.judges.second.test has no effect"),
        ({"second": {"epochs": "many"}}, "evaluate.judges.second.epochs must be a whole number, not 'many'"),
        ({"second": {"_target_": "nothing"}}, "evaluate.judges.second._target_"),
    ],
)
def test_a_wrong_judge_of_a_panel_is_one_line_with_its_key(judges: dict[str, Any], why: str) -> None:
    plain = {"architecture": "regnety_002", "stem": "small", "part": "b", "pretrained": False, "epochs": 1, "batch_size": 2, "lr": 1e-3}
    rest = {"weight_decay": 0.0, "augment_d4": True, "augment_stain": True, "patience": 1, "seed": 5}
    named = {name: {**plain, **rest, **judge} for name, judge in judges.items()}
    with pytest.raises(RequestError) as refused:
        parse_config({**VALUES, "evaluate": {"n": 2, "split": "val", "judges": named}})
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_group_that_a_command_lacks_is_named_with_the_remedy():
    assert require_group("settings", "lora") == "settings"
    with pytest.raises(RequestError, match=r"^the configuration has no group lora; choose one, as in lora=<option>$"):
        require_group(None, "lora")


@pytest.mark.parametrize("key", ["gate", "evaluate.judges.mine"])
def test_the_earlier_name_of_our_classifier_is_answered_with_the_new_one(key):
    earlier = "pathsynth.training.classifier.ClassifierModule"
    words = [f"{key}._target_={earlier}"] if key == "gate" else ["+classifier@evaluate.judges.mine=resnet18", f"{key}._target_={earlier}"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"), pytest.raises(RequestError) as told:
        from_hydra(compose("run", words))
    assert f"{key}._target_: {earlier} is pathsynth.training.classifier_module.ClassifierModule now" in str(told.value)
