"""The images of a trial that its pages show: files, named by the trial's attempt log, and real images beside them.

A trial's folder keeps accepted images in ``images/``, rejected first attempts of each class's first slots in ``rejected/``, and
real images, each a file, below ``grids/``. Trials of earlier versions lack the last two; their pages say so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.records import JUDGED_FILE

LEDGER = "attempts.parquet"
"""The attempt log of a trial or a generated set."""
_REAL, _NEAREST = Path("grids", "real"), Path("grids", "nearest")
_SHOWN = ("seed", "attempt", "prompt", "predicted", "probability", "accepted", "reason")
_NONE = "This trial kept no images."
_BESIDE = re.compile(r"(\d+)-(.+)\.png")
_STREAMS = ("eval", "generate")
"""Whose images pages show; those of validation chose the adapter."""


@dataclass(frozen=True)
class RealImage:
    """A real image that stands beside those of a slot."""

    slug: str
    slot: int
    path: Path


@dataclass(frozen=True)
class RejectionCount:
    """How many attempts were rejected for a ``reason``, and how many ``first`` attempts at their slots among them."""

    reason: str
    first: int
    attempts: int


def rejection_counts(folder: Path) -> tuple[RejectionCount, ...]:
    """Reasons for rejected attempts, the most frequent first; empty without an attempt log."""
    import pyarrow.parquet  # slow to import

    path, columns = folder / LEDGER, ["attempt", "accepted", "reason"]
    if not path.is_file() or not set(columns) <= set(pyarrow.parquet.read_schema(path).names):
        return ()
    rows = pyarrow.parquet.read_table(path, columns=columns).to_pylist()
    rejected = [(str(row["reason"]), row["attempt"] == 0) for row in rows if not row["accepted"] and row["reason"]]
    first, every = Counter(reason for reason, is_first in rejected if is_first), Counter(reason for reason, _ in rejected)
    return tuple(RejectionCount(reason, first[reason], n) for reason, n in sorted(every.items(), key=lambda count: (-count[1], count[0])))


def real_images(folder: Path, shown: Sequence[str], slots: int) -> tuple[RealImage, ...]:
    """The real images that a trial keeps beside those of the first ``slots`` slots of the classes ``shown``."""
    places = [(slug, i, folder / _REAL / slug / f"{i}.png") for slug in shown for i in range(slots)]
    return tuple(RealImage(slug, i, path) for slug, i, path in places if path.is_file())


@dataclass(frozen=True)
class Attempt:
    """One try at a slot. ``predicted`` is the gate's label and ``judged`` the judge's (None: not known), ``reason`` why it was rejected.

    ``named``: the attempt log names an image; ``path`` is None where there is none.
    """

    slug: str
    slot: int
    attempt: int
    seed: str
    prompt: str
    predicted: int | None
    probability: float | None
    accepted: bool
    reason: str
    named: bool
    path: Path | None
    judged: int | None = None


def slot_attempts(folder: Path, shown: Sequence[str], slots: int) -> tuple[Attempt, ...]:
    """All attempts at the first ``slots`` slots of the classes ``shown``, by slot and attempt; none where there is no attempt log."""
    if not (folder / LEDGER).is_file():
        return ()
    judged = judge_labels(folder)
    return tuple(_attempt(row, folder, judged) for row in _rows(folder, slots) if row["class_slug"] in shown)


def judge_labels(folder: Path) -> Mapping[tuple[str, int, int], int]:
    """What the judge takes each image for, a label by requested class, slot and attempt; empty if no file records it."""
    import pyarrow.parquet  # slow to import

    if not (folder / JUDGED_FILE).is_file():
        return {}
    rows = pyarrow.parquet.read_table(folder / JUDGED_FILE, columns=["class_slug", "slot", "attempt", "predicted"]).to_pylist()
    return {(row["class_slug"], row["slot"], row["attempt"]): int(row["predicted"]) for row in rows}


def absent_images(folder: Path, attempts: Sequence[Attempt], real: bool) -> tuple[str, ...]:
    """A sentence for each kind of images that a trial with these attempts did not keep."""
    if not (folder / LEDGER).is_file():
        return (_NONE,)
    lost = any(a.attempt == 0 and a.named and not a.path for a in attempts)
    return tuple(_absent(folder, lost, real))


def _attempt(row: Mapping[str, Any], folder: Path, judged: Mapping[tuple[str, int, int], int]) -> Attempt:
    known = {key: value for key, value in row.items() if value is not None and value == value}
    path = folder / str(known["image"]) if known.get("image") else None
    return Attempt(
        slug=str(row["class_slug"]),
        slot=int(row["slot"]),
        attempt=int(row["attempt"]),
        seed=str(known.get("seed", "")),
        prompt=str(known.get("prompt", "")),
        predicted=int(known["predicted"]) if "predicted" in known else None,
        probability=float(known["probability"]) if "probability" in known else None,
        accepted=bool(row["accepted"]),
        reason=str(known.get("reason", "")),
        named=path is not None,
        path=path if path and _is_inside(path, folder) else None,
        judged=judged.get((str(row["class_slug"]), int(row["slot"]), int(row["attempt"]))),
    )


def nearest_pairs(folder: Path, slug: str, most: int) -> list[Path]:
    """Of a class the accepted images nearest to a training image, each followed by that one; ``most`` pairs, the nearest first."""
    beside = (folder / _NEAREST / slug).glob("*.png")
    named = [(int(parts[1]), parts[2], path) for path in beside if (parts := _BESIDE.fullmatch(path.name))]
    pairs = [(folder / "images" / slug / f"{name}.png", path) for _, name, path in sorted(named)]
    return [path for pair in pairs[:most] if pair[0].is_file() for path in pair]


def open_image(path: Path) -> Image.Image:
    """The image as it is, in RGB.

    Raises:
        RequestError: the file is not an image.
    """
    try:
        with Image.open(path) as opened:
            return opened.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:  # raised by Pillow for a PNG that is cut off or changed
        raise RequestError(f"{path} is not an image ({error}); run the trial again") from error


def read_image(path: Path, largest: int) -> Image.Image:
    """The image, of at most ``largest`` pixels a side.

    Raises:
        RequestError: the file is not an image.
    """
    image = open_image(path)
    size = min(largest, image.width)
    return image if image.width == size else image.resize((size, size), Image.Resampling.LANCZOS)


def _rows(folder: Path, slots: int) -> list[dict[str, Any]]:
    """The attempts at the first slots of each class, by slot and attempt."""
    import pyarrow.parquet  # slow to import

    path = folder / LEDGER
    names = pyarrow.parquet.read_schema(path).names
    wanted = [n for n in ("stream", "class_slug", "slot", "image", *_SHOWN) if n in names]
    rows = pyarrow.parquet.read_table(path, columns=wanted, filters=[("slot", "<", slots)]).to_pylist()
    return sorted((r for r in rows if r.get("stream", _STREAMS[0]) in _STREAMS), key=lambda r: (r["slot"], r["attempt"]))


def _is_inside(path: Path, folder: Path) -> bool:
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def _absent(folder: Path, lost: bool, real: bool) -> list[str]:
    sentences = []
    if lost:
        sentences.append("Rejected first attempts are not shown: an earlier version kept them only on sheets (grids/first_attempts.png).")
    if real and not (folder / _REAL).is_dir():
        sentences.append("Real images are not shown: an earlier version kept them only on sheets (grids/real.png).")
    return sentences
