"""What the closing table says of trials that score no agreement."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pathsynth.studies.trials.closing import close
from pathsynth.studies.trials.outcomes import FOLDER_VARIABLE, Outcome, announce_outcomes, read_outcome, read_outcomes, write_outcome
from tests.report.generated_sets import write_set


@pytest.mark.parametrize(
    ("command", "expected"),
    [("generate", "6 images of 9 in 11 attempts"), ("classify", "accuracy 0.600 [0.550, 0.650] n=90 on test"), ("finetune", "–")],
)
def test_what_was_made_stands_where_there_is_no_score(tmp_path: Path, capsys, command: str, expected: str) -> None:
    trial = tmp_path / "runs" / "t"
    trial.mkdir(parents=True)
    if command == "generate":
        write_set(trial, ("a", "b", "c"), empty=("b",))
    if command == "classify":
        metric = {"metric": "accuracy", "value": 0.6, "low": 0.55, "high": 0.65, "n": 90, "unit": "image", "class": None, "split": "test"}
        rest = {"stage": None, "scorer": None, "prompts": None, "data": "x", "seed": 1}
        (trial / "scores.json").write_text(json.dumps([{**metric, **rest}]))
    (trial / "state.json").write_text(json.dumps({"state": "done"}))
    outcomes = tmp_path / "jobs" / "outcomes"
    outcomes.mkdir(parents=True)
    (outcomes / "0.json").write_text(json.dumps({"name": "t", "folder": str(trial), "refused": "", "busy": False, "own": True}))
    assert close(tmp_path / "jobs", interrupted=False) == 0
    heading, line = [text for text in capsys.readouterr().out.splitlines() if text.strip()][:2]
    assert expected in line
    assert ("made" in heading.split()) == (command != "finetune")


def test_a_job_s_own_record_takes_the_place_of_the_announced_one(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "jobs"))
    announced = [Outcome(name, tmp_path / name, "") for name in "abc"]
    announce_outcomes(announced)
    assert sum(1 for path in (tmp_path / "jobs").rglob("*") if path.is_file()) == 1
    assert [read_outcome(place) for place in range(4)] == [*announced, None]
    write_outcome(1, Outcome("b", tmp_path / "b", "", own=True))
    assert [outcome.own for outcome in read_outcomes(tmp_path / "jobs")] == [False, True, False]
    assert read_outcome(1) == Outcome("b", tmp_path / "b", "", own=True)
