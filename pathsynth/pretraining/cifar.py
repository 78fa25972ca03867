"""CIFAR-10 from a tar of JPEG files (``train|test/<class>/<n>.jpg``): the natural images of base pretraining."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pathsynth.ledger.errors import RequestError

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class NaturalImages:
    """``images`` uint8 (N, 32, 32, 3), ``labels`` int64 (N,) indexing ``CIFAR_CLASSES``."""

    images: np.ndarray
    labels: np.ndarray


def read_cifar(path: Path, split: str) -> NaturalImages:
    """Read one split of the archive, in name order.

    Raises:
        RequestError: the archive is missing, truncated, or holds no image of the split.
    """
    if not path.is_file():
        raise RequestError(f"no CIFAR-10 archive at {path}; put cifar10.tar (train|test/<class>/<n>.jpg) there or set data.root")
    if not _has_end(path):
        raise RequestError(f"{path} is truncated (a tar file ends with two empty blocks); fetch the archive again")
    named: list[tuple[str, np.ndarray]] = []
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and split in Path(member.name).parts and member.name.endswith(".jpg"):
                    handle = archive.extractfile(member)
                    assert handle is not None
                    named.append((member.name, np.asarray(Image.open(io.BytesIO(handle.read())).convert("RGB"))))
    except (tarfile.TarError, OSError) as error:
        raise RequestError(f"{path} cannot be read to its end ({error}); fetch the archive again") from error
    if not named:
        raise RequestError(f"{path} holds no {split}/<class>/<n>.jpg images")
    named.sort(key=lambda item: item[0])
    labels = [_class_of(name) for name, _ in named]
    return NaturalImages(np.stack([image for _, image in named]), np.asarray(labels, dtype=np.int64))


def _has_end(path: Path) -> bool:
    """Whether the tar's end marker is there; tarfile itself takes a file cut at a header for a shorter archive."""
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - 1024))
        return handle.read() == bytes(1024)


def _class_of(name: str) -> int:
    folder = Path(name).parent.name
    if folder not in CIFAR_CLASSES:
        raise RequestError(f"{name} lies in no CIFAR-10 class folder ({', '.join(CIFAR_CLASSES)})")
    return CIFAR_CLASSES.index(folder)
