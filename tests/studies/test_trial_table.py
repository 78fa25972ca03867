from __future__ import annotations

import io
import os

from rich.console import Console

from pathsynth.studies.trials.state import TrialState
from pathsynth.studies.trials.trial_table import TrialRow, most_urgent, print_rows


def row(state: str, name: str = "rank=1", stage: str = "finetune", reason: str = "", **came) -> TrialRow:
    return TrialRow("s", name, state, stage, None, reason, TrialState(state, stage=stage, **came))


def printed(*rows: TrialRow) -> str:
    stream = io.StringIO()
    print_rows(rows, Console(file=stream))
    return stream.getvalue()


def test_a_running_trial_shows_step_rate_and_time_left():
    counted = row("running", detail="steps", step=120, steps=600, rate=2.0, pid=os.getpid())
    assert "finetune: 120 of 600 steps, 2/s, 4 min left" in printed(counted)
    assert "generate: 3 of 90 slots\n" in printed(row("running", stage="generate", detail="slots", step=3, steps=90)).replace("  ", "")


def test_a_trial_that_stopped_shows_why_and_no_count():
    shown = printed(row("failed", reason="[bold]the loss became nan", step=3, steps=9, rate=1.0))
    assert "[bold]the loss became nan" in shown
    assert " of 9" not in shown


def test_what_does_not_fit_is_what_nothing_happens_to():
    rows = [row(state, name=str(i)) for i, state in enumerate(["done", "waiting", "running", "failed", "done"])]
    assert [r.name for r in most_urgent(rows, 3)] == ["1", "2", "3"]
    assert [r.name for r in most_urgent(rows, 9)] == ["0", "1", "2", "3", "4"]
