"""Which files are images of which class and split, and what is passed over and counted."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pathsynth.data import folder
from pathsynth.data.class_folders import class_folders, watched_paths
from pathsynth.data.dataset import SPLITS, Counts
from pathsynth.data.folder import Shares, folder_data, folder_splits
from pathsynth.ledger.errors import RequestError


def fill(folder: Path, count: int, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        rng = np.random.default_rng([seed, i, *folder.as_posix().encode()])
        Image.fromarray(rng.integers(256, size=(8, 8, 3), dtype=np.uint8)).save(folder / f"{i}.png")


def test_what_systems_and_programs_leave_is_passed_over_and_counted(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / name, 3)
    fill(tmp_path / "a" / ".ipynb_checkpoints", 2)
    fill(tmp_path / "__MACOSX" / "a", 1)
    for left in ("a/._0.png", "b/Thumbs.db", ".DS_Store"):
        (tmp_path / left).write_bytes(b"x")
    found = class_folders(tmp_path)
    assert found.names == ("a", "b") and [len(own) for own in found.images[""].values()] == [3, 3]
    assert len(found.hidden) == 6 and found.notes[0].startswith("hidden files passed over: 6 (.DS_Store, ")
    assert len(folder_data(tmp_path, 8).split("train")) == 2, "no copy from a hidden folder lies in any split"


def test_a_folder_inside_a_hidden_one_is_read(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / ".data" / name, 3)
    assert class_folders(tmp_path / ".data").hidden == ()


def test_other_files_are_counted_by_their_endings(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / name, 3)
    fill(tmp_path, 1)
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / "x.gif")
    Image.new("RGB", (8, 8)).save(tmp_path / "b" / "y.GIF")
    (tmp_path / "a" / "notes.txt").write_text("no image")
    notes = class_folders(tmp_path).notes
    assert notes[0].startswith("files of other kinds passed over: 2 .gif, 1 .txt")
    assert notes[1] == "images in no class folder passed over: 1"


@pytest.mark.parametrize("names", [("Train", "Val", "Test"), ("TRAIN", "valid", "test"), ("train", "Validation", "TEST")])
def test_splits_are_known_in_any_case_and_by_their_usual_names(tmp_path, names):
    for split, count in zip(names, (4, 2, 3), strict=True):
        for label in ("a", "b"):
            fill(tmp_path / split / label, count)
    data = folder_data(tmp_path, 8)
    assert data.space.slugs == ("a", "b") and [len(data.split(split)) for split in SPLITS] == [8, 4, 6]


@pytest.mark.parametrize(
    "there, cut, sizes",
    [(("train", "val"), "test (data.test_share=0.2)", [16, 4, 4]), (("train", "test"), "val (data.val_share=0.1)", [18, 2, 4]),
     (("train",), "test (data.test_share=0.2) and val (data.val_share=0.1)", [14, 2, 4])],
)  # fmt: skip
def test_a_split_that_is_not_there_is_cut_from_train_and_reported(tmp_path, there, cut, sizes):
    for split in there:
        for label in ("a", "b"):
            fill(tmp_path / split / label, 10 if split == "train" else 2)
    found = folder_splits(tmp_path, shares=Shares(0.1, 0.2, 0))
    assert [len(found.files[split]) for split in SPLITS] == sizes
    assert any(note.startswith("the folder has no images for") and note.endswith(f"cut from those of train: {cut}") for note in found.notes)
    assert len({file.path for files in found.files.values() for file in files}) == sum(sizes)


def test_layouts_that_say_two_things_are_refused(tmp_path):
    for split in ("train", "val", "valid"):
        for label in ("a", "b"):
            fill(tmp_path / "twice" / split / label, 3)
            fill(tmp_path / "lacking" / "test" / label, 3)
            fill(tmp_path / "lacking" / "val" / label, 3)
    with pytest.raises(RequestError, match="two folders for val"):
        class_folders(tmp_path / "twice")
    with pytest.raises(RequestError, match="none for train"):
        class_folders(tmp_path / "lacking")


def test_a_class_may_be_called_train(tmp_path):
    for name in ("train", "bus"):
        fill(tmp_path / name, 3)
    assert class_folders(tmp_path).names == ("bus", "train")


def test_a_class_folder_that_is_added_is_noticed(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / "own" / name, 3)
    before = {path: path.stat().st_mtime_ns for path in watched_paths(tmp_path / "own")}
    (tmp_path / "own" / "c").mkdir()
    assert any(path.stat().st_mtime_ns != changed for path, changed in before.items())


def stamps(root: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in watched_paths(root)}


def changed(before: dict[Path, tuple[int, int]]) -> set[Path]:
    return {path for path, stamp in before.items() if (path.stat().st_size, path.stat().st_mtime_ns) != stamp}


@pytest.mark.parametrize(
    "link, to, deep",
    [
        ("own/a", "store/a", "own/a/deep"),
        ("own/train", "store", "own/train/a/deep"),
        ("own/train/a", "store/a", "own/train/a/deep"),
        ("own", "store", "own/a/deep"),
    ],
)
def test_images_in_linked_folders_are_watched_as_they_are_read(tmp_path, link, to, deep):
    link, to, deep, root = (tmp_path / path for path in (link, to, deep, "own"))
    for name in ("a", "b"):
        fill(tmp_path / "store" / name / "deep", 3)
    if link.name == "a":
        fill(link.parent / "b", 3)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(to, target_is_directory=True)
    read = {path for own in class_folders(root).images.values() for files in own.values() for path in files}
    assert len(read) == 6 and read == {path for path in watched_paths(root) if path.is_file()}
    os.utime(deep, (0, 0))  # clocks of file systems are coarse: what was made just now could have the same time
    before = stamps(root)
    (tmp_path / "store" / "a" / "deep" / "0.png").write_bytes(b"another")
    assert changed(before) == {deep / "0.png"}, "an image was replaced"
    (tmp_path / "store" / "a" / "deep" / "new.png").write_bytes(b"one more")
    assert changed(before) == {deep / "0.png", deep}, "an image was added"


def test_links_inside_a_class_are_neither_read_nor_watched(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / "own" / name, 3)
    fill(tmp_path / "store", 2)
    for name, to in (("loop", tmp_path / "own"), ("more", tmp_path / "store")):
        (tmp_path / "own" / "a" / name).symlink_to(to, target_is_directory=True)
    read = [path for files in class_folders(tmp_path / "own").images[""].values() for path in files]
    folders = [tmp_path / "own", tmp_path / "own" / "a", tmp_path / "own" / "b"]
    assert len(read) == 6 and watched_paths(tmp_path / "own") == [*read, *folders]


def test_the_same_file_in_two_classes_or_splits_is_refused(tmp_path):
    for label in ("a", "b"):
        for split in SPLITS:
            fill(tmp_path / split / label, 3)
    folder_splits(tmp_path)
    copy = tmp_path / "test" / "a" / "copy.png"
    copy.write_bytes((tmp_path / "train" / "a" / "0.png").read_bytes())
    with pytest.raises(RequestError, match=r"train/a/0\.png and test/a/copy\.png in .* are the same file in two splits; remove one"):
        folder_splits(tmp_path)
    copy.rename(tmp_path / "train" / "b" / "copy.png")
    with pytest.raises(RequestError, match=r"train/a/0\.png and train/b/copy\.png in .* are the same file in two classes"):
        folder_splits(tmp_path)


def test_copies_within_a_class_are_taken_once_where_splits_are_cut(tmp_path):
    for label in ("a", "b"):
        fill(tmp_path / label, 4)
    for i in range(4):
        (tmp_path / "a" / f"copy{i}.png").write_bytes((tmp_path / "a" / "0.png").read_bytes())
    found = folder_splits(tmp_path)
    assert sum(len(files) for files in found.files.values()) == 8
    assert "files equal to another byte by byte are left out: 4" in found.notes


def test_names_of_any_script_have_slugs_and_stay_in_prompts(tmp_path):
    for name in ("汉字", "😀", "Épithélium", "01_TUMOR"):
        fill(tmp_path / name, 3)
    data = folder_data(tmp_path, 8)
    assert all(slug.isascii() for slug in data.space.slugs)
    for slug, called in zip(data.space.slugs, ("01_TUMOR", "Épithélium", "汉字", "😀"), strict=True):
        name, label = {"01_TUMOR": "tumor"}.get(called, called), data.space.by_slug(slug)
        assert (label.name, data.prompts.canonical(label.index)) == (name, f"an image of an area with {name}")
        assert data.space.by_slug(called) == data.space.resolve_prompt(f"an area with {name}, pale") == label


def test_a_name_that_is_too_long_for_its_images_is_refused(tmp_path):
    for name in ("a", "b" * 250):
        fill(tmp_path / name, 3)
    with pytest.raises(RequestError, match="has a name of 250 characters, too long"):
        folder_splits(tmp_path)


@pytest.mark.parametrize("name", ["---", "_", "(!)"])
def test_a_name_without_any_letter_or_digit_is_refused(tmp_path, name):
    for called in (name, "a"):
        fill(tmp_path / called, 3)
    with pytest.raises(RequestError) as refusal:
        folder_splits(tmp_path)
    assert str(refusal.value) == f"the class folder {name} in {tmp_path} has no letter or digit in its name; rename it"


def test_names_that_differ_in_case_and_punctuation_alone_are_refused(tmp_path):
    for name in ("Red cells", "b", "red_cells"):
        fill(tmp_path / name, 3)
    with pytest.raises(RequestError) as refusal:
        folder_splits(tmp_path)
    said = f"the class folders Red cells and red_cells in {tmp_path} have the same letters and digits; rename one of them"
    assert str(refusal.value) == said


def test_a_folder_that_is_moved_is_the_same_data_with_the_same_space(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / "one" / name, 3)
    first = folder_data(tmp_path / "one", 8)
    (tmp_path / "one").rename(tmp_path / "two")
    second = folder_data(tmp_path / "two", 8)
    assert (second.identity, second.space) == (first.identity, first.space)


def test_how_an_image_is_decoded_is_part_of_the_identity_where_it_is_not_plain(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / name, 3)
    assert folder._steps(tmp_path / "a" / "0.png") == ""
    Image.new("RGBA", (8, 8), (1, 2, 3, 0)).save(tmp_path / "a" / "clear.png")
    assert folder._steps(tmp_path / "a" / "clear.png") == ":over white"


def test_forty_classes_and_one_image_of_each_in_val(tmp_path):
    for label in range(40):
        fill(tmp_path / f"class {label}", 4)
    data = folder_data(tmp_path, 8)
    assert np.bincount(data.split("val").labels).tolist() == [1] * 40 and len(data.split("train")) == 80
    with pytest.raises(RequestError, match="data.n_train=39 leaves some of the 40 classes without an image"):
        folder_data(tmp_path, 8, counts=Counts(train=39))
