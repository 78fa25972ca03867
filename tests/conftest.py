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


@pytest.fixture
def swept(tmp_path, monkeypatch):
    """What `pathsynth run -m …` would start, in an empty folder: every job, checked by the real sweeper; nothing is started."""
    import sys

    from hydra.core.plugins import Plugins

    from pathsynth.__main__ import dispatch
    from pathsynth.study import job

    Plugins.instance()  # loads the plugins' modules anew, so it comes before the class is looked up
    from hydra_plugins.pathsynth.sweeper import TrialSweeper

    whole, checked = job.check, []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    monkeypatch.setattr(TrialSweeper.__base__, "sweep", lambda self, arguments: None)
    monkeypatch.setattr(job, "check", lambda config: checked.append(whole(config)))

    def run(*arguments: str) -> list[job.Checked]:
        checked.clear()
        dispatch(["run", "-m", *arguments])
        return list(checked)

    return run
