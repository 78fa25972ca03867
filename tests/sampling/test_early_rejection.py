"""Early rejection: the threshold loses no more than it may, what it does is counted on others, and broken images are left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathsynth.ledger.errors import StageError
from pathsynth.sampling.acceptance_rules import Candidate, Verdict, broken
from pathsynth.sampling.early_rejection import (
    EarlyRejection,
    PreviewedAttempt,
    Threshold,
    calibrate,
    fit_threshold,
    format_threshold,
    least_probability,
    read_threshold,
    write_threshold,
)
from pathsynth.sampling.rejection import Route
from pathsynth.sampling.slots import Stream, attempt_at, slots_of

IMAGE = np.ones((2, 2, 3), dtype=np.uint8)


@given(st.lists(st.floats(0, 1), max_size=60), st.floats(0, 0.99))
def test_no_more_than_the_share_lies_below_the_threshold(accepted, loss):
    threshold = least_probability(accepted, loss)
    assert sum(p < threshold for p in accepted) <= loss * len(accepted)
    higher = [p for p in accepted if p > threshold]
    if higher:
        assert sum(p < min(higher) for p in accepted) > int(loss * len(accepted)), "no higher threshold would do"


def test_the_cut_is_fitted_on_even_slots_and_counted_on_odd_ones():
    even = [PreviewedAttempt(2 * i, p, p > 0.15) for i, p in enumerate((0.1, 0.2, 0.3, 0.4, 0.5))]
    odd = [PreviewedAttempt(2 * i + 1, p, a) for i, (p, a) in enumerate([(0.05, False), (0.25, True), (0.29, False), (0.6, True)])]
    threshold = fit_threshold([c for pair in zip(even, [*odd, odd[0]], strict=True) for c in pair][:-1], 0.25, 8, 20)
    assert threshold == Threshold(0.3, 8, 20, fitted=4, candidates=4, given_up=3, accepted=2, lost=1)
    assert format_threshold(threshold, Route((2,) * 20)) == (
        "early rejection: after 8 of 20 steps, candidates with a probability below 0.3 are rejected; on candidates it was not fitted on: "
        "lost 0.500 [0.095, 0.905] (n = 2) of the accepted, saved 0.450 [0.180, 0.573] (n = 4) of the calls"
    )
    assert "saved 0.429 [" in format_threshold(threshold, Route((2,) + (1,) * 19)), "12 of 21 calls are left, three of four save them"


def test_where_nothing_is_accepted_nothing_is_given_up():
    threshold = fit_threshold([PreviewedAttempt(i, 0.0, False) for i in range(6)], 0.02, 2, 4)
    assert (threshold.probability, threshold.given_up, threshold.lost) == (0.0, 0, 0)
    assert "none is rejected early" in format_threshold(threshold, Route((2,) * 4))


class Drawing:
    def preview(self, attempts):
        return [None if a.slot.index == 1 else np.full((2, 2, 3), 10 * (a.slot.index + 1), np.uint8) for a in attempts]

    def __call__(self, attempts):
        return [None if a.slot.index in (1, 2) else IMAGE for a in attempts]


class Seeing:
    """Sees a hundredth of the grey value; accepts what there is."""

    def see(self, images):
        probabilities = [None if i is None else i[0, 0, 0] / 100 for i in images]
        return [broken("not finite", 2) if p is None else Candidate(np.array([p, 1 - p])) for p in probabilities]

    def __call__(self, attempts, images):
        return [broken("black", 2) if i is None else Verdict(True, 0, 0.9, (0.9, 0.1), None, False) for i in images]


ATTEMPTS = [attempt_at(slot, 0, 0) for slot in slots_of(Stream.CALIBRATE, {0: "x"}, 5)]


def test_candidates_are_previewed_and_drawn_to_the_end():
    told = []
    found = calibrate(ATTEMPTS, Drawing(), Seeing(), batch_size=2, on_candidate=lambda: told.append(1))
    assert found == [PreviewedAttempt(0, 0.1, True), PreviewedAttempt(3, 0.4, True), PreviewedAttempt(4, 0.5, True)]
    assert len(told) == 5


def test_early_rejection_gives_up_what_is_below_the_threshold_and_what_is_not_finite():
    reject_early = EarlyRejection(Drawing(), Seeing(), Threshold(0.35, 8, 20, 9, 9, 0, 9, 0))
    hopeless = reject_early(ATTEMPTS)
    assert [h is not None for h in hopeless] == [True, True, True, False, False]
    image, verdict = hopeless[0]
    assert (image[0, 0, 0], verdict.accepted, verdict.probability, verdict.reason) == (10, False, 0.1, "hopeless after 8 steps")
    assert hopeless[1] == (None, broken("not finite", 2)) or hopeless[1][1].failed
    assert not hopeless[0][1].near_margin


def test_a_threshold_is_read_back_and_a_damaged_one_named(tmp_path):
    threshold = fit_threshold([PreviewedAttempt(i, 0.5, True) for i in range(4)], 0.02, 2, 4)
    write_threshold(tmp_path, threshold)
    assert read_threshold(tmp_path) == threshold
    (tmp_path / "early_rejection.json").write_text('{"probability": 1}')
    with pytest.raises(StageError, match="threshold of early rejection"):
        read_threshold(tmp_path)
