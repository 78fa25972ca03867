"""The plots of a trial, as SVG data URIs. Equal input gives equal bytes."""

from __future__ import annotations

import base64
import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathsynth.ledger.records import RELIABILITY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GATE_COLOUR, JUDGE_COLOUR, QUIET = "#4b2e83", "#c2457c", "#8b8794"
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": "#3d3a44",
    "xtick.color": "#3d3a44",
    "ytick.color": "#3d3a44",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "pathsynth",
}


def history_plot(path: Path) -> str | None:
    """Losses and before-filter macro-F1 over the steps of ``history.csv``; None if there is no file or nothing to draw.

    Columns are ``step`` and any of ``train_loss``, ``held_out_loss``, ``val_macro_f1``; a blank is a step not measured.
    """
    columns = history_columns(path)
    names = (("train_loss", "training images"), ("held_out_loss", "held-out images"))
    losses = {label: columns[name] for name, label in names if columns.get(name)}
    scores = columns.get("val_macro_f1", [])
    if not losses and not scores:
        return None
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 2.7), layout="constrained")
        axes = figure.subplots(1, 2 if losses and scores else 1, squeeze=False)[0]
        if losses:
            for (label, points), colour in zip(losses.items(), (QUIET, GATE_COLOUR), strict=False):
                axes[0].plot(*zip(*points, strict=True), marker="o", markersize=3.5, linewidth=1.6, color=colour, label=label)
            axes[0].set_title("denoising loss", loc="left", fontsize=10)
            axes[0].legend(frameon=False)
        if scores:
            axes[-1].plot(*zip(*scores, strict=True), marker="o", markersize=3.5, linewidth=1.6, color=GATE_COLOUR)
            axes[-1].set_title("macro-F1 of first attempts, by the gate", loc="left", fontsize=10)
            axes[-1].set_ylim(0, 1)
        for one in axes:
            one.set_xlabel("step")
            one.grid(axis="y", color="#eeecf2")
            one.set_axisbelow(True)
        return _svg_uri(figure)


def reliability_plot(extras: Mapping[str, Sequence[Sequence[int]]]) -> str | None:
    """How often gate and judge are right on real images, against how sure they are; None where that was not measured.

    ``extras``: of a result; a bin's area stands for its images.
    """
    reliability = {tuple(name.split("/")[1:]): rows for name, rows in extras.items() if name.startswith(f"{RELIABILITY}/")}
    if not reliability:
        return None
    import matplotlib as mpl
    from matplotlib.figure import Figure

    splits = list(dict.fromkeys(split for split, _ in reliability))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6 * len(splits), 3.2), layout="constrained")
        for axes, split in zip(figure.subplots(1, len(splits), squeeze=False)[0], splits, strict=True):
            axes.plot((0, 1), (0, 1), color=QUIET, linewidth=1, linestyle=":")
            for scorer, colour, marker in (("gate", GATE_COLOUR, "o"), ("judge", JUDGE_COLOUR, "s")):
                bins = reliability.get((split, scorer), [])
                sure, right = [mean / 1000 for _, _, mean in bins], [hits / n for n, hits, _ in bins]
                axes.plot(sure, right, color=colour, linewidth=1.2)
                axes.scatter(sure, right, [4 + n for n, _, _ in bins], color=colour, marker=marker, alpha=0.7, label=scorer, clip_on=False)
            axes.set_title(f"{split}: right, against how sure", loc="left", fontsize=10)
            axes.set_xlabel("probability of the class named")
            axes.set_ylabel("share that is right")
            axes.set_xlim(0, 1.02)
            axes.set_ylim(0, 1.02)
            axes.legend(frameon=False, markerscale=0.5)
        return _svg_uri(figure)


def history_columns(path: Path) -> dict[str, list[tuple[float, float]]]:
    """(step, value) pairs of every column of ``history.csv``, blanks and values that are not finite left out; none without a file."""
    columns: dict[str, list[tuple[float, float]]] = {}
    if not path.is_file():
        return columns
    with path.open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            step = _number(row.get("step"))
            for name, text in row.items():
                value = _number(text)
                if name != "step" and step is not None and value is not None:
                    columns.setdefault(name, []).append((step, value))
    return columns


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _svg_uri(figure: Figure) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg_bytes(figure)).decode("ascii")


def svg_bytes(figure: Figure) -> bytes:
    """The figure as an SVG file without a date."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
