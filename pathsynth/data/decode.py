"""One image file as RGB pixels: turned upright, scaled to 8 bits, over white, in sRGB. It reports what was done to the image."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps

from pathsynth.ledger.errors import RequestError

INVERTED = "inverted"
UPRIGHT, SCALED, WHITE, PROFILE, PLAIN_PROFILE, PLAIN_CMYK = "upright", "16 bits", "over white", "profile", "plain profile", "plain CMYK"
"""What is done to an image beyond reading its pixels."""

_16_BITS = 257
"""65535 = 255 × 257: the whole range of 16 bits onto the whole range of 8."""

_PHOTOMETRIC = 262
"""The tag of a TIFF by which zero is white (0) or black (1)."""

_ORIENTING = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
"""How the texts of a PNG begin in which Pillow looks for an orientation."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its pixels are read. ``orientation`` as in EXIF (1: upright); ``bits`` of a channel."""

    width: int
    height: int
    mode: str
    bits: int
    orientation: int
    pages: int
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Decoded:
    """A decoded file: its ``header``, an RGB ``image``, and the ``brightest`` value before it is scaled (of 16-bit grey alone)."""

    header: Header
    image: Image.Image
    brightest: int | None = None


def decode(path: Path) -> Decoded:
    """Read an image as RGB in sRGB, 8 bits a channel, upright, its first page.

    - EXIF's orientation is applied (CIPA DC-008), by ``PIL.ImageOps.exif_transpose``.
    - 16-bit grey is divided by 257: 0…65535 becomes 0…255, also where an image uses a part of that range. A TIFF whose zero is white
      (TIFF 6.0, PhotometricInterpretation) is inverted, as Pillow does with 8 bits. A colour profile is left out, and reported.
    - Transparent pixels lie over white.
    - A colour profile (ICC.1) that is not sRGB's is applied by LittleCMS; one that cannot be is left out, and CMYK is converted plainly.

    Raises:
        RequestError: the file is no image, is damaged, or holds values without a fixed range (floating point, 32-bit integers).
    """
    try:
        with Image.open(path) as opened:
            header = _header(opened)
            opened.load()
            upright = ImageOps.exif_transpose(opened) if UPRIGHT in header.steps else opened  # which would copy it
            _refuse_rangeless(opened.mode, opened.format)
            if _is_grey16(opened):
                return _in_grey(header, upright)
            return _in_colour(header, upright, opened.info.get("icc_profile"))
    except Exception as error:  # damaged files make decoders raise any exception
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RequestError(f"{path} cannot be read as an image ({reason}); repair or remove it") from error


def read_header(path: Path) -> Header | None:
    """A file's header; None where it is no image."""
    try:
        with Image.open(path) as opened:
            return _header(opened)
    except Exception:  # as above; decoding reports it
        return None


def middle_square(image: Image.Image, size: int) -> np.ndarray:
    """uint8 (size, size, 3): the middle square of an RGB image, resized (bilinear) where it has another size."""
    side = min(image.size)
    if image.size == (size, size):
        return np.asarray(image)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    if side != size:
        square = square.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(square)


def _header(opened: ImageFile.ImageFile) -> Header:
    stored = str(getattr(opened, "tile", ""))  # Pillow's raw modes: "RGB;16B"; read first, for loading the image empties it
    orientation = _orientation(opened)
    grey = _is_grey16(opened)
    bits = 16 if grey or ";16" in stored else {"1": 1, "I": 32, "F": 32}.get(opened.mode, 8)
    profile = _profile(opened.info.get("icc_profile"))
    steps = [UPRIGHT] if orientation in range(2, 9) else []
    steps += [INVERTED] if grey and _zero_is_white(opened) else []
    steps += [WHITE] if opened.has_transparency_data else []  # before it is scaled; the order is part of the data's identity
    steps += [SCALED] if grey else []
    steps += [PLAIN_PROFILE if grey else PROFILE] if profile else []
    return Header(*opened.size, opened.mode, bits, orientation, getattr(opened, "n_frames", 1), tuple(steps))


def _orientation(opened: ImageFile.ImageFile) -> int:
    """As in EXIF or XMP; 1 where the file says none. Pixels are not decoded but where a PNG says it after them."""
    if opened.format == "PNG" and "exif" not in opened.info and opened.fp and _says_more_after_pixels(opened.fp):
        opened.load()
    exif = Image.Image.getexif(opened)  # that of PNG's own class decodes the pixels first
    return int(exif.get(ExifTags.Base.Orientation, 1) or 1)


def _says_more_after_pixels(png: IO[bytes]) -> bool:
    """Whether EXIF or XMP follows the pixels, where texts may stand (PNG, 5.6). The file is left where it was."""
    before, after_pixels, found = png.tell(), False, False
    position = 8
    while not found:
        png.seek(position)
        head = png.read(8)
        if len(head) < 8:
            break
        length, kind = struct.unpack(">I4s", head)
        found = after_pixels and (kind == b"eXIf" or (kind.endswith(b"Xt") and png.read(32).startswith(_ORIENTING)))
        after_pixels = after_pixels or kind == b"IDAT"
        position += 12 + length
    png.seek(before)
    return found


def _is_grey16(opened: ImageFile.ImageFile) -> bool:
    return opened.mode.startswith("I;16") or (opened.mode == "I" and opened.format == "PNG")  # "I" by old versions of Pillow


def _zero_is_white(opened: ImageFile.ImageFile) -> bool:
    """As a TIFF says; one that says nothing is taken as libtiff takes it: zero is black."""
    return opened.format == "TIFF" and getattr(opened, "tag_v2", {}).get(_PHOTOMETRIC) == 0


def _refuse_rangeless(mode: str, form: str | None) -> None:
    if mode == "F" or (mode == "I" and form != "PNG"):
        kind = "floating-point values" if mode == "F" else "32-bit integers"
        raise ValueError(f"it holds {kind}, which have no fixed range; save it with 8 or 16 bits")


def _in_grey(header: Header, image: Image.Image) -> Decoded:
    """16-bit grey as RGB. The transparent value is looked for before it is scaled: afterwards 256 others are the same."""
    stored = np.asarray(image).astype(np.uint32)
    levels = 65535 - stored if INVERTED in header.steps else stored
    clear = levels == image.info.get("transparency", -1)
    scaled = ((np.where(clear, 65535, levels) + _16_BITS // 2) // _16_BITS).astype(np.uint8)
    steps = tuple(step for step in header.steps if step != WHITE or clear.any())
    return Decoded(replace(header, steps=steps), Image.fromarray(scaled).convert("RGB"), int(levels.max()))


def _in_colour(header: Header, image: Image.Image, icc: bytes | None) -> Decoded:
    profile = _profile(icc)
    steps = [step for step in header.steps if step != PROFILE]
    if image.mode in ("CMYK", "L") and profile:
        rgb, done = _by_profile(image, profile)
    else:
        above = image.convert("RGBA") if image.has_transparency_data else None
        if above and above.getchannel("A").getextrema() == (255, 255):
            steps.remove(WHITE)
        rgb = _over_white(above) if above else image if image.mode == "RGB" else image.convert("RGB")
        rgb, done = _by_profile(rgb, profile) if profile else (rgb, "")
    if image.mode == "CMYK" and done != PROFILE:
        done = PLAIN_CMYK
    return Decoded(replace(header, steps=(*steps, *([done] if done else ()))), rgb)


def _over_white(above: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", above.size, "white"), above).convert("RGB")


def _profile(icc: bytes | None) -> ImageCms.ImageCmsProfile | None:
    """A colour profile that is not sRGB's; None where there is none, or none that can be read."""
    if not icc:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return None if "srgb" in ImageCms.getProfileDescription(profile).lower() else profile
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _by_profile(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> tuple[Image.Image, str]:
    """The image in sRGB, and whether its profile was applied; it is converted plainly where the profile is of another colour space."""
    try:
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, ValueError, OSError):
        return image.convert("RGB"), PLAIN_PROFILE
    assert converted is not None
    return converted, PROFILE
