"""When a training counts as diverged, from its losses alone."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathsynth.ledger.errors import StageError
from pathsynth.training.divergence import Diverged, LossWatch, Tries

LOSSES = st.lists(st.floats(0.05, 2.0), min_size=1, max_size=120)


def watched(losses, explosion=5.0) -> LossWatch:
    watch = LossWatch(explosion)
    for step, loss in enumerate(losses, start=1):
        watch.add(loss, step)
    return watch


@pytest.mark.parametrize("loss", [math.nan, math.inf])
@pytest.mark.parametrize("explosion", [None, 5.0])
def test_a_loss_that_is_not_finite_has_diverged(loss, explosion):
    with pytest.raises(Diverged, match=f"the loss became {loss} at step 3"):
        watched([0.6, 0.6, loss], explosion)


def test_a_loss_that_runs_away_has_diverged_and_one_bad_batch_has_not():
    assert watched([0.6] * 50 + [12.0] + [0.6] * 50).calm
    with pytest.raises(Diverged, match=r"the loss rose to \S+, over 5 times its lowest \(0\.6\), at step \d+"):
        watched([0.6] * 50 + [0.6 * 1.2**n for n in range(50)])
    with pytest.raises(Diverged):
        watched([0.6] * 50 + [2.0] * 50, explosion=2.0)
    assert watched([0.6] * 50 + [2.0] * 50, explosion=None).calm


def test_well_before_it_has_diverged_it_is_not_calm():
    assert not watched([0.6] * 50 + [4.0] * 20, explosion=8.0).calm


@given(LOSSES, LOSSES)
def test_a_state_that_was_kept_goes_on_as_if_nothing_had_happened(first, second):
    whole, kept = LossWatch(None), LossWatch(None)
    for watch in (whole, kept):
        for loss in first:
            watch.add(loss, 1)
    resumed = LossWatch(None)
    resumed.load_state_dict(kept.state_dict())
    for watch in (whole, resumed):
        for loss in second:
            watch.add(loss, 1)
    assert whole.state_dict() == resumed.state_dict()


def test_tries_are_remembered_and_end(tmp_path):
    tries = Tries(tmp_path, allowed=1, factor=0.25, explosion=None)
    assert (tries.count, tries.slowed) == (0, 1.0)
    assert tries.step_back(Diverged("the loss became nan", 7), tries.points(50, 2)) == (
        "the loss became nan at step 7; continuing from the start at 0.25 times optimizer.lr"
    )
    again = Tries(tmp_path, allowed=1, factor=0.25, explosion=None)
    assert (again.count, again.slowed) == (1, 0.25)
    with pytest.raises(StageError, match="lower optimizer.lr"):
        again.step_back(Diverged("the loss became nan", 9), again.points(50, 2))
