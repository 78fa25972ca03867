"""Large arrays are mapped, whether the archive stores or compresses them, and memory holds what is being read."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pathsynth.data import npz
from pathsynth.data.medmnist import PATHMNIST, medmnist_data
from pathsynth.data.npz import array_header, open_array
from pathsynth.ledger.errors import RequestError

IMAGES = np.random.default_rng(0).integers(256, size=(60, 10, 10, 3), dtype=np.uint8)
SAVES = {"stored": np.savez, "compressed": np.savez_compressed}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every array is a large one; the folder where those that had to be decoded lie."""
    monkeypatch.setattr(npz, "IN_MEMORY", 0)
    monkeypatch.setenv("PATHSYNTH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "arrays"


def archive(folder: Path, how: str = "compressed") -> Path:
    SAVES[how](folder / "some.npz", first=np.zeros(3), images=IMAGES, turned=np.asfortranarray(IMAGES))
    return folder / "some.npz"


@pytest.mark.parametrize("how", SAVES)
@pytest.mark.parametrize("key", ["images", "turned"])
def test_a_large_array_is_mapped_and_cannot_be_written(tmp_path, place, how, key):
    found = open_array(archive(tmp_path, how), key, "abc")
    assert isinstance(found, np.memmap) and not found.flags.writeable
    assert np.array_equal(found, IMAGES)
    assert place.exists() == (how == "compressed")
    assert array_header(tmp_path / "some.npz", key).fortran == (key == "turned")


def test_a_small_array_is_read_into_memory(tmp_path, place, monkeypatch):
    monkeypatch.setattr(npz, "IN_MEMORY", IMAGES.nbytes)
    found = open_array(archive(tmp_path), "images", "abc")
    assert np.array_equal(found, IMAGES) and not isinstance(found, np.memmap) and not place.exists()
    assert not found.flags.writeable


def test_it_is_decoded_once_and_kept_read_only(tmp_path, place, capsys):
    path = archive(tmp_path)
    open_array(path, "images", "abc")
    assert "decoding images.npy" in capsys.readouterr().out
    (kept,) = place.iterdir()
    assert kept.name == "some-abc-images.npy" and not kept.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
    open_array(path, "images", "abc")
    assert capsys.readouterr().out == ""
    open_array(path, "images", "another file's")
    assert len(list(place.iterdir())) == 2


def test_a_decoded_file_that_was_cut_is_decoded_again(tmp_path, place):
    path = archive(tmp_path)
    open_array(path, "images", "abc")
    (kept,) = place.iterdir()
    kept.chmod(0o644)
    kept.write_bytes(kept.read_bytes()[:-9])
    assert np.array_equal(open_array(path, "images", "abc"), IMAGES)


def test_processes_that_decode_at_the_same_time_leave_one_whole_file(tmp_path, place):
    code = "\n".join(
        [
            "import sys; import numpy as np; from pathlib import Path; from pathsynth.data import npz",
            "npz.IN_MEMORY = 0; npz._CHUNK = 64",
            "assert int(npz.open_array(Path(sys.argv[1]), 'images', 'abc').sum()) == int(sys.argv[2])",
        ]
    )
    command = [sys.executable, "-c", code, str(archive(tmp_path)), str(int(IMAGES.sum()))]
    for process in [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]:
        assert process.wait(60) == 0
    assert [kept.name for kept in place.iterdir()] == ["some-abc-images.npy"]


def test_what_a_killed_process_left_is_removed_and_what_another_writes_is_not(tmp_path, place):
    place.mkdir(parents=True)
    old, new = place / ".some-abc-images.npy.old.partial", place / ".some-abc-images.npy.new.partial"
    for partial in (old, new):
        partial.write_bytes(b"")
    os.utime(old, (time.time() - 7200,) * 2)
    open_array(archive(tmp_path), "images", "abc")
    assert (old.exists(), new.exists()) == (False, True)


def refusal(path: Path) -> str:
    with pytest.raises(RequestError) as caught:
        open_array(path, "images", "abc")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_damage_is_refused_and_nothing_of_it_is_kept(tmp_path, place):
    path = archive(tmp_path)
    damaged = bytearray(path.read_bytes())
    damaged[9000:9100] = bytes(100)
    path.write_bytes(damaged)
    assert "fetch it again" in refusal(path)
    assert list(place.iterdir()) == []


def test_a_stored_array_that_is_shorter_than_its_header_says_is_refused(tmp_path):
    path, array = tmp_path / "some.npz", tmp_path / "images.npy"
    np.save(array, IMAGES)
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("images.npy", array.read_bytes()[:-9])
    assert "do not hold an array uint8 (60, 10, 10, 3)" in refusal(path)


def test_no_room_and_a_folder_that_cannot_be_written_are_refused_with_the_remedy(tmp_path, place, monkeypatch):
    path = archive(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
        assert "make room there, or set PATHSYNTH_CACHE" in refusal(path)
    shutil.rmtree(place)
    place.write_text("no folder")
    assert "cannot be written" in refusal(path) and "set PATHSYNTH_CACHE to a folder that can" in refusal(path)


@pytest.mark.parametrize("how", SAVES)
def test_opening_halving_and_reading_batches_takes_a_small_part_of_the_images_memory(tmp_path, how):
    counts = {"train": 180, "val": 18, "test": 18}
    arrays = {f"{split}_images": np.full((n, 224, 224, 3), 7, np.uint8) for split, n in counts.items()}
    arrays |= {f"{split}_labels": (np.arange(n, dtype=np.uint8) % 9)[:, None] for split, n in counts.items()}
    SAVES[how](tmp_path / "pathmnist_224.npz", **arrays)
    whole = sum(array.nbytes for array in arrays.values())
    del arrays
    tracemalloc.start()
    data = medmnist_data(PATHMNIST, tmp_path, 224, allow_subset=True)
    a, b = data.part("a"), data.part("b")
    assert (len(a), len(b)) == (90, 90)
    assert all((half.images[i : i + 8] == 7).all() for half in (a, b) for i in range(0, 40, 8))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < whole / 3
