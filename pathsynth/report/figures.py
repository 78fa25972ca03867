"""The figures of a study or a trial for a paper, as SVG whose text stays text. Equal input gives equal bytes."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pathsynth.report.bounds import FEW_CLASSES
from pathsynth.report.collect import TrialSummary
from pathsynth.report.leaderboard import SCORES, leaderboard
from pathsynth.report.plots import QUIET, STYLE, history_columns, svg_bytes
from pathsynth.report.scores import AFTER, BEFORE, GATE, JUDGE, Scores
from pathsynth.report.study_verdict import configuration_label, main_score, score_of
from pathsynth.report.trial_view import short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#0067a5", "#b85c00", "#007a58", "#a8478a", "#2c8fc9", "#c2381f", "#6b6b6b", "#857400")
"""One for each configuration, as on the study's page."""
_MOST_ROWS = 40
_CURVES = (("held_out_loss", "loss on held-out images"), ("val_macro_f1", "macro-F1 of validation images, gate"))
_MATRICES = ((BEFORE, GATE), (BEFORE, JUDGE), (AFTER, JUDGE))
_DARK = 0.5
_STYLE: dict[Any, Any] = {**STYLE, "svg.fonttype": "none", "text.parse_math": False, "font.size": 9}


def score_figure(trials: Sequence[TrialSummary]) -> bytes | None:
    """A line for each configuration, best first: the mean of the main score with its 95% interval, and a dot for each seed.

    Of more than forty configurations the best forty. None where there is no score.
    """
    scorer = main_score(trials)
    key = f"macro_f1/{BEFORE}/{scorer}"
    rows = [row for row in leaderboard(trials) if key in row.scores][:_MOST_ROWS]
    if not rows:
        return None
    import matplotlib as mpl
    from matplotlib.figure import Figure

    seeds: dict[str, list[float]] = {}
    for trial in trials:
        metric = score_of(trial, scorer)
        if metric:
            seeds.setdefault(configuration_label(trial), []).append(metric.value)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 0.9 + 0.27 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for place, row in enumerate(rows):
            score = row.scores[key]
            if score.low is not None and score.high is not None:
                axes.plot((score.low, score.high), (place, place), color=_COLOURS[0], linewidth=1.4)
            dots = seeds[row.configuration]
            axes.scatter(dots, [place] * len(dots), 12, facecolor="none", edgecolor=QUIET, linewidth=0.9, zorder=3)
            axes.scatter([score.value], [place], 30, color=_COLOURS[0], zorder=4)
        axes.set_yticks(range(len(rows)), [f"{row.configuration} ({_seeds(len(row.seeds))})" for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        figure.supxlabel(f"{SCORES[key][0]}: mean, 95% interval, and each seed", fontsize=9)
        axes.grid(axis="x", color="#e6e3ec")
        axes.set_axisbelow(True)
        return svg_bytes(figure)


def _seeds(n: int) -> str:
    return "1 seed" if n == 1 else f"{n} seeds"


def curve_figure(trials: Sequence[TrialSummary]) -> bytes | None:
    """Learning curves of up to eight configurations, best first: mean of the seeds, and their range. None where none was written."""
    labels = [row.configuration for row in leaderboard(trials)]
    histories: dict[str, list[Mapping[str, list[tuple[float, float]]]]] = {label: [] for label in labels}
    for trial in trials:
        path = trial.folder / "history.csv"
        try:
            histories[configuration_label(trial)].append(history_columns(path))
        except (OSError, ValueError, csv.Error) as error:
            print(f"{path} cannot be read ({error}); its curves are left out", flush=True)
    drawn = [(label, found) for label, found in histories.items() if any(h.get(name) for h in found for name, _ in _CURVES)]
    drawn = drawn[: len(_COLOURS)]
    panels = [(name, words) for name, words in _CURVES if any(h.get(name) for _, found in drawn for h in found)]
    if not panels:
        return None
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(3.4 * len(panels), 2.9 + 0.16 * len(drawn)), layout="constrained")
        for axes, (name, words) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for colour, (label, found) in zip(_COLOURS, drawn, strict=False):
                _draw_curve(axes, [h[name] for h in found if h.get(name)], colour, label)
            axes.set_xlabel("training step")
            axes.set_title(words, loc="left", fontsize=9.5)
            axes.grid(axis="y", color="#e6e3ec")
            axes.set_axisbelow(True)
        if len(drawn) > 1:
            handles, names = figure.axes[0].get_legend_handles_labels()
            figure.legend(handles, names, loc="outside lower left", frameon=False, ncols=1, fontsize=8.5)
        return svg_bytes(figure)


def _draw_curve(axes: Axes, curves: Sequence[Sequence[tuple[float, float]]], colour: str, label: str) -> None:
    """The mean of several seeds' points at each step, and their range as a band."""
    by_step: dict[float, list[float]] = {}
    for step, value in (point for curve in curves for point in curve):
        by_step.setdefault(step, []).append(value)
    steps = sorted(by_step)
    axes.plot(steps, [float(np.mean(by_step[s])) for s in steps], color=colour, linewidth=1.5, label=label)
    if len(curves) > 1:
        low, high = ([float(end(by_step[s])) for s in steps] for end in (min, max))
        axes.fill_between(steps, low, high, color=colour, alpha=0.16, linewidth=0)


def confusion_figure(trials: Sequence[TrialSummary]) -> bytes | None:
    """The confusion matrices of the leading configuration, summed over its seeds: shares of each row, with the counts.

    None where there is none, or where the classes are too many for their counts to be read.
    """
    board = [row.configuration for row in leaderboard(trials) if row.scores]
    leading = [t.result for t in trials if t.result and board and configuration_label(t) == board[0]]
    slugs = Scores(leading[0].metrics).slugs if leading else ()
    results = [result for result in leading if Scores(result.metrics).slugs == slugs]
    sums = {
        f"{stage}, {scorer}": np.sum(counts, axis=0)
        for stage, scorer in _MATRICES
        if (counts := [r.extras[f"{stage}/{scorer}"] for r in results if r.extras.get(f"{stage}/{scorer}")])
    }
    if not sums or len(slugs) > FEW_CLASSES:
        return None
    import matplotlib as mpl
    from matplotlib.figure import Figure

    side = 1.5 + 0.24 * len(slugs)
    with mpl.rc_context({**_STYLE, "axes.spines.top": True, "axes.spines.right": True}):
        figure = Figure(figsize=(side * len(sums), side + 0.4), layout="constrained")
        if len(board) > 1:
            figure.suptitle(board[0], x=0.0, ha="left", fontsize=9.5)
        for place, (axes, (title, counts)) in enumerate(zip(figure.subplots(1, len(sums), squeeze=False)[0], sums.items(), strict=True)):
            _draw_matrix(axes, counts, [short_name(slug) for slug in slugs], title, named=place == 0)
        return svg_bytes(figure)


def _draw_matrix(axes: Axes, counts: np.ndarray, names: Sequence[str], title: str, named: bool) -> None:
    """``counts``: int (K, K), a row for each requested class. ``named``: whether rows have their names."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.pcolormesh(shares, cmap="Purples", vmin=0, vmax=1, edgecolors="white", linewidth=0.6)
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > _DARK else "black"
        axes.text(column + 0.5, row + 0.5, str(counts[row, column]), ha="center", va="center", fontsize=6.5, color=colour)
    places = np.arange(len(names)) + 0.5
    axes.set_xticks(places, names, rotation=90, fontsize=7.5)
    axes.set_yticks(places, names if named else [""] * len(names), fontsize=7.5)
    axes.tick_params(length=0)
    axes.set_ylim(len(names), 0)
    axes.set_aspect("equal")
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_xlabel("named by the classifier")
    if named:
        axes.set_ylabel("requested")
