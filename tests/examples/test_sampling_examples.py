"""The examples of a rule, a retry strategy and a metric of one's own: in the plan, on the command line, and in one small run."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from pathsynth.__main__ import dispatch
from pathsynth.config import from_hydra
from pathsynth.config.shipped import conf_folder
from pathsynth.study.plan import plan
from pathsynth.study.sources import source_files

EXAMPLES = Path(__file__).parents[2] / "examples"
RULE = ["+sampling.rules.bright._target_=my_rule.Bright", "+sampling.rules.bright.least=0.3"]
RETRY = ["sampling.retry._target_=my_retry.ByDistance", "+sampling.retry.near=0.3"]
METRIC = ["+evaluate.metrics.gap._target_=my_metric.BrightnessGap", "+evaluate.metrics.gap.resamples=300"]
OWN = {"my_rule": RULE, "my_retry": RETRY, "my_metric": METRIC}
CHANGES = {"my_rule": {"generate", "evaluate"}, "my_retry": {"generate", "evaluate"}, "my_metric": {"evaluate"}}
"""By module of an example: how it is named, and the stages that it makes others."""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty folder with the examples alone, where a command is started."""
    for path in EXAMPLES.glob("my_*.py"):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stages(*overrides: str) -> dict[str, str]:
    """The identity of each stage of ``run``, by its name."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return {stage.name: stage.identity for stage in plan(from_hydra(compose("run", list(overrides)))).stages}


def unlike(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize("module", OWN)
def test_an_example_changes_the_stage_that_uses_it_by_its_name_its_arguments_and_its_source(module, here):
    plain, named = stages(), stages(*OWN[module])
    assert unlike(plain, named) == CHANGES[module]
    other = [f"{word}5" if "_target_" not in word else word for word in OWN[module]]
    assert unlike(named, stages(*other)) == CHANGES[module]
    path = here / f"{module}.py"
    path.write_text(path.read_text() + "\n# edited\n")
    assert unlike(named, stages(*OWN[module])) == CHANGES[module]


def test_an_edited_example_is_composed_anew(here):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = from_hydra(compose("run", [word for words in OWN.values() for word in words]))
    assert {here / f"{module}.py" for module in OWN} <= set(source_files(config) or [])


def test_every_wrong_argument_is_told_in_a_line_and_nothing_is_written(here, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    monkeypatch.setenv("PATHSYNTH_STARTED", "")
    monkeypatch.setenv("PYTHONPATH", f"{here}:{':'.join(path for path in sys.path if path)}")
    before = {path.name for path in here.iterdir()}
    wrong = [word if "_target_" in word else word.replace("=", "x=") for words in OWN.values() for word in words]
    assert dispatch(["run", *wrong]) == 2
    told = capsys.readouterr().err.splitlines()
    for key, name, argument in (("rules.bright", "my_rule.Bright", "least"), ("retry", "my_retry.ByDistance", "near")):
        refusal = f"sampling.{key}: {name} refuses its arguments (got an unexpected keyword argument '{argument}x'); it takes {argument}"
        assert [line for line in told if refusal in line], told
    assert [line for line in told if "evaluate.metrics.gap: my_metric.BrightnessGap refuses its arguments" in line and "resamplesx" in line]
    assert {path.name for path in here.iterdir()} - {"__pycache__"} == before
