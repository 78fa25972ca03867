"""Prompts and names find their class, and only theirs."""

from __future__ import annotations

import pytest

from pathsynth.vocabulary.labels import COLORECTAL, UnknownLabelError
from pathsynth.vocabulary.prompts import colorectal_prompts

BOOK = colorectal_prompts()


@pytest.mark.parametrize("label", range(9))
def test_every_prompt_of_the_book_resolves_to_its_own_class(label):
    prompts = BOOK.classes[label]
    for prompt in (prompts.canonical, *prompts.training, *prompts.held_out):
        assert COLORECTAL.resolve_prompt(prompt).index == label, prompt


def test_the_book_is_the_papers_prompt_and_enough_paraphrases():
    assert BOOK.canonical(5) == "a histopathological image of an area with smooth muscle"
    for prompts in BOOK.classes:
        paraphrases = (*prompts.training, *prompts.held_out)
        assert len(set(paraphrases)) >= 4 and len(prompts.held_out) >= 1
        assert not set(prompts.training) & set(prompts.held_out)


def test_longer_names_win_over_names_inside_them():
    assert COLORECTAL.resolve_prompt("Cancer-associated STROMA, please").slug == "cancer-stroma"
    assert COLORECTAL.resolve_prompt("tumor stroma").slug == "cancer-stroma"
    assert COLORECTAL.resolve_prompt("normal mucosa").slug == "normal-mucosa"


def test_no_class_or_two_classes_are_refused_with_the_list():
    with pytest.raises(UnknownLabelError, match=r"names no class.*adipose, background"):
        COLORECTAL.resolve_prompt("a photo of a ship")
    with pytest.raises(UnknownLabelError, match=r"several classes.*label="):
        COLORECTAL.resolve_prompt("mucus beside smooth muscle")


def test_a_misspelled_name_is_told_the_nearest():
    assert COLORECTAL.by_slug("Smooth Muscle").index == 5
    with pytest.raises(UnknownLabelError, match="nearest: lymphocytes"):
        COLORECTAL.by_slug("lymphocites")
