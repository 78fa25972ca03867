"""examples/my_gate.py: a LightningModule of the user's gates by one override, and its source is part of what it makes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pathsynth.__main__ import dispatch
from pathsynth.config.shipped import assets_folder
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.records import read_result
from pathsynth.stages.plan import Plan
from pathsynth.studies.execution.trial_rerun import foreign_targets
from pathsynth.studies.planning.classes import object_requests
from pathsynth.studies.planning.source_files import source_files
from pathsynth.studies.trials.manifest import Manifest, manifest_of, write_manifest
from tests.examples.conftest import EXAMPLES, SMALL, changed, configured, planned, run
from tests.forked import run_forked

OWN = "gate._target_=my_gate.MyGate"
GATED = {"gate", "finetune", "generate", "reference", "evaluate"}


def test_the_composition_shows_the_class_and_nothing_of_ours(beside, capsys):
    beside("my_gate.py")
    assert dispatch(["run", OWN, "+gate.width=16", "--cfg", "job", "-p", "gate"]) == 0
    shown = capsys.readouterr().out
    assert "_target_: my_gate.MyGate" in shown and "width: 16" in shown and "part: a" in shown
    assert "architecture" not in shown and "stem" not in shown
    assert dispatch(["run", "--cfg", "job", "-p", "gate"]) == 0
    assert "_target_: pathsynth.training.classifier_module.ClassifierModule" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["source", "argument"])
def test_an_edited_class_or_another_argument_makes_another_gate(beside, change):
    module = beside("my_gate.py")
    before = planned(OWN, "+gate.width=16")
    assert changed(planned(), before) == GATED
    if change == "source":
        module.write_text(module.read_text() + "\n# edited\n")
    after = planned(OWN, f"+gate.width={16 if change == 'source' else 8}")
    assert changed(before, after) == GATED


def test_a_judge_of_your_own_sees_the_other_half_of_train(beside):
    beside("my_gate.py")
    judge = next(s for s in planned("judge._target_=my_gate.MyGate").stages if s.name == "judge")
    assert (judge.settings["part"], judge.settings["module"]) == ("b", {"_target_": "my_gate.MyGate"})


@pytest.mark.slow
def test_wrong_arguments_are_reported_in_a_line_each_and_nothing_is_written(beside, capfd):
    folder = beside("my_gate.py").parent
    assert dispatch(["run", OWN, "+gate.wdith=16", "classifier@judge=cs3darknet", "judge._target_=my_gate.MyGate"]) == 2
    gate, judge = (line for line in capfd.readouterr().err.splitlines() if line.startswith("pathsynth run:"))
    assert "gate: my_gate.MyGate refuses its arguments" in gate and "wdith" in gate
    assert gate.endswith("it takes width, lr besides classes, size")
    assert "judge: my_gate.MyGate refuses its arguments" in judge
    assert judge.endswith("choose classifier@judge=own_judge, which leaves out the arguments of ours")
    assert [path.name for path in folder.iterdir() if path.name != "__pycache__"] == ["my_gate.py"]


def test_it_is_found_from_the_folder_above_and_through_an_option_of_ones_own(monkeypatch, tmp_path):
    monkeypatch.chdir(EXAMPLES.parent)
    above = planned("gate._target_=examples.my_gate.MyGate", "+gate.width=16")
    gate = next(stage for stage in above.stages if stage.name == "gate")
    assert list(gate.settings["classes"]) == ["examples.my_gate.MyGate"], "its source is known"
    (tmp_path / "classifier").mkdir()
    lines = ("defaults: [own_gate, _self_]", "_target_: examples.my_gate.MyGate", "width: 16")
    (tmp_path / "classifier" / "mine.yaml").write_text("\n".join(lines))
    own = planned(f"hydra.searchpath=[file://{tmp_path}]", "classifier@gate=mine")
    assert changed(above, own) == set()


def ready_with(module: dict[str, object], folder: Path) -> Path:
    """The shipped ready set, whose gate is said to be of another class."""
    shutil.copytree(assets_folder() / "tissue", folder)
    description = json.loads((folder / "gate" / "classifier.json").read_text())
    description["spec"]["module"] = module
    (folder / "gate" / "classifier.json").write_text(json.dumps(description))
    return folder


def test_a_ready_set_does_not_choose_which_code_runs(beside, tmp_path):
    module = {"_target_": "my_gate.MyGate", "width": 4}
    own = ready_with(module, beside("my_gate.py").parent / "own")
    with pytest.raises(RequestError, match=r"of the class my_gate\.MyGate, and no class runs .*; set gate\._target_=my_gate\.MyGate, if"):
        planned(f"data.root={own}", command="generate")
    with pytest.raises(RequestError, match="set gate._target_=my_gate.MyGate"):
        planned(f"data.root={own}", "gate._target_=other.Gate", command="generate")
    with pytest.raises(RequestError, match=r"gate\._target_=my_gate\.MyGate has no effect: the set in .* has a gate of ours"):
        planned("gate._target_=my_gate.MyGate", command="generate")
    named = [f"data.root={own}", "gate._target_=my_gate.MyGate"]
    assert [stage.name for stage in planned(*named, command="generate").stages] == ["generate"]
    (request,) = object_requests(configured(*named, command="generate"))
    assert (request.key, request.settings) == ("gate", module), "its arguments are those that it was trained with"


def test_an_edited_class_is_not_passed_over_by_the_override_cache(beside):
    module = beside("my_gate.py")
    assert module in (source_files(configured(OWN)) or [])


def test_a_rerun_asks_before_it_runs_classes_of_a_manifest(tmp_path):
    overrides = ["gate._target_=my_gate.MyGate", "data._target_=my_data.MyData"]
    config = configured(*overrides)
    write_manifest(tmp_path, Manifest("mine", config, Plan("0", (), None, {}), ()))
    assert foreign_targets(tmp_path) == ["my_data.MyData", "my_gate.MyGate"]
    assert manifest_of(tmp_path).config == config, "what a manifest holds is read back"


@pytest.mark.slow
def test_a_whole_run_is_gated_and_judged_by_it_and_its_trial_can_be_exported(beside, small_base_folder):
    folder = beside("my_gate.py").parent
    mine = [OWN, "+gate.width=8", "judge._target_=my_gate.MyGate", "+judge.width=12"]
    status, told = run(folder, "run", f"base.path={small_base_folder}", *SMALL, *mine)
    assert status == 0, told
    (trial,) = (path.parent for path in folder.glob("multirun/runs/*/result.json"))
    result = read_result(trial / "result.json")
    assert result.settings["gate"]["module"] == {"_target_": "my_gate.MyGate", "width": 8}
    assert result.find("accuracy", split="val", scorer="gate") and result.find("macro_f1", "before filtering", "judge").n == 18
    (description,) = map(json.loads, (path.read_text() for path in folder.glob("multirun/.stages/gate/*/classifier.json")))
    assert description["spec"]["module"] == {"_target_": "my_gate.MyGate", "width": 8}
    assert dispatch(["report", str(trial)]) == 0
    assert "my_gate.MyGate" in (trial / "report.html").read_text(encoding="utf-8")
    status, told = run_forked(folder, "export", str(trial), "my-set", "--ready")
    assert status == 0, told
    drawing = ["generate", "data.root=my-set", "data.size=32", f"base.path={small_base_folder}", "n=1", "labels=mucus", "tracking=none"]
    drawing += ["sampling.steps=2", "sampling.attempts=1"]
    status, told = run_forked(folder, *drawing)
    assert status == 2 and "no class runs that the request does not name" in told, told
    status, told = run_forked(folder, *drawing, OWN)
    assert (status == 0 and "judge: not asked" in told) or "nothing was accepted" in told, told


@pytest.mark.slow
def test_a_trial_in_the_commands_own_process_finds_it_too(beside):
    """An installed command has its own folder on the path, not the one that it is started in."""
    folder = beside("my_gate.py").parent
    installed = [sys.executable, "-P", "-c", "from pathsynth.__main__ import main; main()"]
    small = ["data.n_train=36", "data.n_val=18", "data.n_test=9", "classifier.epochs=1", "tracking=none", "study.isolation=inline"]
    words = [*installed, "classify", "classifier._target_=my_gate.MyGate", *small]
    ended = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stdout + ended.stderr
