"""A set of accepted images as a data set: rows, card, and the classes of which nothing was accepted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from pathsynth.data.folder import Shares, folder_data
from pathsynth.sampling.attempts import AttemptRow
from pathsynth.sampling.image_set import ClassCount, class_counts, describe_images, format_unreachable

SLUGS = ("adipose", "mucus", "debris")


def row(label: int, slot: int, attempt: int, accepted: bool, broken: bool = False) -> AttemptRow:
    slug = SLUGS[label]
    return AttemptRow(
        stream="generate",
        label=label,
        class_slug=slug,
        slot=slot,
        attempt=attempt,
        prompt=f"an area with {slug}",
        seed=7,
        steps=2,
        guidance=3.0,
        denoiser_calls=4,
        predicted=label if accepted else -1 if broken else 2,
        probability=0.5,
        probabilities=(0.5, 0.25, 0.25),
        accepted=accepted,
        reason=None if accepted else "another class is more probable",
        near_margin=False,
        image=f"images/{slug}/{slug}-{slot:05d}-{attempt}.png" if accepted else None,
        sha256=None if broken else "ab",
    )


@pytest.fixture
def rows(tmp_path) -> list[AttemptRow]:
    """Two classes with three images each, and one that was tried eight times in vain."""
    made = [row(label, slot, 1, True) for label in (1, 0) for slot in range(3)]
    made += [row(1, 0, 0, False, broken=True), row(2, 0, 0, False)] + [row(2, 1, attempt, False) for attempt in range(7)]
    for one in made:
        if one.image:
            (tmp_path / one.image).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((16, 16, 3), 100 + 10 * one.label + one.slot, np.uint8)).save(tmp_path / one.image)
    return made


def test_classes_are_counted_and_the_unreachable_one_has_a_bound(rows):
    counts = class_counts(rows)
    assert counts == [ClassCount("adipose", 3, 3, 3, 0), ClassCount("mucus", 3, 3, 4, 1), ClassCount("debris", 2, 0, 8, 0)]
    assert counts[2].bound == pytest.approx(1 - 0.025 ** (1 / 8))  # Clopper and Pearson's upper end where there is no success
    (line,) = format_unreachable(counts)
    assert line == "unreachable: debris: none of 8 attempts was accepted (the rate is below 0.369 at 95%)"


def test_every_image_has_a_row_that_names_its_file(rows, tmp_path):
    describe_images(tmp_path, rows)
    found = [json.loads(line) for line in (tmp_path / "images" / "metadata.jsonl").read_text().splitlines()]
    assert {one["file_name"] for one in found} == {str(p.relative_to(tmp_path / "images")) for p in tmp_path.rglob("*.png")}
    assert {(one["label"], one["prompt"], one["synthetic"]) for one in found} == {(s, f"an area with {s}", True) for s in SLUGS[:2]}


def test_others_read_the_folder(rows, tmp_path):
    describe_images(tmp_path, rows)
    assert ImageFolder(str(tmp_path / "images")).classes == ["adipose", "mucus"]
    data = folder_data(tmp_path / "images", 16, shares=Shares(0.34, 0.34, 0))
    assert data.space.slugs == ("adipose", "mucus") and len(data.split("train")) == 2


def test_the_card_tells_what_was_asked_for_and_what_cannot_be_had(rows, tmp_path):
    describe_images(tmp_path, rows)
    card = (tmp_path / "images" / "README.md").read_text()
    assert "# 6 synthetic tissue images" in card and "| mucus | 3 | 3 | 4 |" in card and "- unreachable: debris" in card


def test_where_nothing_was_accepted_there_is_no_folder(rows, tmp_path: Path):
    describe_images(tmp_path / "none", [one for one in rows if not one.accepted])
    assert not (tmp_path / "none").exists()
