"""The embedded tokenizer keeps known words whole and never fails on other text."""

from __future__ import annotations

import pytest
import torch
from transformers import CLIPTokenizer

from pathsynth.models.diffusion import encode_prompts
from pathsynth.pretraining.text_encoder import MAX_TOKENS, text_encoder, word_tokenizer
from pathsynth.vocabulary.prompts import colorectal_prompts
from pathsynth.vocabulary.words import whole_words


@pytest.fixture(scope="module")
def tokenizer():
    return word_tokenizer(whole_words(("red", "ship")))


def test_every_prompt_word_is_one_token(tokenizer):
    split = [word for word in whole_words(("red", "ship")) if len(tokenizer(word).input_ids) != 3]
    assert split == []


def test_canonical_prompts_fit_and_differ(tokenizer):
    book = colorectal_prompts()
    encoded = [tuple(tokenizer(book.canonical(i)).input_ids) for i in range(9)]
    assert len(set(encoded)) == 9
    assert max(map(len, encoded)) <= MAX_TOKENS


def test_any_text_is_tokenised_and_cut(tokenizer):
    text = "Ångström & 'ψ' 42 " + "stroma " * 100
    ids = tokenizer(text, truncation=True, max_length=MAX_TOKENS).input_ids
    assert len(ids) == MAX_TOKENS


def test_saved_tokenizer_reads_back_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = CLIPTokenizer.from_pretrained(tmp_path)
    text = "a pale area with cancer-associated stroma, xylem"
    assert again(text).input_ids == tokenizer(text).input_ids
    assert again.model_max_length == MAX_TOKENS


def test_word_codes_are_fixed_unit_vectors(tokenizer):
    encoder = text_encoder(tokenizer, 64, seed=0)
    codes = encoder.get_input_embeddings().weight
    assert not codes.requires_grad
    assert torch.allclose(codes.norm(dim=1), torch.ones(len(tokenizer)), atol=1e-5)
    assert encode_prompts(tokenizer, encoder, ["red ship", ""]).shape == (2, MAX_TOKENS, 64)
