"""Images on disk: PNGs that say they are synthetic, and contact sheets with a row a class."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from pathsynth.sampling.slots import Attempt

_CELL = 100
GAP = 2
"""Pixels between the images of a contact sheet, and around them."""


def pixel_hash(image: np.ndarray) -> str:
    """SHA-256 (64 hex digits) of the pixels of a uint8 image (H, W, 3)."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def save_png(path: Path, image: np.ndarray, attempt: Attempt, class_name: str) -> None:
    """Write a uint8 image (H, W, 3) with its provenance in text chunks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_bytes(image, attempt, class_name))


def png_bytes(image: np.ndarray, attempt: Attempt, class_name: str) -> bytes:
    """What :func:`save_png` writes."""
    info = PngInfo()
    provenance = {
        "Description": "synthetic: drawn by a text-to-image model, not a photograph of tissue",
        "Software": "pathsynth",
        "synthetic": "true",
        "prompt": attempt.prompt,
        "class": class_name,
        "stream": str(attempt.slot.stream),
        "slot": str(attempt.slot.index),
        "attempt": str(attempt.number),
        "seed": str(attempt.seed),
    }
    for key, value in provenance.items():
        info.add_itxt(key, value)
    data = io.BytesIO()
    Image.fromarray(image).save(data, format="png", pnginfo=info)
    return data.getvalue()


def read_png(path: Path) -> np.ndarray:
    """The uint8 pixels (H, W, 3) of a PNG."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def picture_fault(path: Path, sha256: str | None) -> str:
    """What is wrong with a stored PNG whose pixels had that :func:`pixel_hash`, in a few words; empty if nothing is."""
    if not path.is_file():
        return "is missing"
    try:
        pixels = read_png(path)
    except Exception:  # damaged bytes make Pillow raise any exception
        return "cannot be read"
    return "" if pixel_hash(pixels) == sha256 else "has other pixels than were drawn"


def labelled_sheet(rows: Sequence[Sequence[np.ndarray]], names: Sequence[str], columns: int, size: int) -> Image.Image:
    """A :func:`contact_sheet` with the name of each row to its left."""
    sheet = contact_sheet(rows, columns, size)
    return beside_names(sheet, names)


def beside_names(sheet: Image.Image, names: Sequence[str]) -> Image.Image:
    """A sheet of as many rows as there are names, each name to the left of its row."""
    step = (sheet.height - GAP) / len(names)
    font = ImageFont.load_default(max(9, min(16, round(step / 3))))
    wide = round(max(font.getlength(name) for name in names)) + 12
    labelled = Image.new("RGB", (wide + sheet.width, sheet.height), "white")
    labelled.paste(sheet, (wide, 0))
    draw = ImageDraw.Draw(labelled)
    for i, name in enumerate(names):
        draw.text((wide - 8, GAP / 2 + (i + 0.5) * step), name, fill=(30, 28, 36), font=font, anchor="rm")
    return labelled


def contact_sheet(rows: Sequence[Sequence[np.ndarray]], columns: int, size: int, scale: int | None = None) -> Image.Image:
    """A sheet with one row for each sequence of uint8 images (size, size, 3); a place without an image stays light grey.

    ``scale`` enlarges by a whole factor (None: small images to about a hundred pixels).
    """
    gap, scale = GAP, scale or max(1, _CELL // size)
    cell = size * scale + gap
    sheet = np.full((len(rows) * cell + gap, columns * cell + gap, 3), 235, dtype=np.uint8)
    for r, row in enumerate(rows):
        for c, image in enumerate(row[:columns]):
            large = image.repeat(scale, axis=0).repeat(scale, axis=1)
            top, left = gap + r * cell, gap + c * cell
            sheet[top : top + large.shape[0], left : left + large.shape[1]] = large
    return Image.fromarray(sheet)


def sheet_bytes(sheet: Image.Image) -> bytes:
    """A contact sheet as a PNG file."""
    data = io.BytesIO()
    sheet.save(data, format="png")
    return data.getvalue()
