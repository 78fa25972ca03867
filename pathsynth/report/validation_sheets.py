"""The contact sheets that the validations of a fine-tune leave: where they are, and those of one trial side by side in one picture."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pathsynth.ledger.atomic import read_json
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.report.trial_images import open_image
from pathsynth.studies.trials.trial_table import MANIFEST

BUNDLED = Path("grids", "validation")
"""Where the sheets of a published trial lie; those of a trial on the disk where it ran are in the store."""
_NAME = re.compile(r"first_attempts-(\d+)\.png")
_MOST_HIGH, _MOST_WIDE = 288, 480
"""Pixels that a sheet is shrunk to at most."""
_QUALITY = 75


@dataclass(frozen=True)
class ValidationSheet:
    """The first attempts of one validation, a row a class in the order of the classes, after so many training steps."""

    step: int
    path: Path


@dataclass(frozen=True)
class Reel:
    """Sheets from left to right in one WebP picture, each of ``width`` × ``height`` pixels."""

    webp: bytes
    width: int
    height: int
    steps: tuple[int, ...]


def sheet_folders(trial: Path) -> list[Path]:
    """Where the sheets of a trial's fine-tune may be: what came with a bundle, what it continues from, and what it left."""
    try:
        stages = read_json(trial / MANIFEST)["plan"]["stages"]
        identities = [str(stage["identity"]) for stage in stages if stage["name"] == "finetune"]
    except (OSError, ValueError, KeyError, TypeError):
        identities = []
    store = StageStore(trial.absolute().parents[1] / STAGES)
    inside = (place for identity in identities for place in (store.work("finetune", identity), store.root / "finetune" / identity))
    return [trial / BUNDLED, *inside]


def validation_sheets(trial: Path) -> tuple[ValidationSheet, ...]:
    """The sheets of first attempts by step; of a fine-tune that runs, those so far."""
    paths = (path for folder in sheet_folders(trial) for path in folder.rglob("first_attempts-*.png"))
    by_step = {int(named[1]): path for path in paths if (named := _NAME.fullmatch(path.name))}
    return tuple(ValidationSheet(step, by_step[step]) for step in sorted(by_step))


def spread(sheets: Sequence[ValidationSheet], most: int) -> tuple[ValidationSheet, ...]:
    """At most so many of them, evenly spaced, with the first and the last."""
    if len(sheets) <= most:
        return tuple(sheets)
    return tuple(sheets[round(i * (len(sheets) - 1) / max(1, most - 1))] for i in range(most)) if most > 1 else (sheets[-1],)


def reel(sheets: Sequence[ValidationSheet]) -> Reel | None:
    """The sheets side by side, shrunk; None where there is none.

    Raises:
        RequestError: a file is not an image.
    """
    if not sheets:
        return None
    pictures = [small_sheet(sheet.path) for sheet in sheets]
    width, height = max(p.width for p in pictures), max(p.height for p in pictures)
    strip = Image.new("RGB", (width * len(pictures), height), "white")
    for i, picture in enumerate(pictures):
        strip.paste(picture, (i * width, 0))
    return Reel(webp(strip), width, height, tuple(sheet.step for sheet in sheets))


def small_sheet(path: Path) -> Image.Image:
    """A sheet, shrunk to what a page shows.

    Raises:
        RequestError: the file is not an image.
    """
    picture = open_image(path)
    picture.thumbnail((_MOST_WIDE, _MOST_HIGH), Image.Resampling.BOX)
    return picture


def webp_uri(picture: Image.Image) -> str:
    """The picture as a data URI of a WebP file."""
    return "data:image/webp;base64," + base64.b64encode(webp(picture)).decode("ascii")


def webp(picture: Image.Image) -> bytes:
    """The picture as a WebP file."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=_QUALITY, method=3)
    return buffer.getvalue()
