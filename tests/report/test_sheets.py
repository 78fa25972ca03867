from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pathsynth.ledger.errors import RequestError
from pathsynth.report.sheets import class_strips
from pathsynth.sampling.pictures import contact_sheet


def decoded(uri: str) -> Image.Image:
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


def sheet_of(path: Path, rows: list[list[int]], size: int = 8, scale: int = 1) -> Path:
    """A contact sheet of flat grey images with these values."""
    images = [[np.full((size, size, 3), value, dtype=np.uint8) for value in row] for row in rows]
    contact_sheet(images, 10, size, scale).save(path)
    return path


def test_each_class_gets_its_own_images(tmp_path: Path) -> None:
    strips = class_strips(sheet_of(tmp_path / "s.png", [[10, 20, 30], [], [40]]), 3, columns=2, largest=96)
    assert strips is not None and strips[0] and strips[2]
    assert strips[1] is None
    assert [s.images for s in (strips[0], strips[2])] == [3, 1]
    first = decoded(strips[0].uri)
    step = 8 + 2 + 3
    assert [first.getpixel((5 + x * step, 5 + y * step)) for x, y in ((0, 0), (1, 0), (0, 1), (1, 1))] == [
        (10, 10, 10),
        (20, 20, 20),
        (30, 30, 30),
        (255, 255, 255),
    ]
    last = decoded(strips[2].uri)
    assert [last.getpixel(corner) for corner in ((1, 1), (8, 8))] == [(40, 40, 40)] * 2


def test_large_images_are_shrunk_and_small_ones_kept(tmp_path: Path) -> None:
    large = class_strips(sheet_of(tmp_path / "l.png", [[9]] * 9, size=60, scale=3), 9, columns=1, largest=64)
    small = class_strips(sheet_of(tmp_path / "s.png", [[9]] * 9, size=8), 9, columns=1, largest=64)
    assert large and large[0] and large[0].width == 64 + 2
    assert small and small[0] and small[0].width == 8 + 2


@pytest.mark.parametrize("classes", [2, 3, 8, 40])
def test_sheets_of_any_number_of_classes_are_cut(tmp_path: Path, classes: int) -> None:
    strips = class_strips(sheet_of(tmp_path / "s.png", [[5 * row, 5 * row + 1] for row in range(classes)]), classes, 5, 96)
    assert strips and all(strip and strip.images == 2 for strip in strips)
    assert [decoded(strip.uri).getpixel((1, 1))[0] for strip in strips if strip] == [5 * row for row in range(classes)]


def test_no_sheet_is_none_and_a_wrong_one_an_error(tmp_path: Path) -> None:
    assert class_strips(tmp_path / "absent.png", 9, 5, 96) is None
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(RequestError, match=r"text\.png is not an image"):
        class_strips(tmp_path / "text.png", 9, 5, 96)
    with pytest.raises(RequestError, match="no sheet of 7 rows"):
        class_strips(sheet_of(tmp_path / "nine.png", [[1]] * 9), 7, 5, 96)
