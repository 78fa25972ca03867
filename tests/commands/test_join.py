"""Joining shards: what is missing, mixed or unfinished is told; what is there comes together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pathsynth.__main__ import dispatch
from pathsynth.config import parse_config
from pathsynth.sampling.attempts import AttemptRow, read_attempts, write_attempts
from pathsynth.sampling.pictures import pixel_hash, read_png, save_png


def shard(study: Path, number: int, shards: int = 2, state: str = "done", n: int = 4) -> Path:
    folder = study / f"shard={number},n={n}"
    folder.mkdir(parents=True)
    config = {
        "command": "generate",
        "study": {"name": "draw"},
        "tracking": {},
        "trainer": {"max_steps": 1, "precision": "32-true", "gradient_clip_val": 0},
        "training": {"batch_size": 1, "warmup_steps": 0, "ema_decay": 0},
        "generate": {"n": n, "shard": number, "shards": shards},
    }
    frozen = parse_config(config).model_dump(mode="json", exclude_none=True)
    plan = {"stages": [], "base": None, "settings": {}, "identity": f"{number}"}
    (folder / "manifest.json").write_text(json.dumps({"name": folder.name, "config": frozen, "plan": plan, "overrides": []}))
    (folder / "state.json").write_text(json.dumps({"state": state}))
    return folder


def refusal(study: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert dispatch(["join", str(study), str(folder)]) == 2
    assert not folder.exists()
    return capsys.readouterr().err


def test_a_shard_that_is_missing_is_named(tmp_path, capsys):
    shard(tmp_path / "draw", 1, shards=3)
    assert "lacks shard 0, 2 of 3" in refusal(tmp_path / "draw", tmp_path / "set", capsys)


def test_a_shard_that_is_not_done_is_named(tmp_path, capsys):
    shard(tmp_path / "draw", 0)
    place = shard(tmp_path / "draw", 1, state="interrupted")
    assert f"shard 1 ({place}) is not done" in refusal(tmp_path / "draw", tmp_path / "set", capsys)


def test_shards_of_two_generations_are_not_mixed(tmp_path, capsys):
    shard(tmp_path / "draw", 0)
    shard(tmp_path / "draw", 1, n=5)
    assert "more than one generation" in refusal(tmp_path / "draw", tmp_path / "set", capsys)


def test_a_study_without_shards_says_so_and_nothing_is_overwritten(tmp_path, capsys):
    shard(tmp_path / "draw", 0, shards=1)
    assert "holds no shards" in refusal(tmp_path / "draw", tmp_path / "set", capsys)
    (tmp_path / "there").mkdir()
    assert dispatch(["join", str(tmp_path / "draw"), str(tmp_path / "there")]) == 2
    assert "not overwritten" in capsys.readouterr().err


def drawn(study: Path, number: int) -> Path:
    """A shard of one slot, whose image is in its folder."""
    folder = shard(study, number)
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    name = f"images/mucus/mucus-{number:05d}-0.png"
    verdict = (1, 0.9, (0.1, 0.9), True, None, False)
    row = AttemptRow("generate", 1, "mucus", number, 0, "mucus", 7, 4, 3.0, 8, *verdict, name, pixel_hash(pixels))
    save_png(folder / name, pixels, row.as_attempt(), "mucus")
    write_attempts(folder, [row])
    return folder / name


def test_shards_come_together_with_the_pixels_that_were_drawn(tmp_path, capsys):
    images = [drawn(tmp_path / "draw", number) for number in (0, 1)]
    assert dispatch(["join", str(tmp_path / "draw"), str(tmp_path / "set")]) == 0
    assert "joined 2 shards: 2 images" in capsys.readouterr().out
    for row, image in zip(read_attempts(tmp_path / "set"), images, strict=True):
        assert (read_png(tmp_path / "set" / str(row.image)) == read_png(image)).all()


def one_pixel_changed(image: Path) -> None:
    with Image.open(image) as picture:
        picture.putpixel((3, 3), (1, 2, 3))
        picture.save(image)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (one_pixel_changed, "has other pixels than were drawn"),
        (Path.unlink, "is missing"),
        (lambda image: image.write_bytes(image.read_bytes()[:60]), "cannot be read"),
    ],
)
def test_an_image_that_is_not_the_one_that_was_drawn_is_named(tmp_path, capsys, harm, told):
    image = drawn(tmp_path / "draw", 0)
    drawn(tmp_path / "draw", 1)
    harm(image)
    line = refusal(tmp_path / "draw", tmp_path / "set", capsys)
    assert line == f"pathsynth: {image} {told}; generate again with study.force=true, which copies it from the store\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["draw"]


@pytest.mark.parametrize(("harm", "status", "told"), [("fill", 1, "No space left"), ("make_read_only", 2, "Read-only file system")])
def test_a_set_that_cannot_be_written_leaves_nothing(tmp_path, small_disk, capsys, harm, status, told):
    disk = small_disk(tmp_path / "disk")
    for number in (0, 1):
        drawn(tmp_path / "draw", number)
    getattr(disk, harm)()
    assert dispatch(["join", str(tmp_path / "draw"), str(disk.place / "set")]) == status
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and told in line
    assert [path.name for path in disk.place.iterdir() if path.name != "filler"] == []


def test_a_ledger_that_is_damaged_or_gone_is_named(tmp_path, capsys):
    drawn(tmp_path / "draw", 0)
    ledger = drawn(tmp_path / "draw", 1).parents[2] / "attempts.parquet"
    for harm in (lambda: ledger.write_bytes(b"PAR1"), ledger.unlink):
        harm()
        assert dispatch(["join", str(tmp_path / "draw"), str(tmp_path / "set")]) == 1
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and str(ledger) in line
        assert sorted(path.name for path in tmp_path.iterdir()) == ["draw"]
