"""Which rules the settings of sampling ask for; a copy of a training image is rejected by the last of them."""

from __future__ import annotations

import numpy as np

from pathsynth.config import DataConfig, SamplingConfig
from pathsynth.data.catalogue import open_data
from pathsynth.models.classifier import Classifier, ClassifierSpec
from pathsynth.sampling.gate import Gate
from pathsynth.sampling.slots import Slot, Stream, attempt_at
from pathsynth.sampling.verdict import AtLeast, Leads, MostProbable, NoCopy
from pathsynth.study.acceptance import acceptance_rules

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
