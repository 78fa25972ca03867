"""A stage's time is that of finished ones of its kind, by how much there is to do; what nothing tells is unknown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pathsynth.stages.finetune import work
from pathsynth.stages.stage import StagePlan
from pathsynth.studies.planning.estimate import estimate, seconds_left
from pathsynth.studies.trials.state import TrialState
from pathsynth.studies.trials.trial_table import TrialRow

SAMPLING = {"steps": 10, "guidance": 2.0, "attempts": 4, "request": {"stream": "eval", "n": 10}}
TRAINING = {"max_steps": 100, "batch_size": 8, "accumulate": 1}


def stage(name: str, settings: dict, identity: str = "new", **parents: str) -> StagePlan:
    return StagePlan(name, identity, settings, parents)


def finish(store: Path, one: StagePlan, seconds: float | None) -> StagePlan:
    folder = store / one.name / one.identity
    folder.mkdir(parents=True)
    (folder / "stage.json").write_text(json.dumps({"settings": {**one.settings, "parents": one.parents}, "seconds": seconds}))
    return one


def test_a_fine_tune_of_more_steps_takes_longer_in_proportion(tmp_path):
    finish(tmp_path, stage("finetune", TRAINING, "old", base="b"), 60)
    told = estimate(tmp_path, [stage("finetune", {**TRAINING, "max_steps": 6000}, base="b")])
    assert (told.seconds, told.unknown) == (pytest.approx(3600), ())
    assert str(told) == "about 1 h 0 min"


@pytest.mark.parametrize(
    "change, times",
    [
        ({"steps": 30}, 3),
        ({"attempts": 8}, 2),
        ({"guidance": 1.0}, 0.5),
        ({"request": {"stream": "eval", "n": 50}}, 5),
        ({"request": {"stream": "eval", "n": 10, "shards": 2}}, 0.5),
        ({"evaluations": 20}, 2),
        ({"calls": 72}, 0.01),
    ],
)
def test_a_generation_takes_as_long_as_its_slots_attempts_and_steps(tmp_path, change, times):
    finish(tmp_path, stage("finetune", TRAINING, "adapter", base="b"), 60)
    finish(tmp_path, stage("generate", SAMPLING, "old", finetune="adapter"), 100)
    told = estimate(tmp_path, [stage("generate", {**SAMPLING, **change}, finetune="adapter")])
    assert told.seconds == pytest.approx(100 * times)


def test_validations_count_among_the_steps_of_a_fine_tune():
    watched = {**TRAINING, "validation": {"every": 50, "n": 2}, "sampling": SAMPLING}
    assert work(watched) - work(TRAINING) == 2 * 2 * 9 * 20


def test_what_nothing_tells_is_unknown_and_said_so(tmp_path):
    finish(tmp_path, stage("finetune", TRAINING, "old", base="other base"), 60)
    finish(tmp_path, stage("gate", {"epochs": 2, "architecture": "resnet18"}, "old", data="d"), 10)
    finish(tmp_path, stage("cache", {}, "old", base="b"), None)
    stages = [
        stage("cache", {}, base="b"),
        stage("finetune", TRAINING, base="b"),
        stage("gate", {"epochs": 4, "architecture": "resnet18"}, data="d"),
    ]
    assert str(estimate(tmp_path, stages)) == "about 20 s, and an unknown time for cache, finetune"
    assert str(estimate(tmp_path, stages[:1])) == "an unknown time for cache"


def test_shared_and_finished_stages_count_once_or_not_at_all(tmp_path):
    done = finish(tmp_path, stage("gate", {"epochs": 2, "architecture": "resnet18"}, "old", data="d"), 10)
    other = stage("gate", {"epochs": 2, "architecture": "resnet18"}, data="d")
    told = estimate(tmp_path, [done, other, other])
    assert told.seconds == pytest.approx(10)
    assert str(told.shared_among(2, trials=3)) == "about 5 s"
    assert str(told.shared_among(256, trials=1)) == "about 10 s", "more workers than trials have nothing to do"


def trial(multirun: Path, name: str, *stages: StagePlan) -> Path:
    folder = multirun / "study" / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"plan": {"stages": [vars(one) for one in stages]}}))
    return folder


def row(state: str, stage: str = "", **came) -> TrialRow:
    return TrialRow("study", "", state, stage, None, "", TrialState(state, **came))


def test_open_trials_need_what_is_left_of_their_plans(tmp_path):
    """Here one of six thousand steps, one of two hundred that has a rate, and a gate that both need."""
    store = tmp_path / ".stages"
    finish(store, stage("finetune", TRAINING, "old", base="b"), 60)
    finish(store, stage("gate", {"epochs": 2, "architecture": "resnet18"}, "old", data="d"), 10)
    gate = stage("gate", {"epochs": 4, "architecture": "resnet18"}, data="d")
    long, short = (stage("finetune", {**TRAINING, "max_steps": steps}, str(steps), base="b") for steps in (6000, 200))
    done = finish(store, stage("cache", {}, base="b"), None)
    folders = [
        trial(tmp_path, "long", done, gate, long),
        trial(tmp_path, "short", gate, short),
        trial(tmp_path, "unknown", stage("evaluate", {"n": 3}, base="b")),
        trial(tmp_path, "ended", long),
        tmp_path / "study" / "without a manifest",
    ]
    rows = [row("waiting"), row("running", "finetune", step=50, steps=200, rate=2.0), row("interrupted"), row("done"), row("waiting")]
    assert seconds_left(folders, rows) == [pytest.approx(20 + 3600), 75, None, None, None]


def test_a_stage_that_an_earlier_version_named_otherwise_is_unknown(tmp_path):
    assert str(estimate(tmp_path, [stage("look", {"n": 3}, base="b")])) == "an unknown time for look"
