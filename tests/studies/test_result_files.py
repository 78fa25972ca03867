"""What is said of gate and judge on real images, where val is too small or the two have no errors in common."""

from __future__ import annotations

import numpy as np
import pytest

from pathsynth.evaluation.classifier_scores import _common_errors
from pathsynth.evaluation.trial_scores import _unknown
from pathsynth.ledger.records import Metric
from pathsynth.metrics.agreement import agreement, wilson
from pathsynth.training.score_classifier import ClassifierScores


def record(metric: str, split: str) -> Metric:
    return Metric(metric=metric, value=0.5, n=9, unit="image", split=split, scorer="gate", data="toy", seed=0)


def scores(split: str, wrong: list[int]) -> ClassifierScores:
    labels = np.zeros(len(wrong), dtype=np.int64)
    found, certain = np.array(wrong, bool), np.ones((len(wrong), 1))
    return ClassifierScores(split, len(wrong), agreement(labels, labels, 1), wilson(1, 2), {}, None, 0.0, 0.0, found, certain, [])


@pytest.mark.parametrize(
    ("known", "missing"),
    [
        ([record("accuracy", "val"), record("error_correlation", "val")], []),
        ([record("accuracy", "test"), record("error_correlation", "test")], ["gate and judge on val"]),
        ([record("accuracy", "val")], ["error_correlation"]),
        ([], ["gate and judge on val", "error_correlation"]),
    ],
)
def test_what_is_not_known_of_the_classifiers_is_missing_with_a_reason(known, missing):
    found = _unknown(known)
    assert [m.metric for m in found] == missing
    assert all(m.reason for m in found)


def test_common_errors_are_those_on_the_split_that_is_compared_with():
    on_val, on_test = scores("val", [1, 0, 0, 0]), scores("test", [1, 1, 0, 0])
    (found,) = _common_errors({"gate": (on_val, on_test), "judge": (on_val, on_test)}, "test", "toy", 0)
    assert (found.split, found.n, found.value) == ("test", 4, 1)
    assert _common_errors({"gate": (on_test,), "judge": (on_test,)}, "val", "toy", 0) == []
    assert _common_errors({"gate": (on_test,), "judge": (scores("test", [0, 0, 0, 0]),)}, "test", "toy", 0) == []
