"""Every image is decoded once, counted, and compared with the others."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pathsynth.config import DataConfig
from pathsynth.data import decoded
from pathsynth.data.survey import survey
from pathsynth.ledger.errors import RequestError


def noise(*seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(256, size=(16, 16, 3), dtype=np.uint8))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for label, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        for i in range(4):
            noise(label, i).save(tmp_path / name / f"{i}.png")
    return tmp_path


def of(root: Path, **more):
    return survey(DataConfig(name="folder", size=16, root=str(root), **more), 2)


def test_good_images_are_counted_and_nothing_is_said(root):
    told: list[tuple[int, int]] = []
    found = survey(DataConfig(name="folder", size=16, root=str(root)), 2, lambda done, total: told.append((done, total)))
    assert (found.faults, found.notes, found.copies) == ((), (), ())
    assert found.by_class == {"a": {"train": 2, "val": 1, "test": 1}, "b": {"train": 2, "val": 1, "test": 1}}
    assert found.to_json()["sizes"] == {"16×16": 8} and told == [(n, 8) for n in range(1, 9)]


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_unreadable_files_are_named(root, content):
    whole = (root / "a" / "0.png").read_bytes()
    (root / "a" / "0.png").write_bytes(whole[: len(whole) // 2] if content is None else content)
    (root / "b" / "1.png").write_bytes(b"also text")
    found = of(root)
    (fault,) = found.faults
    assert "0.png cannot be read as an image" in fault and fault.endswith("1 more like it (pathsynth check)")
    assert {entry["file"] for entry in found.to_json()["unreadable"]} == {"a/0.png", "b/1.png"}


def test_the_same_pixels_in_another_format_are_found(root):
    noise(0, 0).save(root / "b" / "copy.bmp")
    found = of(root)
    assert [(c.by, c.across, set(c.names)) for c in found.copies] == [("pixels", "classes", {"a/0.png", "b/copy.bmp"})]
    assert "show the same pixels in two classes; remove one" in found.faults[0]


def test_images_that_have_only_their_checksum_in_common_are_no_copies(root, monkeypatch):
    noise(0, 0).save(root / "b" / "copy.bmp")
    monkeypatch.setattr(decoded, "zlib", SimpleNamespace(crc32=lambda _: 0))
    assert [set(c.names) for c in of(root).copies] == [{"a/0.png", "b/copy.bmp"}]


def test_copies_that_stop_a_run_are_all_listed(root):
    for i in range(2):
        (root / "b" / f"copy{i}.png").write_bytes((root / "a" / f"{i}.png").read_bytes())
    found = of(root)
    assert len(found.faults) == 1 and "are the same file in two classes" in found.faults[0]
    assert {c.names for c in found.copies} == {("a/0.png", "b/copy0.png"), ("a/1.png", "b/copy1.png")}


def test_what_is_done_with_unusual_images_is_said_once_for_each_kind(root):
    for i in range(2):
        Image.fromarray(np.random.default_rng(i).integers(4096, size=(16, 16), dtype=np.uint16)).save(root / "a" / f"deep{i}.png")
    transparent = noise(9).convert("RGBA")
    transparent.putalpha(100)
    transparent.save(root / "b" / "clear.png")
    noise(7).save(root / "b" / "pages.tif", save_all=True, append_images=[noise(8)])
    notes = of(root).notes
    assert [n for n in notes if "16-bit grey, divided by 257" in n and ": 2 (a/deep" in n]
    assert [n for n in notes if n.startswith("the brightest value of the 16-bit images is 4,0")]
    assert [n for n in notes if n == "images with transparency, laid over white: 1 (b/clear.png)"]
    assert [n for n in notes if n == "images with several pages or frames, of which the first is taken: 1 (b/pages.tif)"]
    assert len(notes) == 4


def test_what_cannot_be_opened_is_a_fault_and_what_is_not_there_a_refusal(root):
    assert of(root, n_train=100).faults[0].startswith(f"{root} has 4 train images, not 100")
    with pytest.raises(RequestError, match="no folder"):
        of(root / "none")
    with pytest.raises(RequestError, match="data=phantom has no files"):
        survey(DataConfig(name="phantom", size=32), 1)


def medmnist_file(folder: Path, drop: int | None = None) -> Path:
    arrays = {}
    for number, split in enumerate(("train", "val", "test")):
        labels = np.array([label for label in range(9) if split != "train" or label != drop], dtype=np.uint8)
        arrays[f"{split}_images"] = np.random.default_rng(number).integers(256, size=(len(labels), 28, 28, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = labels[:, None]
    arrays["test_images"][3] = arrays["train_images"][3]
    np.savez_compressed(folder / "pathmnist.npz", **arrays)
    return folder / "pathmnist.npz"


def test_a_medmnist_file_is_read_whole(tmp_path):
    config = DataConfig(name="pathmnist", size=28, root=str(tmp_path), allow_subset=True)
    path = medmnist_file(tmp_path)
    found = survey(config, 1)
    assert len(found.images) == 27 and found.faults == ()
    assert found.notes[0].startswith("images that lie in two classes or splits: 1 (first: train[3] and test[3]")
    damaged = bytearray(path.read_bytes())
    damaged[5000:5400] = b"\0" * 400
    path.write_bytes(bytes(damaged))
    assert "is truncated" in survey(config, 1).faults[-1]
    medmnist_file(tmp_path, drop=4)
    assert "has no train image of mucus" in survey(config, 1).faults[0]
