"""Drawing the phantom a batch at a time against one image at a time, with the same renderer.

``python -m benchmarks.phantom --out FILE.json`` writes ``ratios`` (time of the loop over time of the batch: how many times
faster the batch is), ``images_per_second`` and the ``machine``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.machine import machine, summary
from pathsynth.data.phantom import render

COUNTS = {32: 900, 224: 18}
"""Images drawn in each repeat, by size in pixels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--repeats", type=int, default=7, help="timings of each way, taken in turns (default: 7)")
    arguments = parser.parse_args()
    report = measure(arguments.repeats)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def measure(repeats: int) -> dict[str, object]:
    """Timings as they go into the file; both ways are checked to give the same images first."""
    ratios: dict[str, object] = {}
    speeds: dict[str, object] = {}
    for size, count in COUNTS.items():
        indices = np.arange(count)
        if not np.array_equal(_batched(indices, size), _one_by_one(indices, size)):
            raise RuntimeError(f"both ways must draw the same images at {size} px")
        pairs = [(_seconds(_one_by_one, indices, size), _seconds(_batched, indices, size)) for _ in range(repeats)]
        ratios[f"batch over one at a time, {size} px"] = summary([one / batch for one, batch in pairs])
        speeds[f"batch, {size} px"] = summary([count / batch for _, batch in pairs])
        speeds[f"one at a time, {size} px"] = summary([count / one for one, _ in pairs])
    return {"ratios": ratios, "images_per_second": speeds, "machine": machine()}


def _batched(indices: np.ndarray, size: int) -> np.ndarray:
    return render(indices % 9, indices, "train", 0, size)


def _one_by_one(indices: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([render(indices[i : i + 1] % 9, indices[i : i + 1], "train", 0, size) for i in range(len(indices))])


def _seconds(draw: Callable[[np.ndarray, int], np.ndarray], indices: np.ndarray, size: int) -> float:
    start = time.perf_counter()
    draw(indices, size)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
