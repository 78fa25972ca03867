"""Speed and memory of decoding a folder's images once, and the memory of a process that reads them afterwards.

    python -m benchmarks.decoding --out FILE.json [--n 5000] [--size 224] [--repeats 5] [--folder FOLDER]

``n`` tiles of ``size`` pixels are generated, each of its own, as PNG and as JPEG files. ``ratios``: images a second of our decoding, which
also compares every image with the others and keeps its pixels on the disk, divided by those of a bare loop of Pillow's on as many
processes, which keeps nothing; both include the start of their processes, and take turns. ``images_a_second``: medians.

``peak_mb``: the largest resident memory, in 10⁶ bytes, of any process that decodes, and of one that takes every training batch of a
classifier's epoch from what was decoded; ``libraries``: of a process that loads the same code and reads nothing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import machine, summary
from pathsynth.data.decoded import decode_images, read_split, write_labels
from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.versions import cores

_PATTERNS = 200
_CHUNK = 200
_BATCH = 64
_ENDINGS = {"png": ".png", "jpeg": ".jpg"}
_FOR_MEMORY = "jpeg"
_ITSELF = [sys.executable, "-m", "benchmarks.decoding"]


def main() -> None:
    """Read the command line, measure, write the figures to ``--out`` and print them; ``--part`` is for the processes it starts itself."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--n", type=int, default=5000, help="tiles (default: 5000)")
    parser.add_argument("--size", type=int, default=224, help="their width in pixels (default: 224)")
    parser.add_argument("--repeats", type=int, default=5, help="times that each is timed (default: 5; 0: memory alone)")
    parser.add_argument(
        "--folder", type=Path, help="where the tiles and arrays are for the time of the measurement (default: the system's)"
    )
    parser.add_argument("--part", choices=tuple(_PARTS), help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.part:
        _PARTS[words.part](words.folder, words.size)
        print(max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
        return
    if words.out is None:
        parser.error("--out names the JSON file to write")
    with tempfile.TemporaryDirectory(dir=words.folder) as folder:
        report = measure(Path(folder), words.n, words.size, words.repeats)
    words.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(words.out, report)
    print(json.dumps(report, indent=2))


def measure(folder: Path, n: int, size: int, repeats: int) -> dict[str, Any]:
    """All figures, as they go into the file."""
    ratios, rates = {}, {}
    for form, ending in _ENDINGS.items():
        if not repeats and form != _FOR_MEMORY:
            continue
        paths = _tiles(folder / form, n, size, ending)
        if not repeats:
            continue
        bare, own = [], []
        for _ in range(repeats):
            bare.append(n / _seconds(partial(_bare, paths)))
            with tempfile.TemporaryDirectory(dir=folder) as place:
                own.append(n / _seconds(partial(_decode_to, Path(place), paths, size)))
        ratios[f"decoding {form} against a bare Pillow loop"] = summary([o / b for o, b in zip(own, bare, strict=True)])
        rates[form] = {"bare": round(median(bare)), "decoding": round(median(own))}
    (folder / _FOR_MEMORY).rename(folder / "tiles")
    peaks = {part: _peak(part, folder, size) for part in _PARTS}
    return {"machine": machine(), "tiles": n, "size": size, "ratios": ratios, "images_a_second": rates, "peak_mb": peaks}


def _tiles(folder: Path, n: int, size: int, ending: str) -> list[Path]:
    """Files of smooth noise with a little grain, as tissue has; ``n`` in all, of which no two are equal."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(90, 240, size=(_PATTERNS, 14, 14, 3), dtype=np.uint8)
    grain = rng.normal(0, 6, size=(size, size, 1))
    patterns = [np.asarray(Image.fromarray(c).resize((size, size), Image.Resampling.BICUBIC)) + grain for c in coarse]
    folder.mkdir()
    paths = [folder / f"{i:06d}{ending}" for i in range(n)]
    for i, path in enumerate(paths):
        shifted = np.roll(patterns[i % _PATTERNS], i // _PATTERNS, axis=(0, 1))
        Image.fromarray(shifted.clip(0, 255).astype(np.uint8)).save(path)
    return paths


def _seconds(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def _bare(paths: Sequence[Path]) -> None:
    """What anybody would write: every file opened and decoded, on all cores."""
    chunks = [paths[i : i + _CHUNK] for i in range(0, len(paths), _CHUNK)]
    with multiprocessing.get_context("spawn").Pool(cores()) as pool:
        pool.map(_opened, chunks, chunksize=1)


def _opened(paths: Sequence[Path]) -> int:
    total = 0
    for path in paths:
        with Image.open(path) as image:
            total += np.asarray(image.convert("RGB")).nbytes
    return total


def _decode_to(place: Path, paths: Sequence[Path], size: int) -> None:
    (place / "stage").mkdir()
    decode_images({"train": paths}, size, place / "stage", place / "work", cores())


def _peak(part: str, folder: Path, size: int) -> int:
    """10⁶ bytes that the largest process of a part holds at most; of a command of its own, for resident memory never falls."""
    words = ["--part", part, "--folder", str(folder), "--size", str(size)]
    ended = subprocess.run([*_ITSELF, *words], check=True, stdout=subprocess.PIPE, text=True)
    return round(int(ended.stdout) * 1024 / 1e6)


def _decode(folder: Path, size: int) -> None:
    paths = sorted((folder / "tiles").iterdir())
    _decode_to(folder, paths, size)
    write_labels(folder / "stage", "train", np.arange(len(paths), dtype=np.int64) % 2, None)


def _load(_: Path, __: int) -> None:
    importlib.import_module("pathsynth.training.classifier_module")


def _read(folder: Path, _: int) -> None:
    from pathsynth.training.classifier_batches import ClassifierBatches  # torch, which the decoding processes do without

    images = read_split(folder / "stage", "train")
    batches = ClassifierBatches(images, images, _BATCH, 0, orientations=True, stains=False, noise=False)
    for step in range(batches.an_epoch):
        batches.of_step(step)


_PARTS: dict[str, Callable[[Path, int], None]] = {"decode": _decode, "read": _read, "libraries": _load}

if __name__ == "__main__":
    main()
