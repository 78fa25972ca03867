"""PathMNIST and its sister sets from their MedMNIST files, checked before they are trusted."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pathsynth.data.dataset import ALL, SPLITS, Counts, DataSet, LabelledImages, first_of_each_class
from pathsynth.data.images import ImageRows
from pathsynth.data.medmnist_sets import MedSet, medmnist_set
from pathsynth.data.npz import array_header, open_array, read_array
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.local_cache import checksum
from pathsynth.vocabulary.labels import COLORECTAL
from pathsynth.vocabulary.prompts import colorectal_prompts

OFFICIAL_MD5 = {
    28: "a8b06965200029087d5bd730944a56c1",
    64: "55aa9c1e0525abe5a6b9d8343a507616",
    128: "ac42d08fb904d92c244187169d1fd1d9",
    224: "2c51a510bcdc9cf8ddb2af93af1eadec",
}
"""MD5 of the official PathMNIST files by image size (``medmnist.INFO``, version 3)."""

_IMAGES = {"train": 89_996, "val": 10_004, "test": 7_180}

PATHMNIST = MedSet("pathmnist", "PathMNIST", COLORECTAL, colorectal_prompts(), 3, _IMAGES, OFFICIAL_MD5, {})
"""Known without the medmnist package, which only its download needs."""

ROOT_VARIABLE = "PATHSYNTH_DATA"


class SourceIdentity(NamedTuple):
    """A data set's name, as results show it, and the hash of what determines its content."""

    name: str
    identity: str


def medmnist_data(
    source: MedSet, root: Path | None = None, size: int = 28, allow_subset: bool = False, download: bool = False, counts: Counts = ALL
) -> DataSet:
    """A set at 28, 64, 128 or 224 pixels.

    Labels and array headers are checked now, images are read at first use: large arrays stay on the disk, and memory holds the rows
    that are in use (:func:`open_array`).

    Grey images are given three equal channels.

    Args:
        source: which.
        root: folder of the file; ``None`` means the folder in ``PATHSYNTH_DATA``, else ``~/.medmnist``.
        size: pixels.
        allow_subset: accept a file whose checksum is not the official one; its name then says "subset" and its counts.
        download: fetch the official file if there is none.
        counts: how many images of each split; the name then says so.

    Raises:
        RequestError: unknown size; more images wanted than there are; file missing, truncated, not official, or not in MedMNIST layout.
    """
    path = medmnist_file(source, root, size)
    if download and not path.is_file():
        _download(source, path, size)
    digest_of_files = medmnist_identity(source, root, size, allow_subset, counts)
    labels = {split: _labels(source, path, split) for split in SPLITS}
    _refuse_missing_class(source, path, labels["train"])
    counts = counts.limited({split: len(rows) for split, rows in labels.items()}, path, len(source.space))

    @functools.cache
    def read(split: str) -> LabelledImages:
        images = open_array(path, f"{split}_images", checksum(path, "md5"))
        whole = LabelledImages(ImageRows(images), _labels(source, path, split))
        wanted = getattr(counts, split)
        return whole.take(first_of_each_class(whole.labels, wanted)) if wanted else whole

    return DataSet(digest_of_files.name, digest_of_files.identity, size, source.space, source.prompts, read)


def medmnist_identity(
    source: MedSet, root: Path | None = None, size: int = 28, allow_subset: bool = False, counts: Counts = ALL
) -> SourceIdentity:
    """Name and identity of the file, from its checksum and array headers: no image is decoded.

    Raises:
        RequestError: as for ``medmnist_data``, except for what only the labels show.
    """
    path = medmnist_file(source, root, size)
    if not path.is_file():
        raise RequestError(f"no {path.name} in {path.parent}; put the MedMNIST file there, set data.root, or set data.download=true")
    there = {split: _check_headers(path, split, size, source.channels) for split in SPLITS}
    counts = counts.limited(there, path, len(source.space))
    md5 = checksum(path, "md5")
    identity = content_identity(source.flag, size, md5, counts)
    shown = "/".join(f"{getattr(counts, split) or available:,}" for split, available in there.items())
    if md5 == source.md5[size]:
        return SourceIdentity(f"{source.title} {size} px" + ("" if counts == ALL else f", {shown} images"), identity)
    if not allow_subset:
        raise RequestError(
            f"{path} has MD5 {md5}, the official file {source.md5[size]}; "
            "fetch it again, or set data.allow_subset=true to use it as a subset"
        )
    return SourceIdentity(f"{source.title} subset ({shown})" + ("" if size == 28 else f" {size} px"), identity)


def content_identity(flag: str, size: int, md5: str, counts: Counts = ALL) -> str:
    """The hash of what determines the images: the file's checksum, and how many of each split are taken if not all."""
    suffix = "" if counts == ALL else f":{counts.train}/{counts.val}/{counts.test}"
    return hashlib.blake2b(f"{flag}:{size}:{md5}{suffix}".encode(), digest_size=8).hexdigest()


def medmnist_file(source: MedSet, root: Path | None, size: int) -> Path:
    """Where the file is looked for.

    Raises:
        RequestError: there are no images of that size.
    """
    if size not in source.md5:
        raise RequestError(f"{source.title} has no {size} px images; set data.size to one of: {', '.join(map(str, source.md5))}")
    folder = root or Path(os.environ.get(ROOT_VARIABLE) or Path.home() / ".medmnist")
    return folder.expanduser() / (f"{source.flag}.npz" if size == 28 else f"{source.flag}_{size}.npz")


def _check_headers(path: Path, split: str, size: int, channels: int) -> int:
    """Check shape and dtype of a split's two arrays without reading them; the number of images."""
    shape, _, dtype = array_header(path, f"{split}_images")
    wanted = (size, size, 3) if channels == 3 else (size, size)
    if dtype != np.uint8 or shape[1:] != wanted:
        shown = ", ".join(map(str, wanted))
        raise RequestError(
            f"{path}: {split}_images is {dtype} {shape}, wanted uint8 (N, {shown}); use the official file for data.size={size}"
        )
    if shape[0] == 0:
        raise RequestError(f"{path}: {split}_images holds no image; use a file whose three splits all have images")
    label_shape, _, label_dtype = array_header(path, f"{split}_labels")
    if label_dtype.kind not in "iu" or label_shape != (shape[0], 1):
        raise RequestError(
            f"{path}: {split}_labels is {label_dtype} {label_shape}, wanted integers ({shape[0]}, 1); use a file in MedMNIST layout"
        )
    return int(shape[0])


def _labels(source: MedSet, path: Path, split: str) -> np.ndarray:
    """int64 (N,) labels of a split, all of them classes of the label space."""
    labels = read_array(path, f"{split}_labels").astype(np.int64).reshape(-1)
    if labels.min() < 0 or labels.max() >= len(source.space):
        raise RequestError(
            f"{path}: {split}_labels has values {labels.min()} to {labels.max()}, wanted 0 to {len(source.space) - 1}; "
            f"use the {source.title} file"
        )
    return labels


def _refuse_missing_class(source: MedSet, path: Path, labels: np.ndarray) -> None:
    """Refuse a file that leaves a class without a training image; nothing could learn it."""
    missing = sorted(set(range(len(source.space))) - set(labels.tolist()))
    if missing:
        raise RequestError(f"{path} has no train image of {source.space.classes[missing[0]].name}; use a file that has some of every class")


def _download(source: MedSet, path: Path, size: int) -> None:
    """Fetch the official file to ``path``; nothing is left there unless its checksum is right."""
    url = medmnist_set(source.flag).urls[size]
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=path.name, suffix=".partial", dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as target, urllib.request.urlopen(url, timeout=60) as answer:
            shutil.copyfileobj(answer, target)
        with partial.open("rb") as arrived:
            whole = hashlib.file_digest(arrived, "md5").hexdigest() == source.md5[size]
        if not whole:
            raise RequestError(f"{path.name} from {url} arrived damaged (wrong MD5); try again, or put the file in {path.parent}")
        os.replace(partial, path)
    except (urllib.error.URLError, OSError) as error:
        raise RequestError(f"{path.name} cannot be downloaded from {url} ({error}); put the file in {path.parent}") from error
    finally:
        partial.unlink(missing_ok=True)
