"""The images of a trial that a dashboard compares: one WebP sprite, and the ledger row of each image on it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from pathsynth.report.sheets import sheet_tiles

_SHOWN = ("seed", "attempt", "prompt", "predicted", "probability", "accepted", "reason")


@dataclass(frozen=True)
class Tile:
    """One image of the sprite: ``kind`` is first, accepted or real; ``row`` is its ledger row (empty for real images)."""

    kind: str
    slug: str
    slot: int
    row: Mapping[str, str]


@dataclass(frozen=True)
class Sprite:
    """Images of ``size`` pixels a side in one line of ``columns`` after another, in the order of ``tiles``."""

    webp: bytes
    size: int
    columns: int
    tiles: tuple[Tile, ...]


_COLUMNS = 16


def trial_sprite(folder: Path, slugs: Sequence[str], slots: int, largest: int, real: bool) -> Sprite | None:
    """First attempts and accepted images of the first ``slots`` slots of each class; None where the trial kept no image.

    Args:
        real: whether real reference images are shown too.

    Raises:
        RequestError: a sheet of the trial is damaged.
    """
    path = folder / "attempts.parquet"
    if not slugs or not path.is_file():
        return None
    found = [*_first(folder, slugs, slots), *_accepted(folder, slugs, slots), *(_real(folder, slugs, slots) if real else ())]
    if not found:
        return None
    size = min(largest, max(image.width for _, image in found))
    sheet = Image.new("RGB", (_COLUMNS * size, -(-len(found) // _COLUMNS) * size), "white")
    for i, (_, image) in enumerate(found):
        drawn = image if image.width == size else image.resize((size, size), Image.Resampling.LANCZOS)
        sheet.paste(drawn, (i % _COLUMNS * size, i // _COLUMNS * size))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=80, method=3)
    return Sprite(buffer.getvalue(), size, _COLUMNS, tuple(tile for tile, _ in found))


def _ledger(folder: Path, slots: int) -> list[dict[str, Any]]:
    import pyarrow.parquet  # loads slowly

    names = pyarrow.parquet.read_schema(folder / "attempts.parquet").names
    wanted = [n for n in ("stream", "class_slug", "slot", "image", *_SHOWN) if n in names]
    rows = pyarrow.parquet.read_table(folder / "attempts.parquet", columns=wanted).to_pylist()
    return [r for r in rows if r["slot"] < slots and r.get("stream", "eval") == "eval"]


def _tile(kind: str, row: Mapping[str, Any], slugs: Sequence[str]) -> Tile:
    shown = {key: str(row[key]) for key in _SHOWN if row.get(key) is not None and row[key] == row[key]}
    if "predicted" in shown:
        shown["predicted"] = slugs[int(shown["predicted"])] if int(shown["predicted"]) < len(slugs) else shown["predicted"]
    return Tile(kind, str(row["class_slug"]), int(row["slot"]), shown)


def _first(folder: Path, slugs: Sequence[str], slots: int) -> list[tuple[Tile, Image.Image]]:
    """The contact sheet shows first attempts in slot order."""
    sheet = sheet_tiles(folder / "grids" / "first_attempts.png", len(slugs))
    rows = [r for r in _ledger(folder, slots) if r["attempt"] == 0 and r["image"]]
    found = []
    for slug, tiles in zip(slugs, sheet, strict=True):
        asked = sorted((r for r in rows if r["class_slug"] == slug), key=lambda r: int(r["slot"]))
        found += [(_tile("first", row, slugs), tile) for row, tile in zip(asked, tiles, strict=False)]
    return found


def _accepted(folder: Path, slugs: Sequence[str], slots: int) -> list[tuple[Tile, Image.Image]]:
    found = []
    for row in _ledger(folder, slots):
        path = folder / str(row["image"] or "")
        if row["accepted"] and path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            with Image.open(path) as image:
                found.append((_tile("accepted", row, slugs), image.convert("RGB")))
    return found


def _real(folder: Path, slugs: Sequence[str], slots: int) -> list[tuple[Tile, Image.Image]]:
    sheet = sheet_tiles(folder / "grids" / "real.png", len(slugs))
    return [(Tile("real", slug, i, {}), tile) for slug, tiles in zip(slugs, sheet, strict=True) for i, tile in enumerate(tiles[:slots])]
