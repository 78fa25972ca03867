"""Each kind of image file becomes the picture that its author saw."""

from __future__ import annotations

import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from pathsynth.data.decode import (
    INVERTED,
    PLAIN_CMYK,
    PLAIN_PROFILE,
    PROFILE,
    SCALED,
    UPRIGHT,
    WHITE,
    decode,
    middle_square,
    read_header,
)
from pathsynth.ledger.errors import RequestError

RAMP = np.linspace(0, 65535, 256).round().astype(np.uint16)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(decode(path).image)


@pytest.mark.parametrize("name", ["ramp.png", "ramp.tif"])
def test_16_bit_grey_is_scaled_by_the_range_of_16_bits(tmp_path, name):
    Image.fromarray(np.tile(RAMP, (4, 1))).save(tmp_path / name)
    found = decode(tmp_path / name)
    assert np.array_equal(np.asarray(found.image)[0, :, 0], np.arange(256)), "one level for each 257"
    assert (found.header.bits, found.header.steps, found.brightest) == (16, (SCALED,), 65535)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_16_bit_grey_whose_zero_is_white_is_inverted(tmp_path, compression):
    photometric = struct.pack("<HHI", 262, 3, 1)  # tag, type and count; the value follows
    Image.fromarray(np.tile(RAMP, (4, 1))).save(tmp_path / "x.tif", compression=compression)
    whole = (tmp_path / "x.tif").read_bytes()
    assert whole.count(photometric + b"\1\0") == 1
    (tmp_path / "x.tif").write_bytes(whole.replace(photometric + b"\1\0", photometric + b"\0\0"))
    found = decode(tmp_path / "x.tif")
    assert np.array_equal(np.asarray(found.image)[0, :, 0], np.arange(256)[::-1]), "as Pillow does with 8 bits"
    assert (found.header.steps, found.brightest) == ((INVERTED, SCALED), 65535)
    assert read_header(tmp_path / "x.tif") == found.header, "another image than the same file was before, so another identity"


def test_the_transparent_value_of_16_bit_grey_is_white(tmp_path):
    stored = np.full((8, 8), 1001, dtype=np.uint16)
    stored[0, 0] = 1000
    Image.fromarray(stored).save(tmp_path / "x.png", transparency=1000)
    found = decode(tmp_path / "x.png")
    image = np.asarray(found.image)
    assert image[0, 0].tolist() == [255, 255, 255] and image[4, 4].tolist() == [4, 4, 4], "both are 4 when scaled"
    assert (found.header.steps, found.brightest) == ((WHITE, SCALED), 1001)
    Image.fromarray(stored).save(tmp_path / "opaque.png", transparency=7)
    assert decode(tmp_path / "opaque.png").header.steps == (SCALED,), "no value is transparent"


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_a_profile_of_16_bit_grey_is_not_said_to_be_applied(tmp_path, ending):
    Image.fromarray(np.tile(RAMP, (4, 1))).save(tmp_path / f"x.{ending}", icc_profile=red_and_blue_exchanged())
    found = decode(tmp_path / f"x.{ending}")
    assert found.header.steps == (SCALED, PLAIN_PROFILE) and np.array_equal(np.asarray(found.image)[0, :, 0], np.arange(256))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(colour: int, values: np.ndarray, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG of 16 bits; chunks stand before and after its pixels. ``values``: (rows, columns, channels)."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + chunk(b"IDAT", zlib.compress(rows)) + after + chunk(b"IEND", b"")


@pytest.mark.parametrize(("colour", "channels", "steps"), [(0, 1, (SCALED,)), (2, 3, ()), (4, 2, (WHITE,)), (6, 4, (WHITE,))])
def test_16_bits_of_each_kind_of_png_are_reported(tmp_path, colour, channels, steps):
    (tmp_path / "x.png").write_bytes(png(colour, np.full((4, 6, channels), 0x4040)))
    header = read_header(tmp_path / "x.png")
    assert header is not None and (header.bits, header.steps) == (16, steps) and header == decode(tmp_path / "x.png").header


def oriented(form: str) -> bytes:
    """A chunk by which a PNG's right side is its top."""
    exif = Image.Exif()
    exif[0x0112] = 6
    if form == "eXIf":
        return chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    if form == "XMP":
        return chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>')
    lines = f"\nexif\n{len(exif.tobytes()):8}\n{exif.tobytes().hex()}\n"  # ImageMagick's
    return chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(lines.encode()))


@pytest.mark.parametrize("form", ["eXIf", "XMP", "raw profile"])
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_png_says_its_orientation_before_or_after_its_pixels(tmp_path, form, place):
    date = chunk(b"tEXt", b"date:create\0today")
    (tmp_path / "x.png").write_bytes(png(2, np.full((4, 6, 3), 0x4040), **{place: date + oriented(form)}))
    header = read_header(tmp_path / "x.png")
    assert header is not None and (header.orientation, header.steps, header.bits) == (6, (UPRIGHT,), 16)
    assert decode(tmp_path / "x.png").image.size == (4, 6)


@pytest.mark.parametrize("after", [b"", chunk(b"tEXt", b"date:create\0today")])
def test_the_header_of_a_png_is_read_without_its_pixels(tmp_path, after, monkeypatch):
    (tmp_path / "x.png").write_bytes(png(6, np.full((4, 6, 4), 0x4040), after=after))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("pixels were read"))
    header = read_header(tmp_path / "x.png")
    assert header is not None and (header.width, header.height, header.steps) == (6, 4, (WHITE,))


@pytest.mark.parametrize("values", [np.linspace(0, 1, 64, dtype=np.float32), np.arange(64, dtype=np.int32)])
def test_values_without_a_fixed_range_are_refused(tmp_path, values):
    Image.fromarray(values.reshape(8, 8)).save(tmp_path / "x.tif")
    with pytest.raises(RequestError, match="no fixed range; save it with 8 or 16 bits"):
        decode(tmp_path / "x.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "tif", "png"])
def test_images_are_upright(tmp_path, orientation, ending):
    upright = np.zeros((16, 32, 3), dtype=np.uint8)
    upright[:8, :16] = (255, 0, 0)  # a red corner, top left
    stored = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
              6: np.rot90(upright), 7: np.rot90(upright.transpose(1, 0, 2), 2), 8: np.rot90(upright, -1)}[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"x.{ending}", exif=exif, quality=100, subsampling=0)
    found = decode(tmp_path / f"x.{ending}")
    assert np.abs(np.asarray(found.image).astype(int) - upright).max() < 20
    assert (UPRIGHT in found.header.steps) == (orientation > 1) and found.header.orientation == orientation


def test_transparent_pixels_lie_over_white(tmp_path):
    noise = np.random.default_rng(0).integers(256, size=(8, 8, 4), dtype=np.uint8)
    noise[..., 3] = 0
    noise[:4, :, 3] = 255
    Image.fromarray(noise).save(tmp_path / "rgba.png")
    found = decode(tmp_path / "rgba.png")
    image = np.asarray(found.image)
    assert (image[4:] == 255).all() and np.array_equal(image[:4], noise[:4, :, :3]) and found.header.steps == (WHITE,)
    noise[..., 3] = 255
    Image.fromarray(noise).save(tmp_path / "opaque.png")
    assert decode(tmp_path / "opaque.png").header.steps == ()


def test_a_transparent_colour_of_a_palette_is_white(tmp_path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 30, 60])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "p.png", transparency=0)
    found = pixels(tmp_path / "p.png")
    assert found[0, 0].tolist() == [255, 255, 255] and found[4, 4].tolist() == [200, 30, 60]


def red_and_blue_exchanged() -> bytes:
    """The sRGB profile with the tags of its red and blue primaries exchanged, under another name."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    table, rest = profile[:400], profile[400:]
    table = table.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    return (table + rest).replace("sRGB".encode("utf-16-be"), "xRGB".encode("utf-16-be"))


def test_a_colour_profile_is_applied_where_it_is_not_srgb(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    image = Image.new("RGB", (8, 8), (255, 0, 0))
    image.save(tmp_path / "srgb.png", icc_profile=srgb.tobytes())
    assert decode(tmp_path / "srgb.png").header.steps == () and pixels(tmp_path / "srgb.png")[0, 0].tolist() == [255, 0, 0]
    image.save(tmp_path / "other.png", icc_profile=red_and_blue_exchanged())
    assert decode(tmp_path / "other.png").header.steps == (PROFILE,)
    assert np.abs(pixels(tmp_path / "other.png")[0, 0] - np.array([0, 0, 255])).max() <= 3
    image.convert("CMYK").save(tmp_path / "unfit.tif", icc_profile=red_and_blue_exchanged())
    assert decode(tmp_path / "unfit.tif").header.steps == (PLAIN_CMYK,), "a profile of RGB says nothing of CMYK"


def test_the_colour_profile_of_a_palette_is_applied(tmp_path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(tmp_path / "p.png", icc_profile=red_and_blue_exchanged())
    assert decode(tmp_path / "p.png").header.steps == (PROFILE,)
    assert np.abs(pixels(tmp_path / "p.png")[0, 0].astype(int) - np.array([0, 0, 255])).max() <= 3


def cyan_prints_red() -> bytes:
    """A printer's profile (ICC.1:2001, 6.5.8: lut8Type) by which cyan ink is red, paper is white, and other inks are black."""
    steps = bytes(range(256))
    white, red, black = bytes((255, 128, 128)), bytes((136, 208, 195)), bytes((0, 128, 128))  # L, a + 128, b + 128
    colours = b"".join({(0, 0, 0, 0): white, (1, 0, 0, 0): red}.get(inks, black) for inks in itertools.product((0, 1), repeat=4))
    identity = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + 4 * steps + colours + 3 * steps
    lut += bytes(-len(lut) % 4)
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(lut))
    head = struct.pack(">I4sI4s4s4s12x4s28xI", 144 + len(lut), b"", 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp", 0)
    light = struct.pack(">3i", 63190, 65536, 54061)  # D50
    return head[:68] + light + bytes(48) + tags + lut


def test_cmyk_is_converted_by_its_profile(tmp_path):
    for inks, colour in (((255, 0, 0, 0), (255, 0, 0)), ((0, 0, 0, 0), (255, 255, 255))):
        Image.new("CMYK", (8, 8), inks).save(tmp_path / "x.tif", icc_profile=cyan_prints_red())
        found = decode(tmp_path / "x.tif")
        assert found.header.steps == (PROFILE,)
        assert np.abs(np.asarray(found.image)[0, 0].astype(int) - colour).max() < 25, "by plain arithmetic cyan would be (0, 255, 255)"


def test_cmyk_without_a_profile_is_converted_plainly_and_reported(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "x.tif")
    found = decode(tmp_path / "x.tif")
    assert found.header.steps == (PLAIN_CMYK,) and np.asarray(found.image)[0, 0].tolist() == [255, 0, 0]


def test_the_first_page_is_taken_and_the_others_are_counted(tmp_path):
    pages = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    assert decode(tmp_path / "x.tif").header.pages == 3
    assert pixels(tmp_path / "x.tif")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("damage", ["empty", "text", "truncated"])
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_damage_is_reported_with_the_name(tmp_path, damage, ending):
    path = tmp_path / f"x.{ending}"
    Image.fromarray(np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"no image", "truncated": whole[: len(whole) // 2]}[damage])
    with pytest.raises(RequestError, match=rf"x\.{ending} cannot be read as an image") as refusal:
        decode(path)
    assert "\n" not in str(refusal.value)
    assert (read_header(path) is None) == (damage != "truncated")


def test_the_middle_square_is_taken():
    wide = np.zeros((4, 12, 3), dtype=np.uint8)
    wide[:, 4:8] = 90
    assert (middle_square(Image.fromarray(wide), 4) == 90).all() and middle_square(Image.fromarray(wide), 16).shape == (16, 16, 3)
