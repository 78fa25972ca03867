"""The figures of a search beside a grid: seconds of pruned trainings count, and nothing is known before a trial has ended."""

from __future__ import annotations

import pytest

from benchmarks.tune import Tried, compare

GRID = [Tried(10, 0.2, 0.3), Tried(10, 0.5, 0.4), Tried(20, 0.4, 0.9)]


def test_searches_are_compared_at_equal_seconds_of_training():
    pruned, failed = Tried(5, None), Tried(2, None)
    tpe = {0: [Tried(10, 0.3, 0.1), pruned, Tried(15, 0.5, 0.2)], 1: [failed, Tried(18, 0.6, 0.7), Tried(30, 0.9, 0.8)]}
    figures = compare(GRID, {"tpe": tpe})
    assert figures["grid"] == {"seconds": 40, "trials": 3, "best": 0.5, "chosen_by_judge": 0.4}
    assert figures["grids_best_after"] == {"tpe": {0: 0.75, 1: 0.5}}
    assert figures["chosen_by_judge"] == {"tpe": {0: 0.2, 1: 0.8}}
    best = figures["best_at"]["tpe"]
    assert best["0.25"] == {"mean": None, "low": None, "high": None}  # one of them had no score yet
    assert best["0.5"]["mean"] == pytest.approx((0.3 + 0.6) / 2)
    assert best["1.0"]["mean"] == pytest.approx((0.5 + 0.6) / 2), "what ended after the budget does not count"
    assert best["1.0"]["low"] == pytest.approx(0.55 - 12.706 * 0.05, abs=1e-3)


def test_a_search_that_never_had_the_grids_best_says_so():
    assert compare(GRID, {"random": {0: [Tried(40, 0.4, 0.4)]}})["grids_best_after"] == {"random": {0: None}}
