"""The phantom: how fast a batch is drawn against one image at a time with the same renderer, and what classifiers learn from it.

``python -m benchmarks.phantom --real FOLDER --out FILE.json`` writes ``ratios`` (time of the loop over time of the batch: how many
times faster the batch is), ``images_per_second``, the ``machine``, and ``figures``: what classifiers trained on phantoms alone get
right on phantoms, on their reconstructions by the embedded base, and, with ``--real``, on real tissue (``benchmarks.transfer``).
``python -m benchmarks.phantom --sheet FILE.png`` draws a contact sheet.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.machine import machine, summary
from benchmarks.transfer import CLASSIFIERS, transfer_figures
from pathsynth.data.phantom import render
from pathsynth.vocabulary.labels import COLORECTAL

COUNTS = {32: 900, 224: 18}
"""Images drawn in each repeat, by size in pixels."""


def main() -> None:
    """Read the command line, then write the contact sheet, the figures, or both. A request for neither ends with status 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--sheet", type=Path, help="PNG file to write: phantoms of all classes at 28, 64 and 224 px")
    parser.add_argument("--real", type=Path, help="folder of pathmnist.npz (a subset is fine) and, if there, of tiles224")
    parser.add_argument("--repeats", type=int, default=7, help="timings of each way, taken in turns (default: 7)")
    parser.add_argument("--work", type=Path, default=Path("multirun/.benchmarks/phantom"), help="where trained classifiers go")
    parser.add_argument(
        "--only", nargs="+", choices=CLASSIFIERS, default=CLASSIFIERS, metavar="CLASSIFIER", help="some of: %(choices)s (default: all)"
    )
    arguments = parser.parse_args()
    if not arguments.out and not arguments.sheet:
        parser.error("say what to write: --out FILE.json, --sheet FILE.png, or both")
    if arguments.sheet:
        arguments.sheet.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet().save(arguments.sheet, optimize=True)
    if arguments.out:
        report = measure(arguments.repeats)
        report["figures"] = [asdict(figure) for figure in transfer_figures(arguments.real, arguments.work, arguments.only)]
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")
        print(json.dumps(report, indent=2))


def contact_sheet() -> Image.Image:
    """A labelled row for each class: ten images of 28 px, enlarged four times, nine of 64 px and one of 224 px, in 256 colours."""
    height, gap, margin = 224, 6, 130
    rows = len(COLORECTAL) * (height + gap)
    sheet = Image.new("RGB", (margin + 5 * 112 + 3 * 76 + 224 + 2 * gap, rows), "white")
    text = ImageDraw.Draw(sheet)
    for c in COLORECTAL.classes:
        top = c.index * (height + gap)
        text.text((6, top + height // 2), c.slug, fill="black", font_size=15)
        for k, image in enumerate(_of_class(c.index, 10, 28)):
            sheet.paste(image.resize((112, 112), Image.Resampling.NEAREST), (margin + k % 5 * 112, top + k // 5 * 112))
        for k, image in enumerate(_of_class(c.index, 9, 64)):
            sheet.paste(image, (margin + 5 * 112 + gap + k % 3 * 76, top + k // 3 * 80))
        sheet.paste(_of_class(c.index, 1, 224)[0], (sheet.width - 224, top))
    return sheet.quantize(256, dither=Image.Dither.NONE)


def _of_class(label: int, count: int, size: int) -> list[Image.Image]:
    return [Image.fromarray(image) for image in render(np.full(count, label), np.arange(count) * 9 + label, "test", 0, size)]


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
