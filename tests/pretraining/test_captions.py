"""Captions say what the picture shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pathsynth.pretraining.captions import CAPTION_WORDS, compose, measure
from pathsynth.pretraining.recolour import recolour, sharpen


def plain(rgb: tuple[float, float, float], size: int = 32) -> torch.Tensor:
    return torch.tensor(rgb).view(1, 3, 1, 1).expand(1, 3, size, size).clone()


@pytest.mark.parametrize(
    ("rgb", "colour"),
    [
        ((0.9, 0.1, 0.1), "red"),
        ((0.1, 0.8, 0.1), "green"),
        ((0.1, 0.1, 0.9), "blue"),
        ((0.5, 0.5, 0.5), "grey"),
        ((0.9, 0.1, 0.9), "magenta"),
    ],
)
def test_colour_words(rgb, colour):
    assert measure(plain(rgb)).colour[0] == colour


def test_brightness_contrast_and_direction_words():
    assert measure(plain((0.1, 0.1, 0.1))).brightness[0] == "dark"
    assert measure(plain((0.9, 0.9, 0.9))).brightness[0] == "pale"
    assert measure(plain((0.5, 0.5, 0.5))).contrast[0] == "flat"
    stripes = (torch.arange(32) % 8 < 4).float().view(1, 1, 1, 32).expand(1, 3, 32, 32)
    assert measure(stripes.contiguous()).direction[0] == "vertical"
    assert measure(stripes.transpose(2, 3).contiguous()).direction[0] == "horizontal"
    assert measure(stripes.contiguous()).contrast[0] == "strong contrast"


def test_captions_hold_only_known_words_and_sometimes_nothing():
    images = torch.rand(200, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    captions = compose(measure(images), [""] * 200, np.arange(200) % 10, np.random.default_rng(0), empty_share=0.1)
    assert {word for caption in captions for word in caption.split()} <= set(CAPTION_WORDS)
    assert 5 <= captions.count("") <= 40
    assert len(set(captions)) > 100


def test_recolour_changes_its_share_and_stays_in_range():
    images = torch.rand(400, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    changed = recolour(images, 0.5, torch.Generator().manual_seed(2))
    moved = (changed != images).flatten(1).any(dim=1).float().mean()
    assert 0.4 < moved < 0.6
    assert changed.min() >= 0 and changed.max() <= 1
    assert torch.equal(recolour(images, 0.0, torch.Generator().manual_seed(2)), images)


def test_sharpening_by_zero_is_nothing_and_by_more_is_more():
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(3)) * 0.4 + 0.3
    sharp = sharpen(images, torch.tensor([0.0, 1.0]))
    assert torch.allclose(sharp[0], images[0])
    assert sharp[1].std() > images[1].std()
