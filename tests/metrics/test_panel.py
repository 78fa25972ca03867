"""A panel of judges: votes by hand, records by name, and how often the interval of its mean holds the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from pathsynth.metrics.agreement import agreement, macro_interval, panel_accuracy, panel_macro_interval
from pathsynth.metrics.panel import evaluate_panel, majority_vote
from pathsynth.vocabulary.labels import LabelSpace, label_space_of


@dataclass(frozen=True)
class Data:
    name: str
    space: LabelSpace


DATA = Data("drawn", label_space_of(["a", "b", "c"]))


def sure(*classes: int, of: int = 3) -> np.ndarray:
    """Probabilities 0.8 of the named class; −1: no picture."""
    rows = np.full((len(classes), of), 0.1)
    for row, label in zip(rows, classes, strict=True):
        row[:] = np.nan if label < 0 else 0.1
        row[label if label >= 0 else slice(0)] = 0.8
    return rows


def by_scorer(evaluation, metric: str, slug: str | None = None) -> dict[str, float]:
    return {m.scorer: round(m.value, 3) for m in evaluation.metrics if (m.metric, m.class_) == (metric, slug)}


def test_most_judges_decide_and_of_equally_many_the_surer():
    doubtful = np.array([[0.5, 0.4, 0.1]])
    two_of_three = np.stack([sure(1), sure(1), sure(0)])
    assert majority_vote(two_of_three).tolist() == [1]
    assert majority_vote(np.stack([doubtful, sure(2)])).tolist() == [2]
    assert majority_vote(np.stack([sure(-1), sure(-1)])).tolist() == [-1]


def test_each_judge_the_mean_the_worst_and_the_majority_have_their_scores():
    labels = np.array([0, 0, 1, 1, 2, 2])
    answers = {"judge_x": sure(0, 0, 1, 1, 2, 2), "judge_y": sure(0, 1, 1, 1, 2, -1), "judge_z": sure(0, 1, 1, 0, 2, 0)}
    found = evaluate_panel(labels, answers, DATA, 0, stage="before filtering", prompts="canonical")
    right = {"judge_x": 1.0, "judge_y": 0.667, "judge_z": 0.5}
    assert by_scorer(found, "accuracy") == {**right, "panel_majority": 0.667, "panel_mean": 0.722, "panel_worst": 0.5}
    of_a = {"judge_x": 1.0, "judge_y": 0.5, "judge_z": 0.5, "panel_majority": 0.5, "panel_mean": 0.667, "panel_worst": 0.5}
    assert by_scorer(found, "recall", "a") == of_a
    votes = np.array([[0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 2, -1], [0, 1, 1, 0, 2, 0]])
    each = [agreement(labels, row, 3).macro_f1 for row in votes]
    assert by_scorer(found, "macro_f1")["panel_mean"] == round(float(np.mean(each)), 3)
    assert by_scorer(found, "f1", "c")["panel_mean"] == round((1 + 2 / 3 + 2 / 3) / 3, 3)
    assert {(m.stage, m.split, m.prompts, m.n) for m in found.metrics if m.metric == "accuracy"} == {
        ("before filtering", "generated", "canonical", 6)
    }
    assert found.confusions["before filtering/judge_z"] == [[1, 1, 0], [1, 1, 0], [1, 0, 1]]


def test_a_panel_of_one_is_that_judge():
    rng = np.random.default_rng(3)
    labels = np.arange(300) % 3
    predictions = np.where(rng.random(300) < 0.7, labels, rng.integers(3, size=300))
    alone, panel = macro_interval(labels, predictions, 3, 0), panel_macro_interval(labels, predictions[None], 3, 0)
    for name, expected in alone.items():
        assert panel[name].value == pytest.approx(expected.value)
        assert (panel[name].low, panel[name].high) == pytest.approx((expected.low, expected.high), abs=0.004)
    assert panel_accuracy(labels, predictions[None]).value == pytest.approx((labels == predictions).mean())


def test_judges_that_agree_tell_no_more_than_one_and_others_tell_more():
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 3
    one, *others = (np.where(rng.random(600) < 0.7, labels, (labels + 1) % 3) for _ in range(3))
    same, apart = np.stack([one] * 3), np.stack([one, *others])
    widths = [(i := panel_accuracy(labels, votes)).high - i.low for votes in (one[None], same, apart)]
    assert widths[0] == pytest.approx(widths[1])
    assert widths[2] < 0.75 * widths[0]


@pytest.mark.parametrize("n", [9, 90])
def test_the_interval_of_the_mean_holds_the_truth(n):
    """Images differ in how hard they are, alike for all judges; the truth is the mean over images never drawn here."""
    rng = np.random.default_rng(n)
    skill = np.array([0.95, 0.9, 0.8])
    labels, held = np.arange(n) % 3, {"accuracy": 0, "macro_recall": 0}
    for run in range(300):
        hard = rng.random(n) < 0.2
        right = rng.random((3, n)) < np.where(hard, 0.3, skill[:, None])
        votes = np.where(right, labels, (labels + 1) % 3)
        truth = float((0.2 * 0.3 + 0.8 * skill).mean())
        found = {"accuracy": panel_accuracy(labels, votes), **panel_macro_interval(labels, votes, 3, run, resamples=200)}
        for name in held:
            held[name] += found[name].low <= truth <= found[name].high
    assert min(held.values()) >= 0.925 * 300, held


def test_a_class_that_nobody_asked_for_counts_nothing():
    labels = np.array([0, 0, 1, 1])
    found = panel_macro_interval(labels, np.stack([labels, labels]), 3, 0)
    assert found["macro_recall"].value == pytest.approx(2 / 3)
    assert found["macro_recall"].high <= 2 / 3 + 1e-9
