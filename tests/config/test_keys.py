"""Every key of the schema is in the configuration, with one default, so that it is set without a plus; a plus is no fault."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel

from pathsynth.__main__ import dispatch
from pathsynth.commands.quoting import accept_plus, hydra_quoted
from pathsynth.config import RunConfig, from_hydra
from pathsynth.config.parse import KEYS_OF_CUSTOM_CLASSES, REQUEST_KEYS, UNREAD, setting_keys
from pathsynth.config.shipped import conf_folder
from pathsynth.ledger.errors import RequestError

COMMANDS = ("run", "pretrain", "classify", "finetune", "generate", "evaluate")
MEMBERS = {
    "data": ("phantom", "pathmnist", "medmnist", "folder", "ready"),
    "base": ("tiny", "sd15", "sd21", "local"),
    "tracking": ("wandb", "mlflow", "none", "[wandb,mlflow]"),
    "lora": ("default", "paper"),
    "debug": ("none", "fast_dev_run", "overfit", "profile"),
    "classifier@gate": ("resnet18", "cs3darknet"),
}
"""Groups with several options; of tracking=csv, the keys are the arguments of its class."""


def composed(command: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose(command, list(overrides))


def groups_of(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, known in model.model_fields.items():
        kinds = (known.annotation, *get_args(known.annotation))
        yield from ((name, kind) for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))


def typed_names(group: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in group.model_fields.items()]


GROUPS = dict(groups_of(RunConfig))


def read_by(command: str) -> list[str]:
    """The keys that a command takes, as they are typed."""
    present = {str(key) for key in composed(command)} - set(UNREAD.get(command, ()))
    inner = [f"{name}.{key}" for name, group in GROUPS.items() if name in present for key in typed_names(group)]
    request = [*REQUEST_KEYS] if command == "generate" else []
    return [key for key in [*inner, *request, "seed", "multirun"] if key not in KEYS_OF_CUSTOM_CLASSES]


def typed(value: Any) -> str:
    """A value as it is typed behind a key."""
    if isinstance(value, str):
        return hydra_quoted(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{typed(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(typed, value)) + "]"
    return "null" if value is None else str(value).lower()


CHOICES = [("run", f"{group}={member}") for group, members in MEMBERS.items() for member in members]
CHOICES += [(command, "tracking=none") for command in COMMANDS[1:]] + [("generate", "data=ready"), ("generate", "data=folder")]


@pytest.mark.parametrize("command, choice", CHOICES)
def test_every_key_that_a_command_takes_is_set_without_a_plus(command, choice):
    before = composed(command, choice)
    absent = [key for key in read_by(command) if OmegaConf.select(before, key, default="absent") == "absent"]
    assert absent == []
    values = OmegaConf.to_container(OmegaConf.create({key: OmegaConf.select(before, key) for key in read_by(command)}))
    assert composed(command, choice, *(f"{key}={typed(value)}" for key, value in values.items())) == before


ONE_FILE = {
    "data": "data_keys",
    "trainer": "trainer/default",
    "training": "training/default",
    "tracking": "tracking/none",
    "lora": "lora/default",
    **{name: f"{name}/default" for name in ("sampling", "objective", "evaluate")},
    "pretrain": "pretrain/tiny",
}
"""The file that holds what a group's keys are where nothing else is said; classifiers, bases and debug options have values of their own."""


def as_listed(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", [*ONE_FILE, "study"])
def test_a_default_of_the_schema_is_that_of_the_configuration(name):
    file = OmegaConf.load(conf_folder() / f"{ONE_FILE.get(name, 'shared')}.yaml")
    listed = OmegaConf.to_container(file.study if name == "study" else file)
    named = {field.alias or key: field for key, field in GROUPS[name].model_fields.items()}
    fields = {key: field for key, field in named.items() if not field.is_required() and key in listed}
    defaults = {key: field.get_default(call_default_factory=True) for key, field in fields.items()}
    ours = {key: as_listed(default) for key, default in defaults.items() if default is not None}
    assert ours == {key: listed[key] for key in ours}


def test_a_manifest_that_leaves_out_a_null_is_read_back_as_null():
    """A manifest holds no nulls, so the default of what may be null has to be null."""
    models = [RunConfig, *GROUPS.values()]
    fields = [(f"{model.__name__}.{key}", field) for model in models for key, field in model.model_fields.items()]
    assert [name for name, field in fields if type(None) in get_args(field.annotation) and field.default is not None] == []
    config = from_hydra(composed("run", "training.explosion=null"))
    assert RunConfig.model_validate(config.model_dump(exclude_none=True)) == config


ALL_SETS = frozenset({"phantom", "pathmnist", "medmnist", "folder", "ready"})
OWNERS = {
    "root=x": ALL_SETS - {"phantom"},
    "seed=1": {"phantom", "folder"},
    "flag=bloodmnist": {"medmnist"},
    **{word: {"pathmnist", "medmnist"} for word in ("download=true", "allow_subset=true")},
    **{word: {"folder"} for word in ("group=regex:a", "symmetry=d4", "classes=[a]", "val_share=0.2", "test_share=0.2")},
}


@pytest.mark.parametrize("name", sorted(ALL_SETS))
def test_a_key_of_another_data_set_is_refused_with_its_line(name):
    for word in [word for word, owners in OWNERS.items() if name not in owners]:
        with pytest.raises(RequestError) as caught:
            from_hydra(composed("run", f"data={name}", f"data.{word}"))
        (line,) = caught.value.faults
        assert f"data.{word.partition('=')[0]} belongs to data=" in line and f"and data.name is {name}" in line


@pytest.mark.parametrize("word", ["data.n_train=5", "schedule=constant", "finetune._target_=my.Finetune", "callbacks.regeneration.n=2"])
def test_what_trains_is_refused_where_nothing_is_trained(word, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert dispatch(["generate", word]) == 2
    assert f"{word} has no effect: data=ready trains nothing" in capsys.readouterr().err


def test_a_plus_before_a_known_key_is_taken_as_it_is_meant():
    others = ["++seed=1", "lora.rank=2", "+callbacks.mine._target_=a.B", "+lora.rnak=3"]
    words = ["+trainer.accelerator=cpu", "+study.question=why", "+n=3", *others]
    assert accept_plus(words) == ["++trainer.accelerator=cpu", "++study.question=why", "++n=3", *others]
    assert composed("run", *accept_plus(["+trainer.accelerator=cpu", "+data.root=/x"])).trainer.accelerator == "cpu"
    assert {"data.root", "trainer.profiler", "prompt", "multirun"} <= setting_keys()
    assert not {"tracking.logger", "optimizer", "generate.n", "command"} & setting_keys()


def test_a_plus_in_a_studys_own_values_is_taken_as_it_is_meant(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["pathsynth"])
    (tmp_path / "mine" / "study").mkdir(parents=True)
    sweep = "hydra: {mode: MULTIRUN, sweeper: {params: {+trainer.detect_anomaly: 'true,false', +seed: '1,2'}}}"
    (tmp_path / "mine" / "study" / "old.yaml").write_text(f"# @package _global_\nstudy: {{name: old}}\n{sweep}\n")
    assert dispatch(["run", "--config-dir", "mine", "study=old", "study.dry_run=true"]) == 0
    assert "4 trials" in capsys.readouterr().out


INTERPOLATED = {
    "data.root": ["${hydra:runtime.cwd}/images", "${oc.env:PLACE}", "/data/${now:%Y}"],
    "study.name": ["${hydra:runtime.choices.data}", "${oc.env:PLACE}", "run-${now:%Y}"],
    "study.question": ["${hydra:runtime.choices.base}?", "${oc.env:PLACE}?", "${now:%Y}?"],
    "tracking.project": ["${hydra:job.name}", "${oc.env:PLACE}", "in-${now:%Y}"],
    "tracking.entity": ["${hydra:job.name}", "${oc.env:PLACE}", "in-${now:%Y}"],
}


@pytest.mark.parametrize("key, value", [(key, value) for key, values in INTERPOLATED.items() for value in values])
def test_hydras_node_the_time_and_the_environment_can_be_referred_to(key, value, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["pathsynth"])
    monkeypatch.setenv("PLACE", "there")
    expected = value.replace("${hydra:runtime.cwd}", str(tmp_path)).replace("${hydra:runtime.choices.data}", "folder")
    expected = expected.replace("${hydra:runtime.choices.base}", "tiny").replace("${hydra:job.name}", "pathsynth")
    expected = expected.replace("${oc.env:PLACE}", "there").replace("${now:%Y}", time.strftime("%Y"))
    words = ["run", "data=folder", "tracking=wandb", f"{key}='{value}'"]
    assert dispatch([*words, "--cfg", "job", "--resolve", "-p", key]) == 0
    assert capsys.readouterr().out.strip() == expected
    for mode in ([], ["-m", "seed=1,2"]):  # refused for the folder alone: the settings were read, with the value resolved
        root = expected if key == "data.root" else "nowhere"
        given = words if key == "data.root" else [*words, "data.root=nowhere"]
        assert dispatch([*given, *mode]) == 2
        assert f"no folder {tmp_path / root}; set data.root" in capsys.readouterr().err


OLD_NAMES = {
    "validation=default": "no key 'validation' in finetune; it is callbacks.regeneration",
    "validation.every=100": "no key 'validation.every' in finetune; it is callbacks.regeneration.every",
    "trainer.schedule=constant": "no key 'trainer.schedule' in finetune; it is the group schedule, as in schedule=constant",
    "trainer.restart_steps=5": "no key 'trainer.restart_steps' in finetune; it is schedule.restart_steps",
    "sampling.look_after=5": "no key 'sampling.look_after' in finetune; it is sampling.early_rejection.after_step",
    "sampling.revise=0.5": "no key 'sampling.revise' in finetune; it is sampling.image_to_image",
    "validation.n=2": "no key 'validation.n' in finetune; it is callbacks.regeneration.n",
}


@pytest.mark.parametrize("typed", OLD_NAMES)
def test_an_old_name_of_a_key_is_answered_with_the_new_one(typed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert dispatch(["finetune", typed]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].endswith(OLD_NAMES[typed])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line, told",
    [
        ("validation: {every: 5}", "no key 'validation' any more; it is callbacks.regeneration"),
        ("+Odd: {every: 5}", "unknown key +Odd"),
    ],
)
def test_a_key_of_a_study_that_is_none_any_more_is_reported(line, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "study").mkdir(parents=True)
    (tmp_path / "mine" / "study" / "old.yaml").write_text(f"# @package _global_\nstudy: {{name: old}}\n{line}\n")
    assert dispatch(["finetune", "--config-dir", "mine", "study=old"]) == 2
    assert told in capsys.readouterr().err
