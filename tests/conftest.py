"""Fixtures that several folders of tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def small_base_folder(tmp_path_factory) -> Path:
    """A base of the embedded architecture at its smallest, with random weights, in diffusers layout."""
    import torch

    from pathsynth.models.autoencoder import fit_projection, linear_autoencoder
    from pathsynth.models.text import text_encoder, word_tokenizer
    from pathsynth.models.tiny import TEXT_WIDTH, save_pipeline, tiny_unet
    from pathsynth.vocabulary.words import whole_words

    torch.manual_seed(0)
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    vae = linear_autoencoder(fit_projection(images, channels=4))
    tokenizer = word_tokenizer(whole_words(()))
    folder = tmp_path_factory.mktemp("base")
    save_pipeline(folder, tiny_unet(4, (32, 32)), vae, text_encoder(tokenizer, TEXT_WIDTH, 0), tokenizer)
    return folder
