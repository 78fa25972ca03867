import torch

from pathsynth.data.degrade import degrade


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_nothing_asked_for_changes_nothing() -> None:
    images = torch.rand(4, 3, 8, 8, generator=generator())
    assert torch.equal(degrade(images, 0.0, 0.0, generator()), images)


def test_noise_is_as_strong_as_asked_for_at_most() -> None:
    images = torch.full((64, 3, 32, 32), 0.5)
    spread = degrade(images, 0.0, 0.04, generator()).std(dim=(1, 2, 3))
    assert spread.max() < 0.042
    assert spread.max() > 2 * spread.min()


def test_blur_softens_about_half_of_the_images() -> None:
    board = (torch.arange(32).view(-1, 1) + torch.arange(32)) % 2
    images = board.float().expand(200, 3, 32, 32)
    softened = degrade(images, 0.5, 0.0, generator()).std(dim=(1, 2, 3)) < images.std(dim=(1, 2, 3)) - 1e-4
    assert 70 < int(softened.sum()) < 130


def test_the_generator_decides_everything() -> None:
    images = torch.rand(4, 3, 16, 16, generator=generator())
    one, same, other = (degrade(images, 0.5, 0.05, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
