"""Agreement metrics against known answers and other people's code."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from pathsynth.metrics.agreement import (
    accuracy_auc,
    agreement,
    effective_wilson,
    macro_interval,
    wilson,
)


def some_predictions(n: int = 300, classes: int = 9, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return labels, np.where(rng.random(n) < 0.6, labels, rng.integers(classes, size=n))


def test_wilson_gives_the_textbook_interval():
    interval = wilson(64, 90)
    assert (round(interval.value, 4), round(interval.low, 4), round(interval.high, 4)) == (0.7111, 0.6104, 0.7946)


def test_wilson_is_not_empty_at_the_ends():
    assert wilson(0, 10).low == 0
    assert wilson(0, 10).high == pytest.approx(0.2775, abs=1e-4)
    assert wilson(10, 10).low == pytest.approx(0.7225, abs=1e-4)


@pytest.mark.parametrize(("successes", "n", "why"), [(0, 0, "0 trials"), (3, 2, "not be greater"), (-1, 5, "k")])
def test_impossible_proportions_are_refused(successes, n, why):
    with pytest.raises(ValueError, match=why):
        wilson(successes, n)


def test_agreement_gives_the_papers_scores():
    recall = {0: 10, 1: 10, 2: 10, 3: 10, 4: 6, 5: 8, 6: 4, 7: 6, 8: 0}
    labels = np.repeat(np.arange(9), 10)
    predictions = labels.copy()
    for label, right in recall.items():
        predictions[label * 10 + right : (label + 1) * 10] = 7 if label != 7 else 3
    result = agreement(labels, predictions, 9)
    assert result.accuracy == pytest.approx(64 / 90)
    assert result.macro_recall == pytest.approx(0.7111, abs=1e-4)
    assert result.confusion[8, 7] == 10
    assert result.recall[8] == 0
    assert result.f1[8] == 0


def test_agreement_matches_scikit_learn():
    labels, predictions = some_predictions()
    result = agreement(labels, predictions, 10)
    expected = precision_recall_fscore_support(labels, predictions, labels=range(10), zero_division=0)
    for ours, theirs in zip((result.precision, result.recall, result.f1), expected, strict=False):
        np.testing.assert_allclose(ours, theirs)
    assert result.macro_f1 == pytest.approx(expected[2].mean())


def test_images_without_a_prediction_count_as_wrong_and_in_no_column():
    result = agreement(np.array([0, 0, 1]), np.array([0, -1, 1]), 2)
    assert result.confusion.tolist() == [[1, 0], [0, 1]]
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.recall.tolist() == [0.5, 1]
    assert result.precision.tolist() == [1, 1]


@pytest.mark.parametrize(("labels", "predictions"), [([0], [0, 1]), ([], []), ([2], [0]), ([0], [2]), ([0], [-2])])
def test_agreement_refuses_what_it_cannot_count(labels, predictions):
    with pytest.raises(ValueError, match=r"equally long|must lie"):
        agreement(np.array(labels, dtype=int), np.array(predictions, dtype=int), 2)


def test_macro_interval_is_that_of_a_plain_bootstrap_within_classes():
    labels, predictions = some_predictions()
    rng = np.random.default_rng(5)
    rows = [np.flatnonzero(labels == c) for c in range(9)]
    drawn = []
    for _ in range(600):
        chosen = np.concatenate([rng.choice(r, len(r)) for r in rows])
        drawn.append(agreement(labels[chosen], predictions[chosen], 9).macro_f1)
    interval = macro_interval(labels, predictions, 9, seed=0)["macro_f1"]
    assert interval.value == pytest.approx(agreement(labels, predictions, 9).macro_f1)
    assert interval.low == pytest.approx(np.quantile(drawn, 0.025), abs=0.012)
    assert interval.high == pytest.approx(np.quantile(drawn, 0.975), abs=0.012)


def test_macro_interval_narrows_with_more_images_and_repeats_with_its_seed():
    few, many = some_predictions(90), some_predictions(9000)
    widths = [i.high - i.low for i in (macro_interval(*few, 9, 0)["macro_f1"], macro_interval(*many, 9, 0)["macro_f1"])]
    assert widths[0] / widths[1] == pytest.approx(10, rel=0.25)
    assert macro_interval(*few, 9, 3) == macro_interval(*few, 9, 3) != macro_interval(*few, 9, 4)


def test_macro_interval_of_a_perfect_score_is_wilsons_and_an_absent_class_counts_zero():
    labels = np.array([0, 0, 1, 1])
    expected = wilson(4, 4)
    for interval in macro_interval(labels, labels, 3, 0).values():
        assert (interval.value, interval.high) == pytest.approx((2 / 3, 2 / 3))
        assert interval.low == pytest.approx(2 / 3 * expected.low)


def test_an_effective_number_of_trials_gives_scipys_interval_where_it_is_whole():
    for successes, n in ((0, 10), (64, 90), (10, 10)):
        ours, theirs = effective_wilson(successes / n, n), wilson(successes, n)
        assert (ours.value, ours.low, ours.high) == pytest.approx((theirs.value, theirs.low, theirs.high), abs=1e-12)


def test_accuracy_and_auc_are_medmnists(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # importing medmnist makes a folder there
    from medmnist.evaluator import getACC, getAUC

    labels = np.arange(90)[:, None] % 9
    scores = (np.random.default_rng(0).random((90, 9)) + 0.5 * np.eye(9)[labels[:, 0]]).round(1)
    expected = getACC(labels, scores, "multi-class"), getAUC(labels, scores, "multi-class")
    assert accuracy_auc(labels, scores) == pytest.approx(expected)


def test_auc_of_an_absent_class_is_refused():
    with pytest.raises(ValueError, match=r"\[2\]"):
        accuracy_auc(np.array([0, 1, 1]), np.eye(3))
