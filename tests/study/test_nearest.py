"""The sheet of accepted images beside the training images that they come nearest to."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from PIL import Image

from pathsynth.data.phantom import phantom_data
from pathsynth.models.classifier import Classifier, ClassifierSpec
from pathsynth.report.sheets import sheet_tiles
from pathsynth.sampling.gate import class_features
from pathsynth.study.evaluation import ImageSet, write_nearest

DATA = phantom_data(16, 27, 18, 9, 0)


def judge() -> Classifier:
    return Classifier(ClassifierSpec("resnet10t", 16, "stock", DATA.space.slugs, DATA.space.name)).eval()


def drawn(folder, pictures, labels, accepted) -> ImageSet:
    """A set of one attempt a slot."""
    rows = []
    for i, (picture, label, taken) in enumerate(zip(pictures, labels, accepted, strict=True)):
        Image.fromarray(picture).save(folder / f"{i}.png")
        rows.append(SimpleNamespace(label=int(label), slot=i, accepted=taken, image=f"{i}.png"))
    return ImageSet(tuple(rows), folder)


def test_a_planted_copy_stands_first_and_beside_what_it_repeats(tmp_path):
    train, fresh, looks = DATA.split("train"), DATA.split("val"), judge()
    copy = np.flatnonzero(train.labels == 4)[1]
    pictures = np.concatenate([fresh.images, train.images[copy : copy + 1]])
    images = drawn(tmp_path, pictures, [*fresh.labels, 4], [True] * len(pictures))
    write_nearest(tmp_path / "nearest.png", images, DATA, looks, class_features(looks, train.images))
    rows = sheet_tiles(tmp_path / "nearest.png", len(DATA.space))
    assert [len(row) for row in rows] == [6 if label == 4 else 4 for label in range(9)], "pairs of two fresh images a class, and the copy"
    first, beside, second, other = (np.asarray(tile)[3::6, 3::6] for tile in rows[4][:4])  # shown at 96 px
    assert (first == train.images[copy]).all() and (beside == train.images[copy]).all()
    assert not (second == other).all()


def test_rejected_images_are_left_out_and_without_accepted_ones_there_is_no_sheet(tmp_path):
    train, fresh, looks = DATA.split("train"), DATA.split("val"), judge()
    features = class_features(looks, train.images)
    write_nearest(tmp_path / "none.png", drawn(tmp_path, fresh.images, fresh.labels, [False] * 18), DATA, looks, features)
    assert not (tmp_path / "none.png").exists()
    write_nearest(tmp_path / "one.png", drawn(tmp_path, fresh.images, fresh.labels, [i == 0 for i in range(18)]), DATA, looks, features)
    assert [len(row) for row in sheet_tiles(tmp_path / "one.png", 9)] == [2 if label == fresh.labels[0] else 0 for label in range(9)]
