"""Whether the memory of a generation grows with the number of images.

    python -m benchmarks.memory --out FILE.json [--n 200,5000] [words of `pathsynth generate` …]

Each number of images is drawn by a command of its own, from two denoising steps without guidance and in one attempt a slot, which
changes nothing about what is kept. ``mb``: the largest resident memory of any of its processes, in 10⁶ bytes; ``kb_an_image``: what one
more image adds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from pathsynth.ledger.atomic import write_json

_QUICK = ["sampling.steps=2", "sampling.guidance=1", "sampling.attempts=1", "tracking=none"]
_MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def main() -> None:
    """Read the command line, measure, write the figures to ``--out`` and print them; other words go to ``pathsynth generate``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--n", default="200,5000", help="images of each generation (default: 200,5000)")
    arguments, words = parser.parse_known_args()
    report = measure([int(n) for n in arguments.n.split(",")], words)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out, report)
    print(json.dumps(report, indent=2))


def measure(counts: Sequence[int], words: Sequence[str]) -> dict[str, Any]:
    """All figures, as they go into the file."""
    peaks = {n: _peak(n, words) for n in counts}
    fewest, most = min(peaks), max(peaks)
    return {
        "machine": machine(),
        "mb": {str(n): round(peak / 1e6, 1) for n, peak in peaks.items()},
        "kb_an_image": round((peaks[most] - peaks[fewest]) / (most - fewest) / 1e3, 2),
    }


def _peak(n: int, words: Sequence[str]) -> int:
    """Bytes that the largest process of a generation of ``n`` images of one class holds at most."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pathsynth", "generate", "label=mucus", f"n={n}", *_QUICK, *words]
        found = subprocess.run([sys.executable, "-c", _MEASURED, *command], cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    return int(found.stdout) * 1024


if __name__ == "__main__":
    main()
