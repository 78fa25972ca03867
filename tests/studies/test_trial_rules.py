"""Which rules the settings of sampling ask for; a copy of a training image is rejected by the last of them."""

from __future__ import annotations

import numpy as np
import pytest

from pathsynth.config import DataConfig, SamplingConfig
from pathsynth.data.catalogue import open_data
from pathsynth.ledger.errors import RequestError
from pathsynth.models.image_classifier import Classifier, ClassifierSpec
from pathsynth.sampling.acceptance_rules import AtLeast, AtLeastByClass, Candidate, Leads, MostProbable, NoCopy
from pathsynth.sampling.gate import Gate, class_probabilities
from pathsynth.sampling.slots import Slot, Stream, attempt_at
from pathsynth.studies.execution.trial_rules import acceptance_rules, format_limits

PLAIN = SamplingConfig(steps=2, guidance=2.0, batch_size=8, seed=0, attempts=2, threshold=0.0)


def test_a_planted_copy_is_rejected_and_most_real_images_are_not():
    data = open_data(DataConfig(name="phantom", size=32, seed=0, n_train=60, n_val=40, n_test=9))
    gate = Classifier(ClassifierSpec("resnet10t", 32, "stock", data.space.slugs, data.space.name)).eval()
    assert acceptance_rules(gate, data, PLAIN) == (MostProbable(),)
    asked = PLAIN.model_copy(update={"threshold": 0.3, "margin": 0.1, "reject_copies": True})
    rules = acceptance_rules(gate, data, asked)
    assert [type(rule) for rule in rules] == [MostProbable, AtLeast, Leads, NoCopy]
    images = np.concatenate([data.split("train").images[:3], data.split("val").images])
    attempts = [attempt_at(Slot(Stream.EVAL, 0, i, "x"), 0, 0) for i in range(len(images))]
    reasons = [v.reason for v in Gate(gate, rules[3:])(attempts, list(images))]
    assert reasons[:3] == ["nearly a training image"] * 3
    assert sum(reason is not None for reason in reasons[3:]) <= 1


def test_a_wanted_precision_sets_a_limit_for_each_class_on_real_val_images():
    data = open_data(DataConfig(name="phantom", size=32, seed=0, n_train=60, n_val=90, n_test=9))
    gate = Classifier(ClassifierSpec("resnet10t", 32, "stock", data.space.slugs, data.space.name)).eval()
    rule = acceptance_rules(gate, data, PLAIN.model_copy(update={"precision_target": 0.9}))[1]
    held_out = data.assessment("val")
    probabilities = class_probabilities(gate, held_out.images)
    answers, right = probabilities.argmax(axis=1), probabilities.argmax(axis=1) == held_out.labels
    kept = probabilities.max(axis=1) >= np.array(rule.thresholds)[answers]
    for label in np.unique(answers):
        own = kept & (answers == label)
        assert not own.any() or right[own].mean() >= 0.9
    (line,) = format_limits([MostProbable(), rule], data.space)
    assert line.startswith("gate: least probabilities for a precision of 0.9 on real val images: ")
    assert all((c.slug in line) == (rule.thresholds[c.index] > 0) for c in data.space.classes)
    assert format_limits([AtLeastByClass((0.0,) * 9, 0.9)], data.space)[0].endswith("none is needed")
    assert format_limits([MostProbable()], data.space) == []
    sure = Candidate(np.full(9, 0.1))
    assert rule.slack(sure, 3) == pytest.approx(0.1 - rule.thresholds[3])
    assert rule.reason == "probability below what a precision of 0.9 needs"


def with_rules(**rules) -> SamplingConfig:
    return PLAIN.model_copy(update={"rules": rules})


class Looking:
    """A rule that keeps what it was shown, and rejects what is red."""

    reason = "red"
    needs_features = True

    def __init__(self) -> None:
        self.seen = []

    def slack(self, seen, label):
        self.seen.append(seen)
        return 128 - float(seen.image[..., 0].mean())


def test_a_rule_of_ones_own_comes_last_and_is_shown_pixels_and_features_that_it_cannot_change():
    classifier = Classifier(ClassifierSpec("resnet10t", 32, "stock", ("a", "b"), "two")).eval()
    rule, images = Looking(), [np.full((32, 32, 3), level, np.uint8) for level in (200, 90)]
    attempts = [attempt_at(Slot(Stream.EVAL, 0, i, "x"), 0, 0) for i in range(2)]
    assert [v.reason for v in Gate(classifier, (rule,))(attempts, list(images))] == ["red", None]
    assert all(np.array_equal(seen.image, image) for seen, image in zip(rule.seen, images, strict=True))
    assert [seen.features.ndim for seen in rule.seen] == [1, 1]
    with pytest.raises(ValueError, match="read-only"):
        rule.seen[0].image[:] = 0


def test_rules_are_made_of_their_settings_in_their_order():
    data = open_data(DataConfig(name="phantom", size=32, seed=0, n_train=9, n_val=9, n_test=9))
    strict = {"_target_": "pathsynth.sampling.acceptance_rules.AtLeast", "threshold": 0.9}
    ahead = {"_target_": "pathsynth.sampling.acceptance_rules.Leads", "margin": 0.9}
    assert acceptance_rules(None, data, with_rules(strict=strict, ahead=ahead)) == (MostProbable(), AtLeast(0.9), Leads(0.9))


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ({"_target_": "pathsynth.sampling.acceptance_rules.AtLeast", "least": 1}, "rules.mine cannot be made of .*AtLeast: .*least"),
        ({"_target_": "fractions.Fraction"}, "what fractions.Fraction makes lacks reason, slack"),
    ],
)
def test_a_rule_that_cannot_be_made_is_reported_with_its_key(rule, fault):
    with pytest.raises(RequestError, match=fault) as refused:
        acceptance_rules(None, None, with_rules(mine=rule))
    assert "\n" not in str(refused.value)
