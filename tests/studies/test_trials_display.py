"""What a command draws of trials side by side, from what their states say."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from pathsynth.studies.execution.trials_display import TrialLine, _OwnTrials, lines_of
from pathsynth.studies.trials.outcomes import FOLDER_VARIABLE, ChangedOutcomes, Outcome, write_outcome
from pathsynth.studies.trials.state import FAILED, RUNNING, WAITING, TrialState, write_state

TRAINING = TrialState(RUNNING, stage="finetune", stage_number=3, stages=7, detail="steps", step=40, steps=200, rate=1.25, notes="loss 0.45")
TRIALS = [
    TrialLine("rank=16,lr=0.0003-1a2b3c", TRAINING),
    TrialLine("rank=1-4d5e6f", TrialState(RUNNING, stage="decode", stage_number=1, stages=7)),
    TrialLine("rank=4-7a8b9c", TrialState(WAITING)),
]


def drawn(width: int, height: int = 24, trials: list[TrialLine] = TRIALS) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    console.print(lines_of(trials, 5, width, height))
    return console.file.getvalue().splitlines()


def test_a_trial_has_one_line_with_stage_bar_count_time_left_and_loss():
    first, second, third, last = drawn(120)
    assert " ".join(first.split()).startswith("rank=16,lr=0.0003-1a2b3c [3/7] fine-tune ━━━━")
    assert first.rstrip().endswith("40/200 steps · 2:08 left · loss 0.45")
    assert "[1/7] decode" in second and "loading the libraries" in third and last.strip() == "5 ended"


@pytest.mark.parametrize("width", [20, 40, 80])
def test_on_a_narrow_terminal_each_trial_keeps_to_one_line(width: int):
    lines = drawn(width)
    assert len(lines) == len(TRIALS) + 1 and max(map(len, lines)) <= width
    assert lines[1].startswith("rank=1-4"[: width // 3])
    assert width < 40 or "[3/7] fine-tune" in lines[0]


def test_a_long_name_keeps_the_end_that_no_other_has():
    names = [f"rank=1,n_train=180,n_val=45,n_test=45,lr={rate}-{end}" for rate, end in ((0.1, "1a2b3c"), (0.2, "4d5e6f"))]
    lines = drawn(40, trials=[TrialLine(name, TRAINING) for name in names])
    assert [line.split()[0] for line in lines[:2]] == ["rank=1…1a2b3c", "rank=1…4d5e6f"]


def test_what_does_not_fit_on_a_screen_is_counted():
    lines = drawn(80, height=5)
    assert len(lines) == 3 and lines[-1].strip() == "1 more running · 5 ended"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "command"))
    return tmp_path


def test_shown_are_own_trials_until_they_end_and_an_end_before_the_command_does_not_count(command: Path):
    own, foreign = command / "own", command / "foreign"
    for folder in (own, foreign):
        folder.mkdir()
        write_state(folder, TrialState(FAILED, reason="the loss became nan", ended="2020-01-01T00:00:00+00:00"))
    write_outcome(0, Outcome("own", own, "", own=True))
    write_outcome(1, Outcome("foreign", foreign, ""))
    trials = _OwnTrials(ChangedOutcomes(command / "command"), since="2026-01-01T00:00:00+00:00")
    assert [line.name for line in trials.running()] == ["own"]
    write_outcome(1, Outcome("foreign", foreign, "", own=True))
    write_state(own, TrialState(FAILED, ended="2026-01-01T00:00:01+00:00"))
    assert [line.name for line in trials.running()] == ["foreign"] and trials.ended == {own}


def test_before_the_first_job_begins_there_is_nothing(command: Path):
    assert _OwnTrials(ChangedOutcomes(command / "command")).running() == []
