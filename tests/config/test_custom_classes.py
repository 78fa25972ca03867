"""The source of a user's own class is part of what it may change; nothing of it is imported to find it."""

from __future__ import annotations

import sys

import pytest
from hydra import compose, initialize_config_dir

from pathsynth.config import from_hydra
from pathsynth.config.custom_classes import class_digests, shipped_targets, targets
from pathsynth.config.objects import build_object
from pathsynth.config.shipped import conf_folder
from pathsynth.ledger.errors import RequestError
from pathsynth.stages.plan import Plan, plan
from pathsynth.studies.execution.trial import modules_of_this_folder
from pathsynth.studies.planning.source_files import source_files

OWN = "+callbacks.mine._target_=ours.callbacks.Slower"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package in the folder where the command is started; importing anything of it fails."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "ours"
    folder.mkdir()
    for name in ("__init__", "callbacks", "optimizer"):
        (folder / f"{name}.py").write_text(f"raise AssertionError('{name} was imported')\n")
    return folder


def planned(*overrides: str) -> Plan:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return plan(from_hydra(compose("run", list(overrides))))


def changed(before: Plan, after: Plan) -> set[str]:
    return {old.name for old, new in zip(before.stages, after.stages, strict=True) if old.identity != new.identity}


@pytest.mark.parametrize("name, override", [("callbacks", OWN), ("optimizer", "optimizer._target_=ours.optimizer.Slow")])
def test_an_edited_class_makes_another_adapter(package, name, override):
    before = planned(override)
    (package / "unrelated.py").write_text("a = 1\n")
    assert changed(before, planned(override)) == set()
    (package / f"{name}.py").write_text("b = 2\n")
    assert changed(before, planned(override)) == {"finetune", "generate", "evaluate"}


def test_a_class_that_a_package_gathers_stands_for_the_whole_package(package):
    before = planned("+callbacks.mine._target_=ours.Slower")
    (package / "callbacks.py").write_text("b = 2\n")
    assert changed(before, planned("+callbacks.mine._target_=ours.Slower")) == {"finetune", "generate", "evaluate"}


def test_an_edited_class_is_not_passed_over_by_the_memo(package):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        single, whole = (from_hydra(compose("run", [OWN.replace("callbacks.Slower", name)])) for name in ("callbacks.Slower", "Slower"))
    assert package / "callbacks.py" in (source_files(single) or [])
    assert {package, package / "optimizer.py"} <= set(source_files(whole) or [])


SHIPPED = sorted(name for name in shipped_targets() if not name.startswith("hydra_plugins."))


@pytest.mark.parametrize("name", [*SHIPPED, "json.JSONDecoder", "pathsynth.training.overfit.FallingLoss", "nowhere.At", "x"])
def test_installed_and_unknown_classes_have_no_digest(name):
    assert class_digests([name]) == {}


def test_targets_are_found_however_deep():
    assert list(targets({"a": {"_target_": "x.A", "inner": [{"_target_": "y.B"}]}})) == ["x.A", "y.B"]
    assert "pytorch_lightning.callbacks.LearningRateMonitor" in shipped_targets()
    assert not {"null", "???"} & shipped_targets()


def test_finding_a_class_of_an_installed_package_imports_none(monkeypatch):
    kept = {name for name in sys.modules if name.partition(".")[0] == "timm"}
    for name in kept:
        monkeypatch.delitem(sys.modules, name)
    assert class_digests(["timm.optim.Muon"]) == {}
    assert "timm" not in sys.modules


def test_a_trial_in_the_commands_process_finds_a_class_where_the_command_started(tmp_path, monkeypatch):
    """The script ``pathsynth`` does not look there by itself."""
    (tmp_path / "beside_the_command.py").write_text("class Mine:\n    def measure(self, data): pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    before, settings = list(sys.path), {"_target_": "beside_the_command.Mine"}
    with pytest.raises(RequestError, match="sampling.rules.x cannot be made"):
        build_object("sampling.rules.x", settings, members=("measure",))
    with modules_of_this_folder():
        assert type(build_object("sampling.rules.x", settings, members=("measure",))).__name__ == "Mine"
    assert sys.path == before
