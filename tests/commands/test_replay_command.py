"""`pathsynth replay`: what is refused, without torch, and how pixels are compared. What is drawn: tests/studies/test_pipeline.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pathsynth.__main__ import dispatch
from pathsynth.sampling.attempts import AttemptRow, write_attempts
from pathsynth.sampling.pictures import pixel_hash, save_png

PIXELS = np.random.default_rng(0).integers(4, 250, (8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "words, told",
    [
        (["gone.png"], "no image at gone.png"),
        (["stray.png"], "stray.png lies in no trial's folder"),
        ([".", "mucus-00003-1"], "is no trial's folder; pathsynth status lists them"),
        (["stray.png", "--save", "stray.png"], "lies in no trial's folder"),
        ([".", "mucus-00003-1", "--save", "stray.png"], "stray.png already exists and is not overwritten"),
    ],
)
def test_a_wrong_request_is_reported_in_one_line(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (4, 4)).save("stray.png")
    assert dispatch(["replay", *words]) == 2
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1


@pytest.fixture
def image(tmp_path, monkeypatch) -> Path:
    """The only image of a trial, as it was drawn; drawing it again gives what ``again`` of the module holds."""
    from pathsynth.studies.trials import attempt_replay

    trial = tmp_path / "multirun" / "runs" / "n=1"
    name = "images/mucus/mucus-00000-0.png"
    verdict = (1, 0.9, (0.1, 0.9), True, None, False)
    row = AttemptRow("generate", 1, "mucus", 0, 0, "mucus", 7, 4, 3.0, 8, *verdict, name, pixel_hash(PIXELS))
    save_png(trial / name, PIXELS, row.as_attempt(), "mucus")
    write_attempts(trial, [row])
    settings = {
        "trainer": {"max_steps": 1, "precision": "32-true", "gradient_clip_val": 0},
        "training": {"batch_size": 1, "warmup_steps": 0, "ema_decay": 0},
    }
    config = {"command": "generate", "study": {"name": "runs"}, "tracking": {}, **settings}
    stage = {"name": "generate", "identity": "0123456789ab", "settings": {}, "parents": {}}
    plan = {"stages": [stage], "base": None, "settings": {}, "identity": "ab"}
    (trial / "manifest.json").write_text(json.dumps({"name": "n=1", "config": config, "plan": plan, "overrides": []}))
    monkeypatch.setattr(attempt_replay, "_drawn", lambda *_: PIXELS)  # needs a base and an adapter
    return trial / name


def put(image: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(image)


def changed() -> np.ndarray:
    pixels = PIXELS.copy()
    pixels[2, 5, 1] += 3
    return pixels


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda image: put(image, changed()), "has other pixels than were drawn: 1 of 192 values differ, by 3 of 255 at most"),
        (lambda image: put(image, PIXELS[:4]), "has other pixels than were drawn"),
        (lambda image: image.write_bytes(image.read_bytes()[:50]), "cannot be read"),
    ],
)
@pytest.mark.parametrize("by_file", [True, False])
def test_a_file_that_was_changed_is_not_said_to_be_the_same(image, capsys, harm: Callable[[Path], None], told: str, by_file: bool):
    words = ["replay", str(image)] if by_file else ["replay", str(image.parents[2]), image.stem]
    assert dispatch(words) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "the same pixels"
    harm(image)
    assert dispatch(words) == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"the same pixels as when it was first drawn, but {image} {told}"


def test_what_is_drawn_otherwise_now_is_compared_with_a_sound_file_only(image, capsys, monkeypatch):
    from pathsynth.studies.trials import attempt_replay

    monkeypatch.setattr(attempt_replay, "_drawn", lambda *_: changed())
    assert dispatch(["replay", str(image)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "not the same pixels: 1 of 192 values differ, by 3 of 255 at most"
    put(image, changed())
    assert dispatch(["replay", str(image)]) == 1
    told = f"not the same pixels as when it was first drawn, and {image} has other pixels than were drawn"
    assert capsys.readouterr().out.splitlines()[-1] == told
