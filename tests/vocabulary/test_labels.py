"""Prompts and names find their class, and only theirs."""

from __future__ import annotations

import pytest

from pathsynth.vocabulary.labels import COLORECTAL, LabelClass, LabelSpace, UnknownLabelError, class_names, class_slug, slug_words
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


def test_a_misspelled_name_is_reported_the_nearest():
    assert COLORECTAL.by_slug("Smooth Muscle").index == 5
    with pytest.raises(UnknownLabelError, match=r"nearest: normal-mucosa or mucus\)"):
        COLORECTAL.resolve_prompt("mucos")
    with pytest.raises(UnknownLabelError, match="nearest: lymphocytes"):
        COLORECTAL.by_slug("lymphocites")


@pytest.mark.parametrize(
    "prompt, words",
    [
        ("tissue without any tumor", "without any tumor"),
        ("no mucus", "no mucus"),
        ("a slide free of tumour epithelium", "free of tumour epithelium"),
        ("not a single lymphocyte", "not a single lymphocyte"),
        ("tumor is absent", "tumor is absent"),
        ("tumor-free tissue", "tumor free"),
        ("mucus without tumor", "without tumor"),
    ],
)
def test_a_prompt_that_says_that_a_class_is_not_there_is_refused(prompt, words):
    with pytest.raises(UnknownLabelError, match=f"the prompt says '{words}'"):
        COLORECTAL.resolve_prompt(prompt)


@pytest.mark.parametrize(
    "prompt, slug", [("mucus, not too pale", "mucus"), ("adipose tissue without a border", "adipose"), ("nodular debris", "debris")]
)
def test_a_negation_of_something_else_is_no_matter(prompt, slug):
    assert COLORECTAL.resolve_prompt(prompt).slug == slug


def test_a_class_may_have_a_negation_in_its_name():
    space = LabelSpace("two", (LabelClass(0, "no-tumor", "no tumor"), LabelClass(1, "tumor", "tumor")))
    assert space.resolve_prompt("an area with no tumor").index == 0 and space.resolve_prompt("an area with tumor").index == 1


@pytest.mark.parametrize(
    "name, slug, words",
    [
        ("Red cells", "red-cells", "red cells"),
        ("T-cell (CD8+)", "t-cell-cd8", "t cell cd8"),
        ("Épithélium", "epithelium", "epithelium"),
        ("汉字", "xn--p8s370b", "汉字"),
        ("😀", "xn--e28h", "😀"),
        ("__", "", ""),
    ],
)
def test_slugs_are_ascii_and_say_what_they_stand_for(name, slug, words):
    assert (class_slug(name), slug_words(slug)) == (slug, words)


@pytest.mark.parametrize(
    "folders, names",
    [
        (["01_TUMOR", "02_STROMA"], ["tumor", "stroma"]),
        (["1. Épithélium", "汉字"], ["Épithélium", "汉字"]),
        (["3_month_old", "6_month_old"], ["3 month old", "6 month old"]),
        (["01", "02"], ["01", "02"]),
        (["3D", "2D"], ["3d", "2d"]),
    ],
)
def test_a_number_before_a_name_is_dropped_where_names_stay_apart(folders, names):
    assert class_names(folders) == names


@pytest.mark.parametrize("name", ["汉字", "😀", "Épithélium", "ΩMEGA_3"])
def test_names_of_any_script_are_found_in_prompts(name):
    space = LabelSpace("two", (LabelClass(0, class_slug(name), class_names([name])[0], (name,)), LabelClass(1, "other", "other")))
    for prompt in (f"an area with {name}", f"{name.lower()}, pale", f"({name.upper()})"):
        assert space.resolve_prompt(prompt).index == 0
