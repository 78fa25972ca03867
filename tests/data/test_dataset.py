import numpy as np
import pytest

from pathsynth.data.dataset import DataSet, LabelledImages
from pathsynth.ledger.errors import RequestError
from pathsynth.vocabulary.labels import COLORECTAL
from pathsynth.vocabulary.prompts import colorectal_prompts


def numbered(labels: np.ndarray) -> LabelledImages:
    """Images whose first two channels spell their row, so that rows can be told apart."""
    rows = np.arange(len(labels))
    images = np.zeros((len(labels), 2, 2, 3), dtype=np.uint8)
    images[..., 0], images[..., 1] = (rows // 256)[:, None, None], (rows % 256)[:, None, None]
    return LabelledImages(images, labels)


def rows_of(images: LabelledImages) -> list[int]:
    return [int(row[0, 0, 0]) * 256 + int(row[0, 0, 1]) for row in images.images]


def data_of(labels: np.ndarray, identity: str = "0123") -> DataSet:
    images = numbered(labels)
    return DataSet("numbered", identity, 2, COLORECTAL, colorectal_prompts(), lambda split: images)


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(9, size=501)


def test_parts_are_disjoint_and_cover_the_training_data(labels: np.ndarray) -> None:
    data = data_of(labels)
    a, b = rows_of(data.part("a")), rows_of(data.part("b"))
    assert not set(a) & set(b)
    assert sorted(a + b) == list(range(len(labels)))
    assert rows_of(data.part("all")) == list(range(len(labels)))


def test_parts_are_stratified_and_keep_their_labels(labels: np.ndarray) -> None:
    data = data_of(labels)
    a, b = data.part("a"), data.part("b")
    difference = np.bincount(a.labels, minlength=9) - np.bincount(b.labels, minlength=9)
    assert set(difference) <= {0, 1}
    assert np.array_equal(a.labels, labels[rows_of(a)])


def test_a_row_keeps_its_part_only_under_the_same_identity(labels: np.ndarray) -> None:
    assert rows_of(data_of(labels).part("a")) == rows_of(data_of(labels).part("a"))
    assert rows_of(data_of(labels).part("a")) != rows_of(data_of(labels, "4567").part("a"))


def test_parts_do_not_follow_the_row_order(labels: np.ndarray) -> None:
    first_half = sum(row < len(labels) // 2 for row in rows_of(data_of(labels).part("a")))
    assert 0.35 < first_half / (len(labels) // 2) < 0.65


@pytest.mark.parametrize(("call", "words"), [("part", "a, b, all"), ("split", "train, val, test")])
def test_an_unknown_part_or_split_is_refused_with_the_choices(labels: np.ndarray, call: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        getattr(data_of(labels), call)("c")


def test_take_follows_the_order_given(labels: np.ndarray) -> None:
    assert rows_of(numbered(labels).take(np.asarray([7, 3, 3]))) == [7, 3, 3]


def test_images_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        LabelledImages(np.zeros((2, 4, 4, 3), dtype=np.float32), np.zeros(2, dtype=np.int64))
    with pytest.raises(ValueError, match="int64"):
        LabelledImages(np.zeros((2, 4, 4, 3), dtype=np.uint8), np.zeros((2, 1), dtype=np.int64))


def test_val_is_halved_by_class_into_what_chooses_and_what_is_scored(labels: np.ndarray) -> None:
    data = data_of(labels)
    chosen, scored = data.selection(), data.assessment("val")
    assert scored is not None
    assert sorted(rows_of(chosen) + rows_of(scored)) == list(range(len(labels)))
    assert set(np.bincount(chosen.labels, minlength=9) - np.bincount(scored.labels, minlength=9)) <= {0, 1}
    assert rows_of(chosen) != rows_of(data.part("a")) and rows_of(chosen) != rows_of(data_of(labels, "4567").selection())
    test = data.assessment("test")
    assert test is not None and len(test) == len(data.split("test"))


def test_a_val_with_one_image_of_a_class_is_not_halved() -> None:
    data = data_of(np.array([*range(9), *range(8)]))
    assert len(data.selection()) == 17 and data.assessment("val") is None and data.assessment("test") is not None
