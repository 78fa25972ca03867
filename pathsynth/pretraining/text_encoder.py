"""The embedded base's tokenizer and text encoder: whole words, fixed word codes, a small CLIP text model."""

from __future__ import annotations

import json

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

MAX_TOKENS = 32
"""Prompt length in tokens, start and end included; longer prompts are cut."""

START, END = "<|startoftext|>", "<|endoftext|>"


def word_tokenizer(words: list[str]) -> CLIPTokenizer:
    """A CLIP tokenizer in which each of ``words`` is one token; any other text falls into letters and pieces.

    Merges are learned until every word is whole, so the vocabulary needs no hand-made merge rules.
    """
    tokenizer = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>", unk_token=END))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=20_000,
        min_frequency=1,
        special_tokens=[],
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(set(words)), trainer)
    return _as_clip(tokenizer, alphabet)


def _as_clip(tokenizer: Tokenizer, alphabet: list[str]) -> CLIPTokenizer:
    """CLIP's own tokenizer with the learned merges; every byte is a token in the middle and at the end of a word."""
    model = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in model["merges"]]
    symbols = sorted(alphabet)
    tokens = [*symbols, *(f"{s}</w>" for s in symbols)]
    known = set(tokens)
    for left, right in merges:
        if left + right not in known:
            known.add(left + right)
            tokens.append(left + right)
    # the trainer breaks ties by chance; numbered in sorted order, a word has the same number every time
    vocabulary = {token: i for i, token in enumerate([*sorted(tokens), START, END])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS, pad_token=END)


def text_encoder(tokenizer: CLIPTokenizer, width: int, seed: int) -> CLIPTextModel:
    """A two-layer CLIP text model whose word codes are random unit vectors, frozen.

    Learned codes leave words that pretraining never shows close together, and an adapter can then hardly tell them
    apart; random unit codes make every word as distinct as any other from the start.
    """
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        projection_dim=width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    encoder = CLIPTextModel(config)
    codes = torch.randn(len(tokenizer), width, generator=torch.Generator().manual_seed(seed))
    embedding = encoder.get_input_embeddings()
    with torch.no_grad():
        embedding.weight.copy_(torch.nn.functional.normalize(codes, dim=1))
    embedding.weight.requires_grad_(False)
    return encoder
