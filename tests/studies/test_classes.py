"""Classes that a request names are loaded and made in one process before a trial starts."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir

from pathsynth.commands.quoting import quote_free_text
from pathsynth.config import RunConfig, from_hydra
from pathsynth.config.shipped import conf_folder
from pathsynth.studies.planning.classes import ClassRequest, ObjectRequest, class_faults, class_request


def settings(*overrides: str) -> RunConfig:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return from_hydra(compose("run", quote_free_text(list(overrides), False)))


STOP = "+callbacks.stop._target_=pytorch_lightning.callbacks.EarlyStopping"


@pytest.mark.parametrize(
    "overrides", [[], ["optimizer=adamw", "optimizer.lr=1e-3"], ["callbacks=none"], ["tracking=csv"], ["tracking=none"]]
)
def test_shipped_classes_start_no_process(overrides):
    assert class_request(settings(*overrides), ()) is None
    assert class_faults(None) == []


@pytest.mark.parametrize(
    "overrides", [[STOP], ["optimizer._target_=torch.optim.SGD"], ["+optimizer.betas=[0.9,0.9]"], ["tracking=csv", "+tracking.prefix=a"]]
)
def test_anything_else_is_checked(overrides):
    assert class_request(settings(*overrides), ()) is not None


@pytest.mark.slow
def test_wrong_classes_of_every_kind_are_reported_at_once_and_checked_once(monkeypatch, capfd):
    request = ClassRequest(
        callbacks={"mine": {"_target_": "no.such.Callback"}, "stop": {"_target_": "pytorch_lightning.callbacks.EarlyStopping"}},
        optimizer={"_target_": "torch.optim.SGD", "lr": 0.1, "momentun": 0.9},
        logger={"_target_": "pytorch_lightning.loggers.CSVLogger", "nome": "x"},
    )
    mine, stop, optimizer, logger = class_faults(request)
    assert "callbacks.mine" in mine
    assert "callbacks.stop" in stop and "monitor" in stop
    assert "optimizer cannot be made" in optimizer and "momentun" in optimizer
    assert "tracking._target_" in logger and "nome" in logger
    monkeypatch.setattr(subprocess, "run", None)  # a second process cannot be started
    assert len(class_faults(request)) == 4
    assert capfd.readouterr().err.count("checking the classes") == 1


@pytest.mark.slow
def test_a_class_that_ends_the_process_is_reported(monkeypatch, tmp_path):
    (tmp_path / "fatal.py").write_text("import os\nos._exit(3)\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(path for path in sys.path if path)}")
    (fault,) = class_faults(ClassRequest(callbacks={"mine": {"_target_": "fatal.Callback"}}))
    assert "end the process that loads them" in fault


RULE = "pathsynth.sampling.acceptance_rules.Rule"


@pytest.fixture
def my_module(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(path for path in sys.path if path)}")
    (tmp_path / "mine.py").write_text(
        "class Rule:\n    reason = 'mine'\n    def __init__(self, space, limit=1): pass\n    def slack(self, seen, label): return 1.0\n"
        "class Half:\n    def __init__(self): pass\n    reason = 'half'\n"
        "NAME = 'a text'\n"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("my_module")
def test_objects_that_cannot_be_made_are_reported_with_their_keys():
    wrong = {
        "gone": ({"_target_": "mine.Gone"}, RULE, ["sampling.rules.gone._target_=mine.Gone cannot be loaded", "correct the name"]),
        "half": ({"_target_": "mine.Half"}, RULE, ["is no pathsynth.sampling.acceptance_rules.Rule", "lacks slack"]),
        "name": ({"_target_": "mine.NAME"}, RULE, ["neither a class nor a function"]),
        "slip": ({"_target_": "mine.Rule", "limmit": 2}, RULE, ["refuses its arguments", "limmit", "it takes limit besides space"]),
        "other": ({"_target_": "mine.Rule"}, "torch.nn.Module", ["lacks the base class Module"]),
    }
    right = ObjectRequest("sampling.rules.fits", {"_target_": "mine.Rule", "limit": 2, "_recursive_": False}, RULE, ["space"])
    requests = [ObjectRequest(f"sampling.rules.{key}", settings, kind, ["space"]) for key, (settings, kind, _) in wrong.items()]
    faults = class_faults(ClassRequest(objects=[*requests, right]))
    assert len(faults) == len(wrong), faults
    for fault, (_, _, words) in zip(faults, wrong.values(), strict=True):
        assert "\n" not in fault
        assert [word for word in words if word not in fault] == [], fault
