"""Scores of anybody's images: those of the protocol, with what does not fit refused."""

from __future__ import annotations

import numpy as np
import pytest

from pathsynth.ledger.errors import RequestError
from pathsynth.metrics.agreement import macro_interval, wilson
from pathsynth.metrics.fidelity import kid
from pathsynth.metrics.image_scores import evaluate_images
from pathsynth.metrics.prdc import prdc

NAMES = ["dark", "bright"]


def squares(seed: int, n: int = 30) -> np.ndarray:
    """Noise around dark, then around bright: uint8 (2n, 4, 4, 3)."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(np.repeat([90, 170], n)[:, None, None, None], 60, (2 * n, 4, 4, 3)), 0, 255).astype(np.uint8)


def classify(images):
    bright = images[:, 0, 0, 0] / 255
    return np.stack([1 - bright, bright], axis=1)


def features(images):
    return images.reshape(len(images), -1)[:, :6] / 255


LABELS = np.repeat([0, 1], 30)


def test_the_numbers_are_those_of_the_metrics():
    images, real = squares(0), squares(1)
    evaluation = evaluate_images(images, LABELS, classify, NAMES, real=real, features=features, stage="before filtering", data="squares")
    table = evaluation.table()
    overall = table[table["class"].isna()].set_index("metric")
    predictions = classify(images).argmax(axis=1)
    hits = predictions == LABELS
    expected = {
        "accuracy": wilson(int(hits.sum()), 60),
        "macro_f1": macro_interval(LABELS, predictions, 2, 0)["macro_f1"],
        "kid": kid(features(real), features(images), 0),
        "coverage": prdc(features(real), features(images), 0).coverage,
    }
    for metric, interval in expected.items():
        assert tuple(overall.loc[metric, ["value", "low", "high"]]) == pytest.approx((interval.value, interval.low, interval.high))
    assert np.isnan(overall.loc["frechet_distance", "low"])
    dark = table[(table.metric == "recall") & (table["class"] == "dark")]
    assert dark.value.item() == hits[:30].mean() and dark.n.item() == 30
    assert set(table.stage) == {"before filtering"} and set(table.data) == {"squares"}
    assert np.sum(evaluation.confusions["before filtering/judge"]) == 60


def test_too_few_images_are_said():
    few = squares(0, 4)
    evaluation = evaluate_images(few, [0] * 4 + [1] * 4, classify, NAMES, real=squares(1), features=features)
    assert {m.metric for m in evaluation.missing} == {"kid", "coverage"} and "8 images" in evaluation.missing[0].reason
    assert "kid" not in set(evaluation.table().metric) and list(evaluation.confusions) == ["judge"]


@pytest.mark.parametrize(
    "wrong, refusal",
    [
        ({"labels": LABELS[:-1]}, "60 whole numbers"),
        ({"labels": LABELS + 1}, r"in 0\.\.1"),
        ({"labels": LABELS * 1.0}, "whole numbers"),
        ({"images": squares(0)[:0], "labels": []}, "one at least"),
        ({"classes": ["a", "b", "c"]}, "2 columns for 3 classes"),
        ({"classify": lambda images: [1, 2]}, r"classify gave \(2,\) for 60 images"),
        ({"classify": lambda images: classify(images) * np.nan}, "finite"),
        ({"real": squares(1)}, "go together"),
        ({"features": features}, "go together"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, refusal):
    with pytest.raises(RequestError, match=refusal):
        evaluate_images(**{"images": squares(0), "labels": LABELS, "classify": classify, "classes": NAMES, **wrong})
