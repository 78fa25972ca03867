"""Accepted images beside the training images that they come nearest to: a sheet, and files for pages."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from PIL import Image

from pathsynth.data.phantom import phantom_data
from pathsynth.evaluation.image_sheets import ImageSet, write_nearest
from pathsynth.models.image_classifier import Classifier, ClassifierSpec
from pathsynth.sampling.gate import class_features
from pathsynth.sampling.pictures import GAP, read_png

DATA = phantom_data(16, 27, 18, 9, 0)


def judge() -> Classifier:
    return Classifier(ClassifierSpec("resnet10t", 16, "stock", DATA.space.slugs, DATA.space.name)).eval()


def drawn(folder, pictures, labels, accepted) -> ImageSet:
    """A set of one attempt a slot."""
    rows = []
    for i, (picture, label, taken) in enumerate(zip(pictures, labels, accepted, strict=True)):
        Image.fromarray(picture).save(folder / f"{i}.png")
        rows.append(SimpleNamespace(label=int(label), slot=i, accepted=taken, image=f"{i}.png", name=f"drawn-{i:05d}-0"))
    return ImageSet(tuple(rows), folder)


def test_a_planted_copy_stands_first_and_beside_what_it_repeats(tmp_path):
    train, fresh, looks = DATA.split("train"), DATA.split("val"), judge()
    copy = np.flatnonzero(train.labels == 4)[1]
    pictures = np.concatenate([fresh.images, train.images[copy : copy + 1]])
    images = drawn(tmp_path, pictures, [*fresh.labels, 4], [True] * len(pictures))
    write_nearest(tmp_path / "nearest.png", images, DATA, looks, class_features(looks, train.images))
    beside = {c.index: sorted((tmp_path / "nearest" / c.slug).iterdir()) for c in DATA.space.classes}
    assert [len(paths) for paths in beside.values()] == [3 if label == 4 else 2 for label in range(9)], "two fresh ones, and the copy"
    nearest, second = beside[4][:2]
    assert nearest.name == f"0-drawn-{len(pictures) - 1:05d}-0.png" and second.name.startswith("1-drawn-")
    assert (read_png(nearest) == train.images[copy]).all()
    sheet = read_png(tmp_path / "nearest.png")
    size = 96 + GAP  # shown at six times its 16 px
    tiles = [sheet[GAP + 4 * size :, GAP + place * size :][:96:6, :96:6] for place in range(4)]
    assert (tiles[0] == train.images[copy]).all() and (tiles[1] == train.images[copy]).all()
    assert not (tiles[2] == tiles[3]).all()


def test_rejected_images_are_left_out_and_without_accepted_ones_there_is_no_sheet(tmp_path):
    train, fresh, looks = DATA.split("train"), DATA.split("val"), judge()
    features = class_features(looks, train.images)
    write_nearest(tmp_path / "none.png", drawn(tmp_path, fresh.images, fresh.labels, [False] * 18), DATA, looks, features)
    assert not (tmp_path / "none.png").exists()
    write_nearest(tmp_path / "one.png", drawn(tmp_path, fresh.images, fresh.labels, [i == 0 for i in range(18)]), DATA, looks, features)
    assert [p.parent.name for p in (tmp_path / "one").rglob("*.png")] == [DATA.space.classes[fresh.labels[0]].slug]
