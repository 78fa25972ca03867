"""The request of `generate` becomes prompts by class."""

from __future__ import annotations

import pytest

from pathsynth.config import GenerateConfig
from pathsynth.sampling.request import requested_prompts
from pathsynth.vocabulary.labels import UnknownLabelError
from pathsynth.vocabulary.prompts import colorectal_prompts

BOOK = colorectal_prompts()


def asked(**fields) -> dict[int, str]:
    return requested_prompts(GenerateConfig(**{"prompt": None, "label": None, "labels": "all", "n": 1, **fields}), BOOK)


def test_all_labels_are_drawn_from_their_canonical_prompts():
    assert asked() == {i: BOOK.canonical(i) for i in range(9)}


def test_a_list_of_labels_takes_names_and_aliases():
    assert list(asked(labels="mucin,smooth-muscle")) == [4, 5]


def test_a_prompt_names_its_class_and_label_settles_which():
    assert asked(prompt="fatty tissue, please") == {0: "fatty tissue, please"}
    assert asked(prompt="mucus beside muscle", label="mucus") == {4: "mucus beside muscle"}
    with pytest.raises(UnknownLabelError, match="label="):
        asked(prompt="mucus beside muscle")


def test_label_alone_is_that_class():
    assert asked(label="debris") == {2: BOOK.canonical(2)}


def test_unknown_names_are_refused():
    with pytest.raises(UnknownLabelError, match="nearest: mucus"):
        asked(labels="mucuss")
