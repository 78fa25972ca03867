"""Class folders as a data set: what is read, how it is split, what it is called, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pathsynth.data.dataset import SPLITS, Counts
from pathsynth.data.folder import Shares, folder_data
from pathsynth.ledger.errors import RequestError
from pathsynth.models.image_classifier import Classifier, ClassifierSpec, load_classifier, save_classifier
from pathsynth.vocabulary.labels import COLORECTAL

TILES = Path(os.environ.get("PATHSYNTH_DATA", "../shared/data")) / "tiles224" / "CRC-VAL-HE-7K"


def picture(path: Path, level: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), level, dtype=np.uint8)).convert(mode).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten images of each of two classes, each of a brightness of its own."""
    for label, name in enumerate(("Red cells", "white_cells")):
        for i in range(10):
            picture(tmp_path / "cells" / name / f"{i}.png", 100 * label + 10 * i)
    return tmp_path / "cells"


def levels(data, split: str) -> list[int]:
    return sorted(data.split(split).images[:, 0, 0, 0].tolist())


def test_every_image_is_in_one_split_and_has_the_label_of_its_folder(root: Path) -> None:
    data = folder_data(root, 8, "d4", Shares(0.2, 0.3, 1))
    assert data.name == "cells 8 px (10/4/6)"
    assert data.space.slugs == ("red-cells", "white-cells") and data.space.symmetry == "d4"
    assert sorted(level for split in SPLITS for level in levels(data, split)) == list(range(0, 200, 10))
    for split, each in (("train", 5), ("val", 2), ("test", 3)):
        images = data.split(split)
        assert np.bincount(images.labels).tolist() == [each, each]
        assert ((images.images[:, 0, 0, 0] >= 100) == images.labels).all()
    assert levels(data, "val") != levels(folder_data(root, 8, "d4", Shares(0.2, 0.3, 2)), "val")


def test_prompts_name_the_class_and_are_resolved_to_it(root: Path) -> None:
    data = folder_data(root, 8)
    assert data.prompts.canonical(0) == "an image of an area with red cells"
    assert len(data.prompts.captions(1, paraphrases=True)) == 4
    assert data.space.resolve_prompt("many white cells").index == 1
    assert data.space.by_slug("white_cells").index == 1


def test_folders_for_the_splits_are_used_where_there_are_any(tmp_path: Path) -> None:
    for level, split in enumerate(SPLITS):
        for more, name in enumerate(("a", "b")):
            picture(tmp_path / split / name / "deep" / "x.png", level + 100 * more)
    data = folder_data(tmp_path, 8)
    assert [levels(data, split) for split in SPLITS] == [[0, 100], [1, 101], [2, 102]]


def test_images_become_square_rgb_of_one_size(tmp_path: Path) -> None:
    for level, name in ((89, "a"), (91, "b")):
        picture(tmp_path / name / "grey.jpg", level, mode="L")
        picture(tmp_path / name / "wide.tif", level, (31, 17))
        picture(tmp_path / name / "clear.png", level, mode="RGBA")
        (tmp_path / name / "notes.txt").write_text("no image")
    data = folder_data(tmp_path, 16)
    images = np.concatenate([data.split(split).images for split in SPLITS])
    assert images.shape == (6, 16, 16, 3) and (abs(images.astype(int) - 90) <= 2).all()


def test_the_nine_tissues_have_their_own_prompts(tmp_path: Path) -> None:
    for label, name in enumerate(("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM")):
        for i in range(3):
            picture(tmp_path / name / f"{i}.png", 10 * label + i)
    data = folder_data(tmp_path, 8)
    assert data.space is COLORECTAL
    assert data.prompts.canonical(8) == "a histopathological image of an area with colorectal adenocarcinoma epithelium"
    assert folder_data(tmp_path, 8, classes=["ADI", "LYM"]).space.slugs == ("adi", "lym")


def test_identity_follows_content_and_settings_and_not_the_place(root: Path, tmp_path: Path) -> None:
    first = folder_data(root, 8).identity
    assert first == folder_data(root, 8).identity
    others = [folder_data(root, 9), folder_data(root, 8, "d4"), folder_data(root, 8, shares=Shares(seed=1))]
    others.append(folder_data(root, 8, counts=Counts(train=4)))
    moved = root.rename(tmp_path / "elsewhere")
    assert folder_data(moved, 8).identity == first
    picture(moved / "Red cells" / "new.png", 1)
    others.append(folder_data(moved, 8))
    assert len({first, *(other.identity for other in others)}) == 6


def test_a_folder_that_was_moved_has_the_label_space_of_before_and_its_gate_is_taken(root: Path, tmp_path: Path) -> None:
    before = folder_data(root, 32)
    save_classifier(tmp_path / "gate", Classifier(ClassifierSpec("resnet10t", 32, "stock", before.space.slugs, before.space.name)), {})
    moved = folder_data(root.rename(tmp_path / "elsewhere"), 32)
    assert (moved.identity, moved.space) == (before.identity, before.space) and moved.name != before.name
    assert load_classifier(tmp_path / "gate", moved.space).spec.classes == ("red-cells", "white-cells")
    for i in range(3):
        picture(tmp_path / "elsewhere" / "blue cells" / f"{i}.png", 200 + i)
    assert folder_data(tmp_path / "elsewhere", 32).space.name != before.space.name


def test_counts_take_classes_in_turn(root: Path) -> None:
    data = folder_data(root, 8, counts=Counts(train=6))
    assert np.bincount(data.split("train").labels).tolist() == [3, 3]
    with pytest.raises(RequestError, match="16 train images, not 17"):
        folder_data(root, 8, counts=Counts(train=17))
    whole, fewer = folder_data(root, 8), folder_data(root, 8, counts=Counts(train=17, allow_fewer=True))
    assert (fewer.name, fewer.identity) == (whole.name, whole.identity)


def test_what_cannot_be_used_is_refused_in_one_line(root: Path, tmp_path: Path) -> None:
    def told(*arguments, **named) -> str:
        with pytest.raises(RequestError) as refusal:
            folder_data(*arguments, **named).split("train")
        assert "\n" not in str(refusal.value)
        return str(refusal.value)

    assert "set data.root" in told(None, 8)
    assert "no folder" in told(tmp_path / "none", 8)
    assert "0 class folders" in told(root / "Red cells", 8)
    assert "no class folder blue; it has Red cells, white_cells" in told(root, 8, classes=["blue"])
    assert "1 class folders" in told(root, 8, classes=["white_cells"])
    picture(root / "few" / "1.png", 1)
    assert "few holds 1 images, too few" in told(root, 8)
    (root / "few").rename(root / "white-cells")
    for i in range(2, 4):
        picture(root / "white-cells" / f"{i}.png", i)
    same = f"the class folders white-cells and white_cells in {root} have the same letters and digits; rename one of them"
    assert same == told(root, 8)
    for path in (root / "white-cells").iterdir():
        path.unlink()
    (root / "white-cells").rmdir()
    for path in (root / "Red cells").glob("*.png"):
        path.write_bytes(path.read_bytes()[:-30])
    assert "cannot be read as an image" in told(root, 8)


@pytest.mark.skipif(not TILES.is_dir(), reason="no tiles224 in PATHSYNTH_DATA")
def test_real_tiles_are_read_as_the_nine_tissues() -> None:
    data = folder_data(TILES, 64)
    assert data.space is COLORECTAL
    images = np.concatenate([data.split(split).images for split in SPLITS])
    assert images.shape == (72, 64, 64, 3)
    assert images[:, :, :, 1].mean() < images[:, :, :, 0].mean(), "eosin absorbs green"
