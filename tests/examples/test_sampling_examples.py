"""The examples of a rule, a retry strategy and a metric of one's own: in the plan, on the command line, and in one small run."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from pathsynth.__main__ import dispatch
from pathsynth.config import from_hydra
from pathsynth.config.shipped import conf_folder
from pathsynth.ledger.records import Missing, read_result
from pathsynth.report.page import write_report
from pathsynth.stages.plan import plan
from pathsynth.studies.execution.trial_rerun import foreign_targets
from pathsynth.studies.planning.source_files import source_files
from tests.forked import forked_output

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


def test_an_edited_example_is_composed_anew_and_a_rerun_asks_before_it_runs_one(here, monkeypatch):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = from_hydra(compose("run", [word for words in OWN.values() for word in words]))
    assert {here / f"{module}.py" for module in OWN} <= set(source_files(config) or [])
    monkeypatch.setattr("pathsynth.studies.execution.trial_rerun.manifest_of", lambda folder: SimpleNamespace(config=config))
    assert foreign_targets(here) == ["my_metric.BrightnessGap", "my_retry.ByDistance", "my_rule.Bright"]


@pytest.mark.slow
def test_every_wrong_argument_is_reported_in_a_line_and_nothing_is_written(here, monkeypatch, capsys):
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


SMALL = [
    *("data.n_train=90", "data.n_val=36", "data.n_test=18", "gate.epochs=1", "judge.epochs=1", "lora.targets=attention"),
    *("trainer.max_steps=4", "training.batch_size=4", "callbacks.regeneration.every=4", "callbacks.regeneration.n=1"),
    *("sampling.steps=4", "sampling.attempts=3"),
    *("evaluate.n=2", "sampling.deterministic=true", "tracking=wandb"),
]
STRICT = [*RULE[:1], "+sampling.rules.bright.least=0.99", *RETRY[:1], "+sampling.retry.near=0.0", *METRIC]
"""Such that nothing is accepted, and whatever the gate would accept is rejected by the example's rule."""


@pytest.mark.slow
def test_a_run_with_all_three(here, small_base_folder, offline_runs, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    words = ["run", f"base.path={small_base_folder}", *SMALL, *STRICT]
    shown = forked_output(here, *words, "--cfg", "job")
    assert all(name in shown for name in ("my_rule.Bright", "my_retry.ByDistance", "my_metric.BrightnessGap"))
    forked_output(here, *words)
    (trial,) = (path.parent for path in (here / "multirun" / "runs").glob("*/result.json"))

    table = pd.read_parquet(trial / "attempts.parquet")
    assert not table.accepted.any() and "darker than 0.99" in set(table.reason)
    assert set(table[table.attempt > 0].strategy) == {"image_to_image"} and set(table[table.attempt > 0].start) == {2}
    assert (table[table.attempt > 0].denoiser_calls * 2 == table[table.attempt == 0].denoiser_calls.iloc[0]).all()

    result = read_result(trial / "result.json")
    gap = result.find("gap", "before filtering")
    assert gap and gap.low < gap.value < gap.high and (gap.n, gap.unit) == (18, "image")
    assert Missing("gap after filtering", "fewer than two images") in result.missing
    (run,) = (parts[0] for parts in offline_runs(trial).values() if parts[0].run["job_type"] == "evaluate")
    assert run.summary["generated/before_filtering/gap"] == gap.value
    assert "darker than 0.99" in {row["verdict"] for row in run.table("validation/images")}

    again = table[table.attempt == 2].iloc[0]
    replayed = forked_output(here, "replay", str(trial), f"{again.class_slug}-{again.slot:05d}-2")
    assert replayed.splitlines()[-1] == "the same pixels"
    page = write_report(trial).read_text()
    assert "darker than 0.99" in page and "Metrics of your own" in page

    source = here / "my_rule.py"
    source.write_text(source.read_text().replace("return float(candidate.image.mean())", "return candidate.image.mean(axis=2)"))
    failed = forked_output(here, *words, "study.name=broken", status=1)
    assert "the acceptance rule my_rule.Bright gave" in failed
    (broken,) = (path.parent for path in (here / "multirun" / "broken").glob("*/state.json"))
    assert not (broken / "images").exists() and not (broken / "attempts.parquet").exists() and not (broken / "result.json").exists()
