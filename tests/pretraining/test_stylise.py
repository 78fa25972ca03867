"""Graphic filters: in range, seeded, said in words that have codes, and visibly what the words say."""

from __future__ import annotations

import pytest
import torch

from pathsynth.pretraining.captions import CAPTION_WORDS
from pathsynth.pretraining.stylise import stylise


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    coarse = torch.rand(120, 3, 4, 4, generator=generator(7))
    return torch.nn.functional.interpolate(coarse, size=32, mode="bilinear").clamp(0, 1)


def test_no_share_leaves_everything_as_it_is(pictures) -> None:
    styled = stylise(pictures, 0.0, generator())
    assert torch.equal(styled.images, pictures)
    assert set(styled.phrases) == {""}


def test_filtered_images_are_in_range_and_named(pictures) -> None:
    styled = stylise(pictures, 1.0, generator())
    assert styled.images.min() >= 0 and styled.images.max() <= 1 and styled.images.isfinite().all()
    assert all(styled.phrases)
    kinds = {phrase.split()[-1] for phrase in styled.phrases}
    assert kinds == {"glass", "stippled", "hatched", "contours", "drawing"}


def test_every_word_is_a_caption_word(pictures) -> None:
    words = {word for seed in range(5) for phrase in stylise(pictures, 1.0, generator(seed)).phrases for word in phrase.split()}
    assert words <= set(CAPTION_WORDS)


def test_the_share_is_kept(pictures) -> None:
    styled = stylise(pictures.repeat(5, 1, 1, 1), 0.6, generator())
    filtered = sum(bool(phrase) for phrase in styled.phrases) / 600
    assert 0.52 < filtered < 0.68
    unfiltered = [i for i, phrase in enumerate(styled.phrases) if not phrase]
    assert torch.equal(styled.images[unfiltered], pictures.repeat(5, 1, 1, 1)[unfiltered])


def test_small_cells_have_more_edges_than_large_ones(pictures) -> None:
    edges: dict[str, list[float]] = {"small": [], "large": []}
    for seed in range(6):
        styled = stylise(pictures, 1.0, generator(seed))
        grey = styled.images.mean(1)
        strength = grey.diff(dim=2).abs().mean((1, 2)) / (grey.std((1, 2)) + 0.02)
        for phrase, value in zip(styled.phrases, strength.tolist(), strict=True):
            if phrase.endswith("stippled") and phrase.split()[0] in edges:
                edges[phrase.split()[0]].append(value)
    small, large = (sum(values) / len(values) for values in edges.values())
    assert small > 1.2 * large


def test_the_generator_decides_everything(pictures) -> None:
    one, same, other = (stylise(pictures, 0.6, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.images, same.images) and one.phrases == same.phrases
    assert not torch.equal(one.images, other.images)
