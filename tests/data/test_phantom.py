import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pathsynth.data.phantom import GENERATOR_VERSION, Phantom, phantom_data, phantom_identity, render
from pathsynth.ledger.errors import RequestError
from pathsynth.vocabulary.labels import UnknownLabelError

LABELS = np.arange(36) % 9


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return render(LABELS, np.arange(36), "train", 0, 32)


def test_an_image_alone_is_the_image_in_a_batch(images: np.ndarray) -> None:
    for i in range(18):
        assert np.array_equal(render(LABELS[i : i + 1], np.asarray([i]), "train", 0, 32)[0], images[i])


def test_order_and_company_do_not_matter(images: np.ndarray) -> None:
    order = np.random.default_rng(0).permutation(36)[:23]
    assert np.array_equal(render(LABELS[order], order, "train", 0, 32), images[order])
    many = np.arange(9 * 150)
    assert np.array_equal(render(many % 9, many, "train", 0, 32)[:36], images)


def test_what_is_drawn_changes_only_with_the_generator_version() -> None:
    """If this fails the drawing has changed: raise GENERATOR_VERSION and put the new means here."""
    index = np.arange(9)
    means = render(index, index, "train", 0, 32).mean(axis=(1, 2, 3))
    assert GENERATOR_VERSION == 2
    assert means == pytest.approx([211.39, 156.58, 189.18, 149.81, 157.98, 172.81, 160.51, 177.43, 160.1], abs=0.1)


def test_split_seed_and_index_each_change_every_image(images: np.ndarray) -> None:
    for other in (
        render(LABELS, np.arange(36), "val", 0, 32),
        render(LABELS, np.arange(36), "train", 1, 32),
        render(LABELS, np.arange(36) + 36, "train", 0, 32),
    ):
        assert (other != images).any(axis=(1, 2, 3)).all()


def test_no_image_comes_twice() -> None:
    index = np.arange(900)
    train = render(index % 9, index, "train", 0, 16)
    test = render(index % 9, index, "test", 0, 16)
    assert len(np.unique(np.concatenate([train, test]).reshape(1800, -1), axis=0)) == 1800


@pytest.mark.parametrize("label", range(9))
def test_a_large_image_resized_is_the_small_image(label: int) -> None:
    index = np.arange(label, label + 4 * 9, 9)
    labels = np.full(4, label)
    small = render(labels, index, "train", 0, 28).astype(float)
    large = [Image.fromarray(image).resize((28, 28), Image.Resampling.BOX) for image in render(labels, index, "train", 0, 224)]
    for a, b in zip(small, np.asarray([np.asarray(i) for i in large], dtype=float), strict=True):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9
        assert np.abs(a - b).mean() < 12


def test_other_images_of_the_class_do_not_pass_for_the_small_image() -> None:
    """The size test above can fail: two different images of one class do not correlate like that."""
    small = render(np.full(2, 5), np.asarray([5, 14]), "train", 0, 28).astype(float)
    assert np.corrcoef(small[0].mean(2).ravel(), small[1].mean(2).ravel())[0, 1] < 0.5


def test_mean_colours_of_the_classes_overlap() -> None:
    """Nearest class mean in mean and spread of RGB: far from a solved task."""
    index = np.arange(1800)
    images = render(index % 9, index, "train", 0, 16).reshape(1800, -1, 3) / 255.0
    look = np.concatenate([images.mean(axis=1), images.std(axis=1)], axis=1)
    look = (look - look.mean(axis=0)) / look.std(axis=0)
    train, test = look[:900], look[900:]
    means = np.stack([train[index[:900] % 9 == k].mean(axis=0) for k in range(9)])
    guess = np.square(test[:, None] - means).sum(axis=2).argmin(axis=1)
    assert 1 / 9 < np.mean(guess == index[900:] % 9) < 0.65


@pytest.mark.parametrize("label", range(9))
def test_little_of_an_image_is_single_pixel_detail(label: int) -> None:
    """What 2 × 2 pixels do not share is at most 40% of the variance within images: a lossy autoencoder keeps the rest.

    White noise has 75%. Backgrounds have no structure at all: 10 squared grey levels are next to nothing.
    """
    images = render(np.full(50, label), np.arange(50), "train", 0, 32).astype(float)
    coarse = images.reshape(50, 16, 2, 16, 2, 3).mean(axis=(2, 4), keepdims=True)
    detail = images.reshape(50, 16, 2, 16, 2, 3) - coarse
    assert np.square(detail).mean() < max(0.4 * np.square(images - images.mean(axis=(1, 2), keepdims=True)).mean(), 10)


@pytest.mark.parametrize(
    ("label", "colour"),
    enumerate(
        [
            (215, 194, 216),
            (153, 108, 155),
            (193, 124, 178),
            (176, 126, 169),
            (196, 154, 192),
            (199, 132, 185),
            (185, 131, 175),
            (197, 135, 183),
            (181, 122, 169),
        ]
    ),
)
def test_mean_colours_are_near_those_of_pathmnist(label: int, colour: tuple[int, int, int]) -> None:
    """Mean RGB of 163 to 359 PathMNIST images a class; a background is of any depth, so its mean may be further off."""
    mean = render(np.full(200, label), np.arange(200), "train", 0, 28).mean(axis=(0, 1, 2))
    assert np.abs(mean - colour).max() < (50 if label == 1 else 18)


def test_structure_tells_the_classes_apart() -> None:
    """A linear classifier on lengths of grey-level gradients and autocorrelations, blind to colour, beats chance by far."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    index = np.arange(1800)
    look = np.stack([_texture(image) for image in render(index % 9, index, "train", 0, 32)])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)).fit(look[:1200], index[:1200] % 9)
    assert model.score(look[1200:], index[1200:] % 9) > 0.7


def _texture(image: np.ndarray) -> np.ndarray:
    """Radial power spectrum, skewness and anisotropy of the standardised grey image: nothing of its colour."""
    grey = image.mean(axis=2)
    grey = (grey - grey.mean()) / (grey.std() + 1)
    power = np.abs(np.fft.fft2(grey)) ** 2
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(32)))
    rings = np.log([power[(f >= low) & (f < low + 0.05)].mean() + 1e-3 for low in np.arange(0.02, 0.5, 0.05)])
    dy, dx = np.gradient(grey)
    coherence = np.hypot((dx * dx - dy * dy).mean(), 2 * (dx * dy).mean()) / ((dx * dx + dy * dy).mean() + 1e-6)
    return np.concatenate([rings, [(grey**3).mean(), (grey**4).mean(), coherence]])


def test_the_data_set_is_balanced_lazy_and_named() -> None:
    data = phantom_data(28, 27, 18, 9, seed=3)
    assert (data.name, data.size) == ("phantom 28 px", 28)
    assert [len(data.split(s)) for s in ("train", "val", "test")] == [27, 18, 9]
    assert np.bincount(data.split("train").labels).tolist() == [3] * 9
    assert data.split("val") is data.split("val")
    assert np.array_equal(data.split("test").images, render(np.arange(9), np.arange(9), "test", 3, 28))


def test_identity_depends_on_everything_that_determines_the_images() -> None:
    assert phantom_data(28, 27, 18, 9, 3).identity == phantom_identity(28, 27, 18, 9, 3)
    variants = [(28, 27, 18, 9, 3), (32, 27, 18, 9, 3), (28, 28, 18, 9, 3), (28, 27, 19, 9, 3), (28, 27, 18, 10, 3), (28, 27, 18, 9, 4)]
    assert len({phantom_identity(*v) for v in variants}) == len(variants)


@pytest.mark.parametrize(("arguments", "key"), [((8, 9, 9, 9), "data.size"), ((600, 9, 9, 9), "data.size"), ((32, 9, 0, 9), "data.n_val")])
def test_impossible_requests_are_refused_by_name(arguments: tuple[int, int, int, int], key: str) -> None:
    with pytest.raises(RequestError, match=key):
        phantom_data(*arguments, seed=0)


def test_planning_needs_no_torch() -> None:
    code = "import sys, pathsynth.data.phantom, pathsynth.data.medmnist; sys.exit('torch' in sys.modules or 'medmnist' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_images_of_a_class_are_those_of_the_data_set() -> None:
    images = phantom_data(16, 9, 27, 9, seed=4).split("val")
    phantom = Phantom(16, seed=4, split="val")
    assert np.array_equal(phantom.draw("mucin", n=3), images.images[images.labels == 4])
    assert np.array_equal(phantom.draw("mucus", n=1, start=2), phantom.draw("mucus", n=3)[2:])
    assert not np.array_equal(phantom.draw("mucus"), Phantom(16, seed=5, split="val").draw("mucus"))
    assert phantom.draw("mucus", n=0).shape == (0, 16, 16, 3)
    assert list(phantom.prompts) == list(phantom.classes) and "mucus" in phantom.prompts["mucus"]


def test_a_class_that_is_not_there_is_refused() -> None:
    with pytest.raises(RequestError, match="16 to 512 pixels, not 8"):
        Phantom(size=8)
    with pytest.raises(UnknownLabelError, match="no class called 'mucuss'.*nearest: mucus"):
        Phantom().draw("mucuss")
    with pytest.raises(RequestError, match="count from 0"):
        Phantom().draw("mucus", n=-1)
