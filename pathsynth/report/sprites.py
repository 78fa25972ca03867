"""Many small images in one WebP picture, from which a page cuts each by its place."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pathsynth.report.trial_images import read_image


@dataclass(frozen=True)
class Sprite:
    """Images of ``size`` pixels a side, in lines of ``columns``."""

    webp: bytes
    size: int
    columns: int
    images: int


_COLUMNS = 16


def image_sprite(paths: Sequence[Path], largest: int) -> Sprite | None:
    """The images in their order, shrunk to at most ``largest`` pixels a side; None where there is none.

    Raises:
        RequestError: a file is not an image.
    """
    if not paths:
        return None
    images = [read_image(path, largest) for path in paths]
    size = max(image.width for image in images)
    sheet = Image.new("RGB", (_COLUMNS * size, -(-len(images) // _COLUMNS) * size), "white")
    for i, image in enumerate(images):
        sheet.paste(image, (i % _COLUMNS * size, i // _COLUMNS * size))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=80, method=3)
    return Sprite(buffer.getvalue(), size, _COLUMNS, len(images))
