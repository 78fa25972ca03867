"""The images of a trial that a dashboard compares: one WebP sprite, and the row of the attempt log of each image on it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from pathsynth.report.images import ImageFile, read_image


@dataclass(frozen=True)
class Tile:
    """One image of the sprite: ``kind`` is first, accepted or real; ``row`` is its row of the attempt log (empty for real images)."""

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


def image_sprite(files: Sequence[ImageFile], largest: int) -> Sprite | None:
    """The images, shrunk to at most ``largest`` pixels a side; None where there is none.

    Raises:
        RequestError: a file is not an image.
    """
    if not files:
        return None
    images = [read_image(file.path, largest) for file in files]
    size = max(image.width for image in images)
    sheet = Image.new("RGB", (_COLUMNS * size, -(-len(images) // _COLUMNS) * size), "white")
    for i, image in enumerate(images):
        sheet.paste(image, (i % _COLUMNS * size, i // _COLUMNS * size))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=80, method=3)
    return Sprite(buffer.getvalue(), size, _COLUMNS, tuple(Tile(file.kind, file.slug, file.slot, file.row) for file in files))
