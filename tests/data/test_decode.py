"""Each kind of image file becomes the picture that its author saw."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from pathsynth.data.decode import PLAIN_CMYK, PROFILE, SCALED, UPRIGHT, WHITE, decode, middle_square, read_header
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
def test_damage_is_reported_with_the_name(tmp_path, damage):
    path = tmp_path / "x.jpg"
    Image.fromarray(np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"no image", "truncated": whole[: len(whole) // 2]}[damage])
    with pytest.raises(RequestError, match=r"x\.jpg cannot be read as an image") as refusal:
        decode(path)
    assert "\n" not in str(refusal.value)
    assert (read_header(path) is None) == (damage != "truncated")


def test_the_middle_square_is_taken():
    wide = np.zeros((4, 12, 3), dtype=np.uint8)
    wide[:, 4:8] = 90
    assert (middle_square(Image.fromarray(wide), 4) == 90).all() and middle_square(Image.fromarray(wide), 16).shape == (16, 16, 3)
