"""What a user's data set must be, and how each fault is told; the reader's own process is in tests/examples."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from pathsynth.config import DataConfig
from pathsynth.data.catalogue import Decoded, open_data
from pathsynth.data.custom_data import store_custom_images
from pathsynth.data.custom_reader import read
from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.stages.decode import decode_into
from pathsynth.stages.stage import StagePlan


def pictures(n: int, size: int = 16) -> np.ndarray:
    return np.arange(n * size * size * 3, dtype=np.uint8).reshape(n, size, size, 3)


class Mine:
    classes = ("a", "b")

    def __init__(self, size: int, n: int = 8) -> None:
        self.n = n

    def images(self, split):
        return pictures(self.n), np.arange(self.n, dtype=np.uint8) % 2


def order(**counts: int) -> dict:
    return {"module": {"_target_": "mine.Mine"}, "size": 16, "counts": {"train": 0, "val": 0, "test": 0, **counts}, "folder": None}


def module_with(monkeypatch, kind: type) -> ModuleType:
    """A module of the user's, with a class made from ``kind`` that is to be broken."""
    made = ModuleType("mine")
    made.Mine = type("Mine", (kind,), {})
    monkeypatch.setitem(sys.modules, "mine", made)
    return made


@pytest.fixture
def mine(monkeypatch) -> ModuleType:
    return module_with(monkeypatch, Mine)


def test_a_sound_one_is_described_by_its_content(mine):
    seen = read(order())
    assert (seen["classes"], seen["counts"]) == (["a", "b"], {"train": 8, "val": 8, "test": 8})
    mine.Mine.images = lambda self, split: (pictures(8).copy(), list(np.arange(8) % 2))
    assert read(order()) == seen, "the same pixels and labels, whatever holds them"
    mine.Mine.images = lambda self, split: (pictures(8), (np.arange(8) + 1) % 2)
    assert read(order())["digests"]["val"] != seen["digests"]["val"]
    assert read(order(train=4))["counts"]["train"] == 4


def raises(self, split):
    raise KeyError(split)


GIVEN = {
    "no such split": (raises, "images('train') raised KeyError: 'train'; it should give the images and labels of train, val and test"),
    "no pair": (lambda self, split: pictures(8), "gave a ndarray; it should give two arrays"),
    "dtype": (lambda self, split: (pictures(8) / 255, np.arange(8) % 2), "gave images float64 (8, 16, 16, 3); they should be uint8 (N, 16"),
    "shape": (lambda self, split: (pictures(8, 20), np.arange(8) % 2), "gave images uint8 (8, 20, 20, 3); they should be uint8 (N, 16"),
    "labels": (lambda self, split: (pictures(8), np.arange(7) % 2), "gave labels int64 (7,); they should be whole numbers (8,)"),
    "kind": (lambda self, split: (pictures(8), np.arange(8) % 2 / 1), "gave labels float64 (8,); they should be whole numbers"),
    "range": (lambda self, split: (pictures(8), np.arange(8) % 3), "gave the label 2, and there are 2 classes"),
    "below": (lambda self, split: (pictures(8), np.arange(8) % 2 - 1), "gave the label -1, and there are 2 classes"),
    "empty class": (lambda self, split: (pictures(8), np.zeros(8, int)), "has no image of b; give some of every class"),
}


@pytest.mark.parametrize("case", GIVEN)
def test_what_it_gives_is_reported_where_it_is_wrong(mine, case):
    mine.Mine.images, words = GIVEN[case]
    with pytest.raises(RequestError) as told:
        read(order())
    assert str(told.value).startswith("data: mine.Mine") and words in str(told.value) and "\n" not in str(told.value)


def broken(self, size):
    raise FileNotFoundError("no\nslides here")


CLASSES = {
    "constructor": ({"__init__": broken}, "data: mine.Mine cannot be made (FileNotFoundError: no slides here); correct it"),
    "no classes": ({"classes": None}, "data: mine.Mine.classes should be a list of names, in the order of the labels, got None"),
    "one text": ({"classes": "ab"}, "data: mine.Mine.classes should be a list of names"),
    "one class": ({"classes": ["a"]}, "data: mine.Mine.classes should be two names or more, got ['a']"),
    "arguments": ({"__init__": lambda self, size, depth: None}, "mine.Mine refuses its arguments (missing a required argument: 'depth')"),
}


@pytest.mark.parametrize("case", CLASSES)
def test_the_class_is_reported_where_it_is_wrong(mine, case):
    members, words = CLASSES[case]
    mine.Mine = type("Mine", (Mine,), members)
    with pytest.raises(RequestError) as told:
        read(order())
    assert words in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("counts", "words"),
    [({"val": 9}, "mine.Mine has 8 val images, not 9; lower data.n_val"), ({"train": 1}, "data.n_train=1 leaves some of the 2 classes")],
)
def test_counts_that_it_cannot_meet_are_reported_with_their_key(mine, counts, words):
    with pytest.raises(RequestError) as told:
        read(order(**counts))
    assert words in str(told.value)


def test_fewer_images_than_wanted_are_all_where_that_is_allowed(mine):
    assert read(order(train=6, val=9, allow_fewer=True)) == read(order(train=6))


def own(**changes) -> DataConfig:
    return DataConfig.model_validate({"name": "own", "size": 16, "_target_": "my_data.MyData", **changes})


def test_free_keys_are_arguments_and_keys_of_other_sets_are_refused():
    assert own(depth=3).module == {"_target_": "my_data.MyData", "depth": 3}
    with pytest.raises(ValueError, match=r"data\.seed belongs to data=phantom, folder"):
        own(seed=3)
    with pytest.raises(ValueError, match=r"data\._target_ and data\.name=phantom name two data sets"):
        own(name="phantom")
    with pytest.raises(ValueError, match=r"named by data\._target_, as in my_data\.MyData"):
        DataConfig(name="own", size=16)
    with pytest.raises(ValueError, match="depth"):
        DataConfig.model_validate({"name": "phantom", "size": 32, "depth": 3})


@pytest.mark.slow
def test_kept_images_are_those_of_the_class_and_others_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_data.py").write_text(
        "import numpy as np\nprint('hello')\n"
        "class MyData:\n    classes = ['red cells', 'b']\n    def __init__(self, size, root): self.root = root\n"
        "    def images(self, split): return np.full((4, 16, 16, 3), len(self.root), np.uint8), [0, 1, 1, 0]\n"
    )
    data, kept = open_data(own(root="12345")), tmp_path / "kept"
    kept.mkdir()
    assert data.space.slugs == ("red-cells", "b") and data.name == "MyData 16 px (4/4/4)"
    request = SimpleNamespace(data=own(root="12345"))
    notes = decode_into(kept, request, StagePlan("decode", "1a", {}, {"data": data.identity}), tmp_path / "work")
    assert notes[0] == "images that lie in two classes or splits: 1 (first: train[0] and train[1] show the same pixels in two classes)"
    (tmp_path / "my_data.py").write_text("import os\nos._exit(3)\n")
    again = open_data(own(root="12345"), Decoded(kept, data.identity))
    assert (again.name, again.space, again.identity) == (data.name, data.space, data.identity)
    assert again.split("val").labels.tolist() == [0, 1, 1, 0] and set(again.split("val").images[0:4].ravel()) == {5}
    with pytest.raises(RequestError, match=r"my_data\.MyData ended the process that reads it \(status 3\)"):
        store_custom_images(own(root="12345"), data.identity, kept)
    (kept / "description.json").unlink()
    with pytest.raises(StageError, match="cannot be read"):
        open_data(own(root="12345"), Decoded(kept, data.identity))
