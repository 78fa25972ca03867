"""A YAML file's words take the place of a data set's own, and are checked against its classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pathsynth.data.prompt_file import read_prompts
from pathsynth.ledger.errors import RequestError
from pathsynth.vocabulary.labels import LabelClass, LabelSpace
from pathsynth.vocabulary.prompts import PromptBook, generic_prompts

SPACE = LabelSpace("two", (LabelClass(0, "01-tumor", "tumor", ("01_TUMOR",)), LabelClass(1, "stroma", "stroma")), "none")
BOOK = generic_prompts(SPACE)


def read(tmp_path: Path, text: str) -> PromptBook:
    (tmp_path / "my.yaml").write_text(text, encoding="utf-8")
    return read_prompts(tmp_path / "my.yaml", BOOK)


def test_what_the_file_says_wins_and_the_rest_stays(tmp_path):
    text = "01_TUMOR:\n  canonical: dense neoplasm\n  paraphrases: [much neoplasm]\n  held_out: [one neoplasm]\n  aliases: [neoplasm]\n"
    book = read(tmp_path, text)
    assert book.captions(0, paraphrases=True) == ("dense neoplasm", "much neoplasm") and book.wordings(0, "held_out") == ("one neoplasm",)
    assert book.classes[1] == BOOK.classes[1] and book.space.slugs == SPACE.slugs
    assert book.space.resolve_prompt("a neoplasm, pale").index == book.space.resolve_prompt("a tumor").index == 0


def test_a_name_words_the_prompts(tmp_path):
    book = read(tmp_path, "tumor:\n  name: Karzinom\n")
    assert book.canonical(0) == "an image of an area with Karzinom" and "Karzinom" in book.classes[0].held_out[0]
    assert book.space.by_slug("karzinom").index == book.space.by_slug("01_TUMOR").index == book.space.by_slug("tumor").index == 0


@pytest.mark.parametrize(
    "text, told",
    [
        ("tumour:\n  canonical: x\n", "no class called 'tumour' in two (nearest: "),
        ("tumor:\n  canonic: x\n", "tumor.canonic: unknown key; known: name, canonical"),
        ("tumor: x\n", "below tumor there should be canonical"),
        ("tumor:\n  canonical: ''\n", "tumor.canonical"),
        ("tumor:\n  paraphrases: [1]\n", "tumor.paraphrases.0"),
        ("tumor:\n  aliases: [stroma]\n", "are both called “stroma”"),
        ("tumor:\n  canonical: pink stroma\n", "the prompt “pink stroma” of 01-tumor names stroma"),
        ("tumor:\n  canonical: x\nstroma:\n  canonical: x\n", "01-tumor and stroma share the prompt “x”"),
        ("tumor:\n  canonical: x\n  held_out: [x]\n", "“x” of 01-tumor is held out and in training"),
        ("tumor: {}\n01_TUMOR: {}\n", "names the class 01_TUMOR twice"),
        ("- tumor\n", "names no class"),
        ("tumor: [", "cannot be read"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path, text, told):
    with pytest.raises(RequestError) as refusal:
        read(tmp_path, text)
    assert told in str(refusal.value) and "\n" not in str(refusal.value) and "my.yaml" in str(refusal.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RequestError, match="none.yaml cannot be read"):
        read_prompts(tmp_path / "none.yaml", BOOK)
