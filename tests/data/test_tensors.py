import numpy as np
import pytest
import torch

from pathsynth.data.tensors import crop_to, dihedral, pad_to, to_float, to_uint8


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(8, 28, 28, 3), dtype=np.uint8)


def test_uint8_survives_the_way_there_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    assert np.array_equal(to_uint8(to_float(levels)), levels)


def test_to_float_puts_channels_first_and_scales(images: np.ndarray) -> None:
    tensor = to_float(images)
    assert tensor.shape == (8, 3, 28, 28) and tensor.dtype == torch.float32
    assert tensor[2, 1, 5, 9].item() == pytest.approx(images[2, 5, 9, 1] / 255)


def test_to_uint8_clips_and_rounds() -> None:
    values = torch.tensor([-0.5, 0.6 / 255, 1.4 / 255, 1.5]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    assert to_uint8(values)[0, :, :, 0].ravel().tolist() == [0, 1, 1, 255]


@pytest.mark.parametrize(("inner", "outer"), [(28, 32), (28, 28), (27, 32), (28, 31)])
def test_crop_undoes_pad(inner: int, outer: int) -> None:
    image = torch.rand(2, 3, inner, inner, generator=torch.Generator().manual_seed(0))
    padded = pad_to(image, outer)
    assert padded.shape == (2, 3, outer, outer)
    assert torch.equal(crop_to(padded, inner), image)


def test_padding_reflects_two_pixels_on_each_side(images: np.ndarray) -> None:
    image = to_float(images)
    padded = pad_to(image, 32)
    assert torch.equal(padded[:, :, 1, 2:-2], image[:, :, 1])
    assert torch.equal(padded[:, :, 2:-2, 31], image[:, :, :, 25])


def test_sizes_that_cannot_be_padded_or_cropped_are_refused(images: np.ndarray) -> None:
    image = to_float(images)
    with pytest.raises(ValueError, match="28×28"):
        pad_to(image, 24)
    with pytest.raises(ValueError, match="reflection"):
        pad_to(image, 28 * 3)
    with pytest.raises(ValueError, match="32×32"):
        crop_to(image, 32)


def all_orientations(image: torch.Tensor) -> list[torch.Tensor]:
    return list(dihedral(image.expand(8, -1, -1, -1).clone(), torch.arange(8)))


def test_the_eight_orientations_are_distinct_and_closed(images: np.ndarray) -> None:
    image = to_float(images[:1])
    orbit = all_orientations(image)
    keys = {o.numpy().tobytes() for o in orbit}
    assert len(keys) == 8
    assert torch.equal(orbit[0], image[0])
    for turned in orbit:
        assert {o.numpy().tobytes() for o in all_orientations(turned[None])} == keys


def test_quarter_turns_and_flips_have_their_orders(images: np.ndarray) -> None:
    image = to_float(images)
    one = torch.ones(8, dtype=torch.int64)
    turned = image
    for _ in range(4):
        turned = dihedral(turned, one)
    assert torch.equal(turned, image)
    for flip in range(4, 8):
        assert torch.equal(dihedral(dihedral(image, flip * one), flip * one), image)


def test_each_image_follows_its_own_index(images: np.ndarray) -> None:
    image = to_float(images)
    index = torch.tensor([3, 0, 5, 7, 1, 1, 2, 6])
    together = dihedral(image, index)
    alone = torch.cat([dihedral(image[i : i + 1], index[i : i + 1]) for i in range(8)])
    assert torch.equal(together, alone)
    assert torch.equal(together[4], torch.rot90(image[4], 1, dims=(1, 2)))


def test_wrong_orientations_are_refused(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"0\.\.7"):
        dihedral(to_float(images), torch.full((8,), 8))
    with pytest.raises(ValueError, match="square"):
        dihedral(torch.zeros(1, 3, 4, 5), torch.zeros(1, dtype=torch.int64))
