import numpy as np
import pytest
import torch

from pathsynth.data.phantom import EOSIN, HEMATOXYLIN, render
from pathsynth.data.stain import separate, stain_jitter, stain_matrix
from pathsynth.data.tensors import to_float


@pytest.fixture(scope="module")
def tissue() -> torch.Tensor:
    return to_float(render(np.arange(18) % 9, np.arange(18), "train", 0, 32))


def test_rows_of_the_matrix_are_unit_and_the_residual_is_normal_to_both() -> None:
    matrix = stain_matrix()
    product = matrix @ matrix.T
    assert torch.allclose(torch.diag(product), torch.ones(3), atol=1e-6)
    assert product[2, :2].abs().max() < 1e-6


def test_separation_finds_known_densities() -> None:
    matrix = stain_matrix()
    wanted = torch.tensor([0.7, 0.4, 0.0])
    light = torch.exp(-(wanted @ matrix))
    offset = 1 / 255  # what the density transform adds before the logarithm
    found = separate(((1 + offset) * light - offset).view(1, 3, 1, 1))
    assert torch.allclose(found.view(3), wanted, atol=1e-5)


def test_no_strength_leaves_images_alone(tissue: torch.Tensor) -> None:
    assert torch.allclose(stain_jitter(tissue, 0.0, torch.Generator().manual_seed(0)), tissue, atol=1e-5)


def test_jitter_changes_colour_within_range_and_more_with_strength(tissue: torch.Tensor) -> None:
    weak = stain_jitter(tissue, 0.2, torch.Generator().manual_seed(0))
    strong = stain_jitter(tissue, 1.0, torch.Generator().manual_seed(0))
    assert strong.min() >= 0 and strong.max() <= 1
    assert 0 < (weak - tissue).abs().mean() < (strong - tissue).abs().mean()


def test_jitter_depends_on_its_generator_alone(tissue: torch.Tensor) -> None:
    torch.manual_seed(1)
    first = stain_jitter(tissue, 1.0, torch.Generator().manual_seed(3))
    torch.manual_seed(2)
    assert torch.equal(first, stain_jitter(tissue, 1.0, torch.Generator().manual_seed(3)))
    assert not torch.equal(first, stain_jitter(tissue, 1.0, torch.Generator().manual_seed(4)))


def test_jitter_keeps_the_structure(tissue: torch.Tensor) -> None:
    changed = stain_jitter(tissue, 1.0, torch.Generator().manual_seed(0))
    nuclei = torch.arange(len(tissue)) % 9 == 3
    for before, after in zip(tissue[nuclei], changed[nuclei], strict=True):
        grey = torch.stack([before.mean(0).flatten(), after.mean(0).flatten()])
        assert torch.corrcoef(grey)[0, 1] > 0.9


def test_the_phantom_and_the_jitter_share_one_absorption_matrix() -> None:
    stains = torch.tensor([HEMATOXYLIN, EOSIN])
    assert torch.allclose(torch.nn.functional.cosine_similarity(stains, stain_matrix()[:2]), torch.ones(2))
