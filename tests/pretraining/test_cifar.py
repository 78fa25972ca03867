"""The archive of natural images: order, labels, and clear refusals."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from pathsynth.ledger.errors import RequestError
from pathsynth.pretraining.cifar import CIFAR_CLASSES, read_cifar


def archive(path, names):
    with tarfile.open(path, "w") as tar:
        for i, name in enumerate(names):
            buffer = io.BytesIO()
            Image.fromarray(np.full((32, 32, 3), 10 * i, dtype=np.uint8)).save(buffer, "JPEG")
            info = tarfile.TarInfo(name)
            info.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(info, buffer)
    return path


def test_reads_one_split_in_name_order(tmp_path):
    path = archive(tmp_path / "c.tar", ["train/ship/1.jpg", "test/cat/1.jpg", "train/bird/2.jpg"])
    images = read_cifar(path, "train")
    assert [CIFAR_CLASSES[i] for i in images.labels] == ["bird", "ship"]
    assert images.images.shape == (2, 32, 32, 3)
    assert images.images[1].max() <= 5


@pytest.mark.parametrize(
    ("names", "message"),
    [(["test/cat/1.jpg"], "holds no train"), (["train/whale/1.jpg"], "whale")],
)
def test_wrong_archives_are_refused_in_one_line(tmp_path, names, message):
    with pytest.raises(RequestError, match=message) as refusal:
        read_cifar(archive(tmp_path / "c.tar", names), "train")
    assert "\n" not in str(refusal.value)


def test_missing_and_truncated_archives(tmp_path):
    with pytest.raises(RequestError, match="no CIFAR-10 archive"):
        read_cifar(tmp_path / "absent.tar", "train")
    whole = archive(tmp_path / "c.tar", [f"train/ship/{i}.jpg" for i in range(20)])
    (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(RequestError, match=r"cut\.tar"):
        read_cifar(tmp_path / "cut.tar", "train")
