from __future__ import annotations

from datetime import UTC, datetime

from pathsynth.studies.trials.eta import progress_by_study, study_progress
from pathsynth.studies.trials.state import STATES, TrialState
from pathsynth.studies.trials.trial_table import TrialRow

NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def row(state: str, study: str = "s", **came) -> TrialRow:
    return TrialRow(study, state, state, "finetune", None, "", TrialState(state, **came))


def done(minutes: int) -> TrialRow:
    return row("done", started="2026-01-01T10:00:00+00:00", ended=f"2026-01-01T10:{minutes:02}:00+00:00")


def test_nothing_is_estimated_before_a_trial_is_done():
    told = study_progress([row("waiting"), row("running", started="2026-01-01T11:50:00+00:00"), row("failed")], now=NOON)
    assert told.seconds_left is None
    assert str(told) == "0 of 3 done, 1 running, 1 failed, 1 waiting; no estimate before a trial is done"


def test_nothing_is_left_when_all_ended():
    told = study_progress([done(10), row("failed")], now=NOON)
    assert (told.seconds_left, str(told)) == (0.0, "1 of 2 done, 1 failed")


def test_open_trials_take_the_median_of_those_done():
    told = study_progress([done(10), done(12), done(59), row("interrupted"), row("waiting")], now=NOON)
    assert told.seconds_left == 2 * 12 * 60
    assert str(told) == "3 of 5 done, 1 interrupted, 1 waiting; about 24 min of work left"


def test_running_trials_share_the_work_and_count_what_they_have_done():
    running = row("running", started="2026-01-01T11:54:00+00:00")
    told = study_progress([done(10), running, running, row("waiting"), row("waiting")], now=NOON)
    assert told.seconds_left == (2 * 4 * 60 + 2 * 10 * 60) / 2
    assert str(told).endswith("about 14 min left")


def test_a_slow_stage_is_believed_rather_than_the_others_durations():
    slow = row("running", started="2026-01-01T11:00:00+00:00", step=100, steps=700, rate=0.5)
    assert study_progress([done(10), slow], now=NOON).seconds_left == 1200


def test_damaged_times_are_no_durations():
    assert row("done", started="yesterday", ended="today").seconds() is None
    assert row("done", started="2026-01-01T10:00:00", ended="2026-01-01T10:00:00+00:00").seconds() is None
    assert study_progress([row("done"), row("waiting")], now=NOON).seconds_left is None


def test_each_study_has_its_own():
    found = progress_by_study([row("done", "a"), row("waiting", "b")])
    assert {study: told.trials for study, told in found.items()} == {"a": 1, "b": 1}


def test_a_pruned_trial_is_counted_and_leaves_no_work():
    told = study_progress([done(10), row("pruned")], now=NOON)
    assert (str(told), told.seconds_left) == ("1 of 2 done, 1 pruned", 0.0)


def test_every_state_is_counted():
    found = study_progress([row(state) for state in STATES], now=NOON)
    assert sum(found.counts.values()) == found.trials == len(STATES)


def test_trials_of_other_lengths_take_what_their_plans_say():
    rows = [done(10), row("running", started="2026-01-01T11:55:00+00:00"), row("waiting"), row("interrupted")]
    told = study_progress(rows, [None, 7200.0, 60.0, None], now=NOON)
    assert told.seconds_left == 7200 + 60 + 600
    assert study_progress(rows[2:], [60.0, 30.0]).seconds_left == 90, "before any trial is done"
    assert progress_by_study(rows, [None, 7200.0, 60.0, None])["s"].seconds_left == told.seconds_left
