"""Images decoded into arrays on the disk: their pixels, what a kill leaves of them, and the memory that reading them takes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pathsynth.config import DataConfig
from pathsynth.data import decoded
from pathsynth.data.catalogue import Decoded, open_data
from pathsynth.data.dataset import SPLITS
from pathsynth.data.decode import decode, middle_square
from pathsynth.data.decoded import decode_images, read_split
from pathsynth.data.survey import decode_folder
from pathsynth.ledger.errors import RequestError, StageError


def write_images(folder: Path, count: int, size: tuple[int, int] = (12, 10)) -> list[Path]:
    """Images of noise, each of its own."""
    folder.mkdir(parents=True)
    paths = [folder / f"slide{i % 5}_{i}.png" for i in range(count)]
    for i, path in enumerate(paths):
        Image.fromarray(np.random.default_rng([len(folder.name), i]).integers(256, size=(*size, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    """Two classes; some images are turned, grey, or have another size."""
    for name in ("01_TUMOR", "stroma"):
        paths = write_images(tmp_path / "own" / name, 20)
        turned = Image.Exif()
        turned[0x0112] = 6
        images = [Image.open(path).convert("RGB") for path in paths[:3]]
        images[0].save(paths[0], exif=turned)
        images[1].convert("L").save(paths[1])
        images[2].resize((40, 30)).save(paths[2])
    return DataConfig(name="folder", root=str(tmp_path / "own"), size=16, symmetry="d4", group=r"regex:(slide\d+)_")


def decode_all(config: DataConfig, tmp_path: Path, workers: int = 1) -> Path:
    (tmp_path / "stage").mkdir()
    decode_folder(config, open_data(config).identity, tmp_path / "stage", tmp_path / "work", workers)
    return tmp_path / "stage"


@pytest.mark.parametrize("workers", [1, 3])
def test_the_arrays_hold_what_decoding_in_memory_gives(config, tmp_path, monkeypatch, workers):
    monkeypatch.setattr(decoded, "_CHUNK_IMAGES", 3)
    in_memory = open_data(config)
    mapped = open_data(config, Decoded(decode_all(config, tmp_path, workers), in_memory.identity))
    assert (mapped.name, mapped.identity, mapped.size) == (in_memory.name, in_memory.identity, 16)
    assert (mapped.space, mapped.prompts) == (in_memory.space, in_memory.prompts)
    for split in SPLITS:
        one, other = mapped.split(split), in_memory.split(split)
        assert np.array_equal(one.images[:], other.images) and np.array_equal(one.labels, other.labels)
        assert np.array_equal(one.groups, other.groups)
    for one, other in ((mapped.part("a"), in_memory.part("a")), (mapped.selection(), in_memory.selection())):
        assert np.array_equal(one.images[:], other.images[:]) and np.array_equal(one.labels, other.labels)


def test_decoded_images_are_used_whatever_became_of_the_files(config, tmp_path):
    identity = open_data(config).identity
    stage = decode_all(config, tmp_path)
    before = read_split(stage, "train").images[:]
    for path in Path(config.root).rglob("*.png"):
        path.write_bytes(b"no image any more")
    assert np.array_equal(open_data(config, Decoded(stage, identity)).split("train").images[:], before)


def test_images_that_changed_after_the_plan_are_refused(config, tmp_path):
    identity = open_data(config).identity
    Image.new("RGB", (9, 9)).save(Path(config.root) / "stroma" / "slide0_0.png")
    with pytest.raises(RequestError, match="changed since the trial was planned"):
        decode_folder(config, identity, tmp_path, tmp_path / "work", 1)


def test_an_image_that_cannot_be_read_is_refused_and_leaves_nothing(config, tmp_path):
    (Path(config.root) / "stroma" / "slide0_0.png").write_bytes(b"no image")
    with pytest.raises(RequestError, match="slide0_0.png cannot be read as an image"):
        decode_all(config, tmp_path)
    assert not (tmp_path / "work").exists()


def test_only_chunks_that_are_not_whole_are_decoded_again(tmp_path, monkeypatch):
    monkeypatch.setattr(decoded, "_CHUNK_IMAGES", 4)
    files, work = {"train": write_images(tmp_path / "a", 14)}, tmp_path / "work"
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    found = decode_images(files, 6, tmp_path / "first", work, 1)
    whole = np.load(tmp_path / "first" / "train.npy")
    (work / "train-0.json").write_text("{")
    (work / "train-4.json").unlink()
    with (work / "train.npy").open("r+b") as file:  # a page that did not reach the disk, though the mark did
        file.seek(-10, os.SEEK_END)
        file.write(bytes(10))
    kept = (work / "train-8.json").stat().st_mtime_ns
    again = decode_images(files, 6, tmp_path / "second", work, 1)
    assert again == found and np.array_equal(np.load(tmp_path / "second" / "train.npy"), whole)
    assert (work / "train-8.json").stat().st_mtime_ns == kept


KILLED = """
import sys
from pathlib import Path
from pathsynth.data import decoded
decoded._CHUNK_IMAGES = 20
if __name__ == "__main__":
    here = Path(sys.argv[1])
    decoded.decode_images({"train": sorted((here / "a").iterdir())}, 64, here / "stage", here / "work", 2)
"""


def test_a_decoding_that_was_killed_goes_on_and_leaves_no_process(tmp_path, alive, monkeypatch):
    paths = write_images(tmp_path / "a", 400, (128, 128))
    (tmp_path / "stage").mkdir()
    (tmp_path / "killed.py").write_text(KILLED)
    child = subprocess.Popen([sys.executable, str(tmp_path / "killed.py"), str(tmp_path)])
    work = tmp_path / "work"
    while len(list(work.glob("*.json"))) < 5:
        assert child.poll() is None
        time.sleep(0.01)
    helpers = [int(pid) for pid in Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()]
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not list((tmp_path / "stage").iterdir())
    deadline = time.monotonic() + 20
    while any(alive(pid) and "zombie" not in Path(f"/proc/{pid}/status").read_text() for pid in helpers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    marks = {path: path.stat().st_mtime_ns for path in work.glob("*.json") if path.read_text().endswith("}")}  # others were being written
    assert 3 <= len(marks) < 20
    monkeypatch.setattr(decoded, "_CHUNK_IMAGES", 20)
    counted = []
    decode_images({"train": sorted(paths)}, 64, tmp_path / "stage", work, 1, lambda done, total: counted.append((done, total)))
    assert marks == {path: path.stat().st_mtime_ns for path in marks} and counted[-1] == (400, 400)
    stored = np.load(tmp_path / "stage" / "train.npy", mmap_mode="r")
    for row in (0, 57, 399):
        assert np.array_equal(stored[row], middle_square(decode(sorted(paths)[row]).image, 64))


def test_a_decoding_that_is_stopped_does_not_wait_for_what_is_at_work(tmp_path):
    (tmp_path / "stage").mkdir()
    (tmp_path / "many").mkdir()
    (large,) = write_images(tmp_path / "a", 1, (1200, 1200))
    many = [tmp_path / "many" / f"{number}.png" for number in range(400)]
    for path in many:
        os.link(large, path)

    def stop(done: int, _total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode_images({"train": [large], "val": many}, 8, tmp_path / "stage", tmp_path / "work", 2, stop)
    assert [path.name for path in (tmp_path / "work").glob("*.json")] == ["train-0.json"]
    assert not multiprocessing.active_children()


def test_a_disk_without_room_is_said_before_anything_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(RequestError, match="the decoded images take 0.0 GB"):
        decode_images({"train": write_images(tmp_path / "a", 3)}, 64, tmp_path, tmp_path / "work", 1)
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize("damage", ["train.npy", "train_labels.npy"])
def test_a_damaged_array_is_named(config, tmp_path, damage):
    stage = decode_all(config, tmp_path)
    (stage / damage).chmod(0o644)
    (stage / damage).write_bytes((stage / damage).read_bytes()[:40])
    with pytest.raises(StageError, match=f"the decoded images in {stage} cannot be read"):
        read_split(stage, "train")
