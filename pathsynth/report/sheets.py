"""Contact sheets cut into one strip a class, small enough to be carried inside a page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pathsynth.ledger.errors import RequestError
from pathsynth.sampling.pictures import GAP

_GAP = 3
_FRAME = (214, 210, 220)


@dataclass(frozen=True)
class Strip:
    """Images of one class side by side: a PNG data URI, its pixel size, and how many images it shows."""

    uri: str
    width: int
    height: int
    images: int


def class_strips(path: Path, classes: int, columns: int, largest: int) -> tuple[Strip | None, ...] | None:
    """One strip for each class of a contact sheet (None for a class without an image), or None if there is no sheet.

    The sheet has a row of square places for each class, with one gap between and around them; places that hold no image
    have the colour of the gap.

    Args:
        path: the sheet.
        classes: its number of rows.
        columns: images side by side in a strip; more go into further lines.
        largest: images are shrunk to at most this many pixels a side.

    Raises:
        RequestError: the file is not an image, or not such a sheet.
    """
    if not path.is_file():
        return None
    tiles = sheet_tiles(path, classes)
    size = max((t.width for row in tiles for t in row), default=largest)
    return tuple(_strip(row, columns, min(size, largest)) for row in tiles)


def sheet_tiles(path: Path, classes: int) -> list[list[Image.Image]]:
    """The images of each class on a contact sheet, places that hold none left out; empty rows if there is no sheet.

    Raises:
        RequestError: as :func:`class_strips`.
    """
    if not path.is_file():
        return [[] for _ in range(classes)]
    try:
        with Image.open(path) as opened:
            sheet = opened.convert("RGB")
    except OSError as error:
        raise RequestError(f"{path} is not an image ({error}); run the trial's evaluation again") from error
    gap, cell = GAP, (sheet.height - GAP) // classes
    if cell <= gap or sheet.height != classes * cell + gap or (sheet.width - gap) % cell:
        raise RequestError(
            f"{path} is no sheet of {classes} rows ({sheet.width} × {sheet.height} pixels); run the trial's evaluation again"
        )
    return [_tiles(sheet, row, cell, gap) for row in range(classes)]


def _tiles(sheet: Image.Image, row: int, cell: int, gap: int) -> list[Image.Image]:
    """The images of one row, empty places left out."""
    empty = sheet.getpixel((0, 0))
    boxes = [(gap + c * cell, gap + row * cell, (c + 1) * cell, (row + 1) * cell) for c in range(sheet.width // cell)]
    tiles = [sheet.crop(box) for box in boxes]
    return [t for t in tiles if t.getcolors(1) != [(t.width * t.height, empty)]]


def _strip(tiles: list[Image.Image], columns: int, size: int) -> Strip | None:
    if not tiles:
        return None
    step = size + 2 + _GAP
    lines = -(-len(tiles) // columns)
    strip = Image.new("RGB", (columns * step - _GAP, lines * step - _GAP), "white")
    for i, tile in enumerate(tiles):
        left, top = i % columns * step, i // columns * step
        strip.paste(_FRAME, (left, top, left + size + 2, top + size + 2))
        strip.paste(tile if tile.width == size else tile.resize((size, size), Image.Resampling.LANCZOS), (left + 1, top + 1))
    return Strip(_png_uri(strip), strip.width, strip.height, len(tiles))


def _png_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
