"""Time and memory of precision, recall, density and coverage, and of near copies, for sets of up to TissueMNIST's test split.

    python -m benchmarks.neighbours --out FILE.json [--n 900,47280] [--width 512] [--generated 900]

Features are drawn at random about a subspace of 16 dimensions. ``seconds``: of both together. ``peak_mb``: the largest resident memory of
a process of its own that draws the features and measures, in 10⁶ bytes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from pathsynth.ledger.atomic import write_json
from pathsynth.metrics.memorisation import near_copies
from pathsynth.metrics.neighbours import nearest
from pathsynth.metrics.prdc import prdc

_DIMENSIONS = 16


def main() -> None:
    """Read the command line, measure each size in a process of its own, write the figures to ``--out`` and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--n", default="900,47280", help="real images of each measurement (default: 900,47280)")
    parser.add_argument("--generated", type=int, default=0, help="generated images (default: as many as real ones)")
    parser.add_argument("--width", type=int, default=512, help="features of an image (default: 512)")
    words = parser.parse_args()
    report = {"machine": machine(), "width": words.width}
    for n in map(int, words.n.split(",")):
        # a process of its own: resident memory never falls
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            report[f"{n} x {words.generated or n}"] = pool.apply(measure, (n, words.generated or n, words.width))
    words.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(words.out, report)
    print(json.dumps(report, indent=2))


def measure(real: int, generated: int, width: int) -> dict[str, Any]:
    """Seconds and resident memory for sets of these sizes, the real ones serving as training images, too."""
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(_DIMENSIONS, width)).astype(np.float32)
    sets = [_features(n, plane, rng) for n in (real, generated)]
    started = time.monotonic()
    scores = prdc(sets[0], sets[1], seed=0)
    near_copies(sets[1], sets[0], nearest(sets[1], sets[0])[0], seed=0)
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": round(seconds, 1), "peak_mb": round(peak / 1e6), "coverage": round(scores.coverage.value, 4)}


def _features(n: int, plane: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float32 (n, width): a point of the subspace spanned by ``plane``, and a tenth of noise."""
    points = rng.normal(size=(n, len(plane))).astype(np.float32) @ plane
    return points + np.float32(0.1) * rng.normal(size=points.shape).astype(np.float32)


if __name__ == "__main__":
    main()
