"""Images side by side in one picture, small enough to be carried inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pathsynth.report.trial_images import read_image

_GAP = 3
_FRAME = (214, 210, 220)
_SMALL = 32


@dataclass(frozen=True)
class Strip:
    """Images side by side: a PNG data URI, its pixel size, and how many images it shows."""

    uri: str
    width: int
    height: int
    images: int


def image_strip(places: Sequence[Path | None], columns: int, largest: int) -> Strip | None:
    """The images of the places in order, those without one left transparent; None if all are.

    Args:
        places: square images, all of one size.
        columns: places side by side, which give the strip its width; more go into further lines.
        largest: images are shrunk to at most this many pixels a side.

    Raises:
        RequestError: a file is not an image.
    """
    images = {i: read_image(path, largest) for i, path in enumerate(places) if path}
    if not images:
        return None
    size = max(image.width for image in images.values())
    step, lines = size + 2 + _GAP, -(-len(places) // columns)
    strip = Image.new("RGBA", (columns * step - _GAP, lines * step - _GAP), (0, 0, 0, 0))
    for i, image in images.items():
        left, top = i % columns * step, i // columns * step
        strip.paste(_FRAME, (left, top, left + size + 2, top + size + 2))
        strip.paste(image, (left + 1, top + 1))
    return Strip(png_uri(strip), strip.width, strip.height, len(images))


def image_uri(path: Path, largest: int) -> str:
    """One image as a data URI, of at most ``largest`` pixels a side: small ones bit by bit, larger ones as lossy WebP.

    Raises:
        RequestError: the file is not an image.
    """
    image = read_image(path, largest)
    if image.width <= _SMALL:
        return png_uri(image)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85, method=3)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def png_uri(image: Image.Image) -> str:
    """The image as a data URI."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
