"""Nearest words, which every message takes from one place."""

from __future__ import annotations

from pathlib import Path

import pytest

import pathsynth
from pathsynth.vocabulary.spelling import nearest_hint, nearest_words


@pytest.mark.parametrize(
    "wrong, hint",
    [("rnak", "; nearest: rank"), ("RANK", "; nearest: rank"), ("dora", "; nearest: doraemon"), ("zzzz", ""), ("", "")],
)
def test_a_hint_names_the_nearest_word_or_one_that_begins_so(wrong, hint):
    assert nearest_hint(wrong, ["rank", "alpha", "doraemon"]) == hint


def test_the_nearest_words_come_in_order_and_as_they_are_spelled():
    assert nearest_words("resnet19", ["ResNet18", "resnet10t", "vovnet"], most=2) == ["ResNet18", "resnet10t"]


def test_no_other_module_compares_spellings():
    package = Path(pathsynth.__file__).parent
    assert [path.name for path in package.rglob("*.py") if "difflib" in path.read_text(encoding="utf-8")] == ["spelling.py"]
