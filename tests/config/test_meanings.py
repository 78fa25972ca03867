"""Each key that people can set has a meaning, once, in the schema."""

from __future__ import annotations

from pathsynth.config.meanings import key_fields, key_meaning
from pathsynth.config.parse import setting_keys


def test_every_key_has_a_meaning_that_is_a_sentence():
    assert setting_keys() <= key_fields().keys()
    wrong = {key: text for key in key_fields() if not (text := key_meaning(key)) or not text.endswith((".", ")"))}
    assert wrong == {}


def test_a_key_of_a_class_that_another_is_made_of_has_its_meaning_there():
    assert key_meaning("gate.seed") == key_meaning("judge.seed") == key_meaning("classifier.seed")
    assert "Trainer" in key_meaning("trainer._target_")
    assert key_meaning("hydra.sweeper.n_trials").startswith("Proposals")
    assert "of your own" in key_meaning("gate._target_") and "gate.module" not in key_fields()
    assert key_meaning("labels") and "generate.labels" not in key_fields()
