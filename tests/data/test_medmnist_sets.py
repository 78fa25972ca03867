"""PathMNIST's sister sets: small archives in MedMNIST's layout, read with their own classes and prompts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import medmnist
import numpy as np
import pytest

from pathsynth.data.dataset import Counts
from pathsynth.data.medmnist import PATHMNIST, medmnist_data
from pathsynth.data.medmnist_sets import SIZES, known_flags, medmnist_set
from pathsynth.ledger.errors import RequestError


def write(folder: Path, flag: str, size: int = 28) -> dict[str, np.ndarray]:
    """An archive of the set's shape, two images of each class a split."""
    told, rng = medmnist.INFO[flag], np.random.default_rng(0)
    classes = len(told["label"])
    shape = (2 * classes, size, size) + ((3,) if told["n_channels"] == 3 else ())
    content = {}
    for split in ("train", "val", "test"):
        content[f"{split}_images"] = rng.integers(256, size=shape, dtype=np.uint8)
        content[f"{split}_labels"] = (np.arange(2 * classes, dtype=np.uint8) % classes)[:, None]
    np.savez_compressed(folder / (f"{flag}.npz" if size == 28 else f"{flag}_{size}.npz"), **content)
    return content


def test_there_are_eleven_and_their_files_are_those_of_the_package():
    flags = known_flags()
    assert len(flags) == 11 and "chestmnist" not in flags and not any("3d" in flag for flag in flags)
    for flag in flags:
        known, told = medmnist_set(flag), medmnist.INFO[flag]
        assert [known.md5[size] for size in SIZES] == [told["MD5" if size == 28 else f"MD5_{size}"] for size in SIZES]
        assert len(known.space) == len(told["label"])


@pytest.mark.parametrize("flag", known_flags())
def test_each_reads_in_colour_with_prompts_that_name_their_class(tmp_path, flag):
    content, source = write(tmp_path, flag), medmnist_set(flag)
    data = medmnist_data(source, tmp_path, 28, allow_subset=True)
    train = data.split("train")
    assert train.images.shape == (2 * len(data.space), 28, 28, 3) and train.images.dtype == np.uint8
    original = content["train_images"]
    assert np.array_equal(train.images, original if original.ndim == 4 else np.stack([original] * 3, axis=-1))
    assert np.array_equal(train.labels, content["train_labels"][:, 0])
    assert data.name.startswith(f"{medmnist.INFO[flag]['python_class']} subset (")
    for c in data.space.classes:
        for prompt in data.prompts.captions(c.index, paraphrases=True):
            assert data.space.resolve_prompt(prompt) == c
    assert len(set(data.space.slugs)) == len(data.space) and all(slug.strip("-") == slug != "" for slug in data.space.slugs)


@pytest.mark.parametrize(("flag", "symmetry"), [("bloodmnist", "d4"), ("organamnist", "none"), ("pneumoniamnist", "none")])
def test_images_are_turned_only_where_that_means_nothing(flag, symmetry):
    assert medmnist_set(flag).space.symmetry == symmetry


def test_pathmnist_by_its_flag_is_pathmnist(tmp_path):
    write(tmp_path, "pathmnist")
    sources = medmnist_set("pathmnist"), PATHMNIST
    by_flag, by_name = (medmnist_data(source, tmp_path, 28, True, counts=Counts(9, 9, 9)) for source in sources)
    assert (by_flag.name, by_flag.identity, by_flag.space) == (by_name.name, by_name.identity, by_name.space)


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("chestmnist", "data.flag=chestmnist cannot be used: its images have several labels each"),
        ("organmnist3d", "its images have three dimensions"),
        ("blodmnist", "MedMNIST has no set blodmnist; nearest: bloodmnist"),
    ],
)
def test_a_set_that_cannot_be_used_is_refused_in_one_line(flag, told):
    with pytest.raises(RequestError, match=told) as refusal:
        medmnist_set(flag)
    assert "\n" not in str(refusal.value)


def test_a_colour_file_under_a_grey_name_is_refused(tmp_path):
    write(tmp_path, "bloodmnist")
    (tmp_path / "bloodmnist.npz").rename(tmp_path / "tissuemnist.npz")
    with pytest.raises(RequestError, match=r"wanted uint8 \(N, 28, 28\)"):
        medmnist_data(medmnist_set("tissuemnist"), tmp_path, 28, allow_subset=True)


def test_the_sets_are_known_without_torch():
    code = "import sys; from pathsynth.data.medmnist_sets import known_flags; known_flags(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
