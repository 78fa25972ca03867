"""Images of a trial, taken from its files by its attempt log, and put side by side."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from pathsynth.ledger.errors import RequestError
from pathsynth.report.slot_images import SlotImages, class_images
from pathsynth.report.strips import image_strip, image_uri
from pathsynth.report.trial_images import absent_images, nearest_pairs, real_images, slot_attempts


def flat(path: Path, value: int, size: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), (value,) * 3).save(path)
    return path


def decoded(uri: str) -> Image.Image:
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


def trial(folder: Path, rows: list[tuple[str, int, int, bool]], **columns: str) -> Path:
    """A trial with these attempts (class, slot, attempt, accepted), each of which has its image."""
    names = ("class_slug", "slot", "attempt", "accepted")
    records = [dict(zip(names, row, strict=True)) for row in rows]
    for record in records:
        kind = "images" if record["accepted"] else "rejected"
        record["image"] = f"{kind}/{record['class_slug']}/{record['class_slug']}-{record['slot']:05d}-{record['attempt']}.png"
        record |= {"predicted": 1, "probability": 0.5, **columns}
        flat(folder / record["image"], 10 * record["slot"] + record["attempt"])
    pd.DataFrame(records).to_parquet(folder / "attempts.parquet")
    return folder


def test_first_and_accepted_images_stand_at_their_slots(tmp_path: Path) -> None:
    folder = trial(tmp_path, [("b", 0, 0, False), ("b", 0, 1, True), ("b", 2, 0, True), ("a", 1, 0, False), ("b", 7, 0, True)])
    attempts = slot_attempts(folder, ("a", "b"), 3)
    a, b = class_images(attempts, ("a", "b"), {0: "A", 1: "B"}, str.upper, {})
    assert [(s.slot, s.rejected and s.rejected.name, s.accepted and s.accepted.name) for s in b.slots] == [
        (0, "b-00000-0", "b-00000-1"),
        (2, None, "b-00002-0"),
    ]
    assert [(s.slot, s.accepted) for s in a.slots] == [(1, None)] and (a.accepted, b.accepted) == (0, 2)
    assert a.slots[0].rejected and a.slots[0].rejected.gate == "B" and a.slots[0].rejected.image == image_uri(
        folder / "rejected" / "a" / "a-00001-0.png", 96
    )
    assert absent_images(folder, attempts, real=False) == ()


def test_what_the_judge_says_of_an_image_stands_with_it(tmp_path: Path) -> None:
    folder = trial(tmp_path, [("a", 0, 0, True), ("a", 1, 0, True), ("a", 2, 0, True)])
    rows = [{"class_slug": "a", "slot": slot, "attempt": 0, "predicted": slot} for slot in (0, 1)]
    pd.DataFrame(rows).to_parquet(folder / "judged.parquet")
    (images,) = class_images(slot_attempts(folder, ("a",), 9), ("a",), {0: "A", 1: "B"}, str.upper, {})
    said = [(s.accepted.judge, s.accepted.judge_agrees) for s in images.slots if s.accepted]
    assert said == [("A", True), ("B", False), ("", None)]


def test_a_rejected_attempt_with_an_image_is_shown_before_one_without(tmp_path: Path) -> None:
    folder = trial(tmp_path, [("a", 0, 0, False), ("a", 0, 1, False)])
    (folder / "rejected" / "a" / "a-00000-0.png").unlink()
    (images,) = class_images(slot_attempts(folder, ("a",), 9), ("a",), {}, str.upper, {})
    slot: SlotImages = images.slots[0]
    assert slot.rejected and slot.rejected.name == "a-00000-1" and slot.rejected.gate == "class 2"


def test_images_of_validation_and_files_outside_of_the_trial_are_not_shown(tmp_path: Path) -> None:
    assert slot_attempts(trial(tmp_path / "val", [("a", 0, 0, True)], stream="val"), ("a",), 3) == ()
    assert len(slot_attempts(trial(tmp_path / "set", [("a", 0, 0, True)], stream="generate"), ("a",), 3)) == 1
    flat(tmp_path / "secret.png", 1)
    folder = trial(tmp_path / "odd", [("a", 0, 0, True)])
    table = pd.read_parquet(folder / "attempts.parquet")
    table.assign(image="../secret.png").to_parquet(folder / "attempts.parquet")
    assert [a.path for a in slot_attempts(folder, ("a",), 3)] == [None]


def test_real_images_are_files_and_said_to_be_absent_where_there_are_none(tmp_path: Path) -> None:
    folder = trial(tmp_path, [("a", 0, 0, True)])
    attempts = slot_attempts(folder, ("a",), 3)
    assert "Real images are not shown" in absent_images(folder, attempts, real=True)[0]
    flat(folder / "grids" / "real" / "a" / "1.png", 3)
    assert [(i.slug, i.slot) for i in real_images(folder, ("a",), 3)] == [("a", 1)] and absent_images(folder, attempts, real=True) == ()


def test_an_accepted_image_is_followed_by_the_training_image_that_it_comes_nearest_to(tmp_path: Path) -> None:
    folder = trial(tmp_path, [("a", 3, 1, True), ("a", 12, 0, True)])
    for name in ("1-a-00003-1", "0-a-00012-0", "2-a-00044-0"):
        flat(folder / "grids" / "nearest" / "a" / f"{name}.png", 3)
    assert [p.name for p in nearest_pairs(folder, "a", 5)] == ["a-00012-0.png", "0-a-00012-0.png", "a-00003-1.png", "1-a-00003-1.png"]
    assert len(nearest_pairs(folder, "a", 1)) == 2 and nearest_pairs(folder, "b", 5) == []


def test_a_strip_has_lines_of_images_and_blanks(tmp_path: Path) -> None:
    places = [flat(tmp_path / "0.png", 10), None, flat(tmp_path / "2.png", 30)]
    strip = image_strip(places, columns=2, largest=96)
    assert strip and strip.images == 2
    step = 8 + 2 + 3
    picture = decoded(strip.uri)
    corners = [picture.getpixel((5 + x * step, 5 + y * step)) for x, y in ((0, 0), (1, 0), (0, 1), (1, 1))]
    assert corners == [(10, 10, 10, 255), (0, 0, 0, 0), (30, 30, 30, 255), (0, 0, 0, 0)]
    assert image_strip([None, None], 2, 96) is None


def test_large_images_are_shrunk_and_small_ones_kept(tmp_path: Path) -> None:
    large, small = (image_strip([flat(tmp_path / f"{size}.png", 9, size)], 1, largest=64) for size in (180, 8))
    assert large and small and (large.width, small.width) == (64 + 2, 8 + 2)


def test_what_is_no_image_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(RequestError, match=r"text\.png is not an image"):
        image_strip([tmp_path / "text.png"], 1, 64)
