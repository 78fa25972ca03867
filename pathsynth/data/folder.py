"""Images of your own: a folder a class, with or without folders for the splits above them."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from pathsynth.data.dataset import ALL, SPLITS, Counts, DataSet, LabelledImages, first_of_each_class
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.identity import digest
from pathsynth.ledger.seeds import derive_seed
from pathsynth.vocabulary.labels import COLORECTAL, LabelClass, LabelSpace, UnknownLabelError
from pathsynth.vocabulary.prompts import PromptBook, colorectal_prompts, generic_prompts

ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
"""Of files that count as images; others are passed over."""

_FEWEST = len(SPLITS)


@dataclass(frozen=True)
class Shares:
    """The share of each class that becomes val and test where the folder has no splits of its own, and the seed of the choice."""

    val: float = 0.1
    test: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class _File:
    path: Path
    label: int


def folder_data(
    root: Path | None, size: int, symmetry: str = "none", shares: Shares | None = None, counts: Counts = ALL, classes: Sequence[str] = ()
) -> DataSet:
    """Images in ``root/<class>/`` or in ``root/train|val|test/<class>/``, at any depth below a class.

    Each is made RGB, cut to its middle square and resized to ``size`` pixels where it has another size. Folders called as the nine
    colorectal tissues (ADI, "smooth muscle", …) have their prompts; others are asked for by their names.

    Args:
        root: the folder.
        size: pixels.
        symmetry: "d4" where flips and quarter turns keep a label's meaning, else "none".
        shares: of val and test, where the folder has no splits.
        counts: how many images of each split, classes in turn; 0 means all.
        classes: the folders that are taken (empty: all).

    Raises:
        RequestError: no such folder; no classes or one alone; a class with too few images; an image that cannot be read.
    """
    if root is None:
        raise RequestError("data=folder needs a folder of class folders; set data.root")
    if not root.is_dir():
        raise RequestError(f"no folder {root}; set data.root to a folder of class folders")
    places = _places(root)
    names = _class_names(root, places, classes)
    space, prompts = _vocabulary(root, names, symmetry)
    order = [space.by_slug(name).index for name in names]
    splits = _own_splits(places, names, order) if len(places) > 1 else _chosen_splits(root, names, order, shares or Shares())
    taken = {split: _take(splits[split], split, getattr(counts, split), root) for split in SPLITS}
    shown = "/".join(f"{len(taken[split]):,}" for split in SPLITS)
    identity = _identity(root, size, space, taken)

    @functools.cache
    def read(split: str) -> LabelledImages:
        files = taken[split]
        return LabelledImages(np.stack([_pixels(f.path, size) for f in files]), np.array([f.label for f in files], dtype=np.int64))

    return DataSet(f"{root.resolve().name} {size} px ({shown})", identity, size, space, prompts, read)


def folder_files(root: Path) -> list[Path]:
    """Every image file below a folder, in order."""
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())


def _places(root: Path) -> dict[str, Path]:
    """Where each split's class folders are: one place for all, or one for each."""
    below = {child.name for child in root.iterdir() if child.is_dir()}
    if not below & set(SPLITS):
        return {"": root}
    missing = [split for split in SPLITS if split not in below]
    if missing:
        raise RequestError(f"{root} has folders for some splits but none for {', '.join(missing)}; add it, or have class folders alone")
    return {split: root / split for split in SPLITS}


def _class_names(root: Path, places: dict[str, Path], wanted: Sequence[str]) -> list[str]:
    found = {child.name for place in places.values() for child in place.iterdir() if child.is_dir() and not child.name.startswith(".")}
    unknown = sorted(set(wanted) - found)
    if unknown:
        raise RequestError(f"{root} has no class folder {unknown[0]}; it has {', '.join(sorted(found)) or 'none'}")
    names = sorted(wanted or found)
    if len(names) < 2:
        raise RequestError(f"{root} has {len(names)} class folders, two are needed at least; set data.root to a folder of class folders")
    return names


def _vocabulary(root: Path, names: Sequence[str], symmetry: str) -> tuple[LabelSpace, PromptBook]:
    try:
        if sorted(COLORECTAL.by_slug(name).index for name in names) == list(range(len(COLORECTAL))):
            return COLORECTAL, colorectal_prompts()
    except UnknownLabelError:
        pass
    slugs = [re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") for name in names]
    doubled = next((name for name, slug in zip(names, slugs, strict=True) if not slug or slugs.count(slug) > 1), None)
    if doubled is not None:
        raise RequestError(f"the class folder {doubled} in {root} cannot be told from another by letters and digits; rename it")
    classes = tuple(LabelClass(i, slug, slug.replace("-", " "), (name,)) for i, (slug, name) in enumerate(zip(slugs, names, strict=True)))
    # by its classes, not by its place: a gate that was trained before the folder was moved still knows it
    space = LabelSpace(f"class folders {digest(slugs)}", classes, symmetry)
    return space, generic_prompts(space)


def _own_splits(places: dict[str, Path], names: Sequence[str], order: Sequence[int]) -> dict[str, list[_File]]:
    splits: dict[str, list[_File]] = {}
    for split, place in places.items():
        splits[split] = [_File(path, label) for name, label in zip(names, order, strict=True) for path in folder_files(place / name)]
        empty = [name for name in names if not folder_files(place / name)]
        if empty and split == "train":
            raise RequestError(f"{place / empty[0]} holds no image ({', '.join(ENDINGS)}); add some, or leave it out of data.classes")
    return splits


def _chosen_splits(root: Path, names: Sequence[str], order: Sequence[int], shares: Shares) -> dict[str, list[_File]]:
    """Of each class, the images whose hash comes first go to test, the next to val; every split has one at least."""
    splits: dict[str, list[_File]] = {split: [] for split in SPLITS}
    for name, label in zip(names, order, strict=True):
        files = folder_files(root / name)
        if len(files) < _FEWEST:
            raise RequestError(f"{root / name} holds {len(files)} images, too few for train, val and test ({_FEWEST} at least)")
        drawn = sorted(files, key=lambda path: derive_seed("split", shares.seed, path.relative_to(root).as_posix()))
        test = max(1, round(shares.test * len(files)))
        val = max(1, min(round(shares.val * len(files)), len(files) - test - 1))
        test = min(test, len(files) - val - 1)
        for split, part in (("test", drawn[:test]), ("val", drawn[test : test + val]), ("train", drawn[test + val :])):
            splits[split] += [_File(path, label) for path in sorted(part)]
    return splits


def _take(files: list[_File], split: str, wanted: int, root: Path) -> list[_File]:
    if not files:
        raise RequestError(f"{root} has no {split} image ({', '.join(ENDINGS)})")
    if wanted > len(files):
        raise RequestError(f"{root} has {len(files):,} {split} images, not {wanted:,}; lower data.n_{split}, or set 0 for all")
    rows = first_of_each_class(np.array([f.label for f in files]), wanted) if wanted else range(len(files))
    return [files[row] for row in rows]


def _identity(root: Path, size: int, space: LabelSpace, splits: dict[str, list[_File]]) -> str:
    """Hex hash of sizes, classes, splits and the bytes of every file; names of files do not count beyond their order."""
    found = hashlib.blake2b(f"folder:{size}:{space.symmetry}:{','.join(space.slugs)}".encode(), digest_size=8)
    for split, files in splits.items():
        for file in files:
            stat = file.path.stat()
            found.update(f"{split}:{file.label}:{_digest(file.path, stat.st_size, stat.st_mtime_ns)}".encode())
    return found.hexdigest()


@functools.lru_cache(maxsize=1 << 18)
def _digest(path: Path, length: int, changed_ns: int) -> str:
    """Of a file's bytes; length and time of change are there so that a replaced file is read anew."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "blake2b").hexdigest()


def _pixels(path: Path, size: int) -> np.ndarray:
    """uint8 (size, size, 3): the middle square of the image."""
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise RequestError(f"{path} cannot be read as an image ({' '.join(str(error).split())}); repair or remove it") from error
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    if side != size:
        square = square.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(square)

