"""A study or a trial for other tools: Markdown and LaTeX to paste, CSV and Parquet to compute with, SVG for a paper.

The leaderboard, a line for each configuration, is the same in all of them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from pathsynth.ledger.atomic import write_bytes
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.records import Metric
from pathsynth.report.answer import EFFECT_HEADS, NO_SCORE, details, effect_row, headline
from pathsynth.report.collect import TrialSummary, collect_trials
from pathsynth.report.figures import confusion_figure, curve_figure, score_figure
from pathsynth.report.leaderboard import LeaderboardRow, Score, leaderboard, score_columns
from pathsynth.report.scores import AFTER, BEFORE, COLOUR, GATE, JUDGE, MAIN_SCORES, REJECTED, Scores, shown
from pathsynth.report.study_verdict import setting_effects, study_verdict

_COLUMNS = ((BEFORE, GATE), (BEFORE, JUDGE), (BEFORE, COLOUR), (AFTER, JUDGE), (AFTER, COLOUR))
_SPLITS = ("val", "test")
_SCORES = {
    "accuracy": "accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro-F1",
    "kid": "KID to real images (judge's features)",
    "frechet_distance": "Fréchet distance to real images (judge's features)",
    "coverage": "coverage of real images (judge's features)",
    "feature_precision": "precision (judge's features)",
    "feature_recall": "recall (judge's features)",
    "density": "density (judge's features)",
    "near_copies": "nearer to a training image than 99% of real ones",
}


def write_form(folder: Path, form: str) -> list[Path]:
    """Write the tables of a trial or a study into its folder; their paths, the leaderboard's last.

    ``md``: ``report.md``, with the leaderboard in it. ``csv`` and ``parquet``: ``report.<form>`` with a line for each trial, and
    ``leaderboard.<form>`` with one for each configuration. ``latex``: ``leaderboard.tex``. ``svg``: ``confusion.svg``, ``curves.svg`` and
    ``scores.svg``, those of them for which there is data.

    Raises:
        RequestError: there is no such folder, or it holds no trial; or there is nothing to draw.
    """
    trials = collect_trials(folder)
    contents = {name: content for name, make in FORMS[form].items() if (content := make(trials)) is not None}
    if not contents:
        raise RequestError(f"{folder} has no score, curve or confusion matrix to draw; finish a trial first")
    for name, content in contents.items():
        write_bytes(folder / name, content)
    return [folder / name for name in contents]


def leaderboard_table(trials: Sequence[TrialSummary]) -> pd.DataFrame:
    """A line for each configuration, best first.

    Columns: place, configuration, one for each varied setting but the seed, seeds (of its finished trials, with spaces between),
    unfinished (how many trials are), interval (what the intervals cover: images or seeds), and each score as
    ``<metric>/<stage>/<scorer>`` with ``…/low``, ``…/high`` and ``…/n``; blank where it was not measured.
    """
    columns = list(score_columns(trials))
    return pd.DataFrame([_place(place, row, columns) for place, row in enumerate(leaderboard(trials), start=1)])


def _place(place: int, row: LeaderboardRow, columns: Sequence[str]) -> dict[str, str | float | int | None]:
    line: dict[str, str | float | int | None] = {"place": place, "configuration": row.configuration, **row.settings}
    line |= {"seeds": " ".join(row.seeds), "unfinished": row.unfinished, "interval": row.interval}
    for key in columns:
        score = row.scores.get(key)
        ends = (score.value, score.low, score.high, score.n) if score else (None,) * 4
        line |= dict(zip((key, f"{key}/low", f"{key}/high", f"{key}/n"), ends, strict=True))
    return line


def _leaderboard_cells(trials: Sequence[TrialSummary]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows for people; names are not escaped."""
    columns = score_columns(trials)
    rows = [
        [
            row.configuration,
            " ".join(row.seeds) + (f" ({row.unfinished} unfinished)" if row.unfinished else ""),
            *(_shown(row.scores.get(key)) for key in columns),
        ]
        for row in leaderboard(trials)
    ]
    return ["configuration", "seeds", *(words for words, _ in columns.values())], rows


_LATEX_HEAD = r"""% A line for each configuration: mean [95% interval] n.
% Of one seed the interval covers chance in the images, of several that of seeds.
% Needs \usepackage{booktabs}; names beyond Latin letters need LuaLaTeX or XeLaTeX with a font that has them.
"""


def _latex(trials: Sequence[TrialSummary]) -> bytes:
    heads, rows = _leaderboard_cells(trials)
    cells = [[" ".join(cell.split()) for cell in row] for row in rows]
    table = pd.DataFrame(cells, columns=heads).to_latex(index=False, escape=True, column_format="ll" + "r" * (len(heads) - 2))
    return (_LATEX_HEAD + re.sub(r"^[\[*]", r"{\g<0>}", table, flags=re.MULTILINE)).encode()  # else an argument of the \\ before it


def trials_table(trials: Sequence[TrialSummary]) -> pd.DataFrame:
    """A line for each trial, finished or not.

    Columns: study, trial, folder, identity, state, problem, a column for each setting in which the trials differ, the seconds
    of each stage, and each overall metric of generated images as ``<metric>/<stage>/<scorer>`` (one of the user's own without a scorer)
    with ``…/low``, ``…/high`` and ``…/n``.
    """
    return pd.DataFrame([_line(trial) for trial in trials])


def _line(trial: TrialSummary) -> dict[str, str | float | int | None]:
    result = trial.result
    line: dict[str, str | float | int | None] = {
        "study": trial.study,
        "trial": trial.name,
        "folder": trial.folder.name,
        "identity": result.identity if result else None,
        "state": trial.state,
        "problem": trial.problem,
        **dict(setting.split("=", 1) for setting in trial.differing),
    }
    for stage, seconds in (result.timings if result else {}).items():
        line[f"seconds/{stage}"] = seconds
    for m in result.metrics if result else ():
        if m.class_ is None and m.split == "generated":
            key = "/".join(word for word in (m.metric, m.stage, m.scorer) if word)
            line |= {key: m.value, f"{key}/low": m.low, f"{key}/high": m.high, f"{key}/n": m.n}
    return line


def markdown(trials: Sequence[TrialSummary]) -> str:
    """The verdict and the trials side by side, where there are several, and the scores of each finished one, overall and by class."""
    parts = [*_verdict(trials), _leaderboard(trials), _side_by_side(trials)] if len(trials) > 1 else []
    for trial in trials:
        if trial.result:
            parts += [f"### {plain(trial.label)}", *score_tables(Scores(trial.result.metrics))]
            parts.append(f"Seconds by stage: {', '.join(f'{stage} {seconds:.0f}' for stage, seconds in trial.result.timings.items())}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _verdict(trials: Sequence[TrialSummary]) -> list[str]:
    """The headline, its details, and the effects of settings."""
    verdict = study_verdict(trials)
    if verdict is None:
        return [NO_SCORE]
    rows = [[plain(cell) for cell in effect_row(effect)] for effect in setting_effects(verdict)]
    table = [_table(EFFECT_HEADS, rows)] if rows else []
    return [f"**{plain(headline(verdict))}**", "\n".join(f"- {plain(sentence)}" for sentence in details(verdict)), *table]


def _leaderboard(trials: Sequence[TrialSummary]) -> str:
    heads, rows = _leaderboard_cells(trials)
    return _table(heads, [[plain(cell) if i < 2 else cell for i, cell in enumerate(row)] for row in rows])


def _side_by_side(trials: Sequence[TrialSummary]) -> str:
    heads = ["trial", *MAIN_SCORES.values()]
    rows = []
    for trial in trials:
        scores = [getattr(trial, name) for name in MAIN_SCORES]
        state = f"{trial.state}: {trial.problem}" if trial.problem else trial.state
        rows.append([plain(trial.label), *map(_shown, scores)] if trial.finished else [plain(trial.label), plain(state), "", "", ""])
    return _table(heads, rows)


def score_tables(scores: Scores) -> list[str]:
    """Overall, by class, and of the classifiers on real images, as Markdown; without those of which nothing was measured."""
    parts = (_overall(scores), _by_class(scores), _class_closeness(scores), _custom(scores), _classifiers(scores), _common_errors(scores))
    return [part for part in parts if part]


def _overall(scores: Scores) -> str:
    heads = ["score", *(f"{stage}, {'colour alone' if scorer == COLOUR else scorer}" for stage, scorer in _COLUMNS)]
    rows = [[words, *(_shown(scores.generated(name, *column)) for column in _COLUMNS)] for name, words in _SCORES.items()]
    for name, words in {"confirmed": "right", **_SCORES}.items():
        rejected = _shown(scores.generated(REJECTED + name, BEFORE, JUDGE))
        rows.append([f"{words.partition(' (')[0]}: rejected first attempts", "", rejected, "", "", ""])
    for split, suffix in (("train", ""), ("reconstructed", ", through the autoencoder")):
        for name, words in _SCORES.items():
            mark = scores.real(name, JUDGE, split)
            if mark:
                beside = [_shown(mark) if column == (BEFORE, JUDGE) else "" for column in _COLUMNS]
                rows.append([f"{words.partition(' (')[0]}: as many real training images{suffix}", *beside])
    return _table(heads, [row for row in rows if any(row[1:])])


def _by_class(scores: Scores) -> str:
    heads = ["class", "P / R / F1, gate", "P / R / F1, judge", "accepted at once", "slots filled", "attempts per accepted"]
    classes: list[str | None] = [*scores.slugs, None]
    return _table(heads, [_class_row(scores, slug) for slug in classes])


def _class_row(scores: Scores, slug: str | None) -> list[str]:
    def of(metric: str) -> Metric | None:
        return scores.generated(metric, BEFORE, GATE, slug)

    exhausted, attempts = of("exhausted_slots"), of("attempts_per_accepted")
    filled = f"{exhausted.n - exhausted.value:.0f} of {exhausted.n}" if exhausted else ""
    return [
        slug or "**all**",
        *(_prf(scores, scorer, slug) if slug else "" for scorer in (GATE, JUDGE)),
        _shown(of("acceptance"), 2),
        filled,
        f"{attempts.value:.1f}" if attempts else "none accepted",
    ]


def _prf(scores: Scores, scorer: str, slug: str) -> str:
    metrics = [scores.generated(name, BEFORE, scorer, slug) for name in ("precision", "recall", "f1")]
    return " / ".join(f"{m.value:.2f}" if m else "–" for m in metrics)


def _classifiers(scores: Scores) -> str:
    rows = []
    for scorer in (GATE, JUDGE, COLOUR):
        for split in _SPLITS:
            accuracy, f1, auc, ece = (scores.real(name, scorer, split) for name in ("accuracy", "macro_f1", "auc", "ece"))
            if accuracy:
                who = "colour alone" if scorer == COLOUR else scorer
                plain_values = (f"{metric.value:.3f}" if metric else "" for metric in (auc, ece))
                rows.append([f"{who}, {split}", _shown(accuracy), _shown(f1), *plain_values])
    return _table(["classifier on real images", "accuracy", "macro-F1", "AUC", "calibration error"], rows) if rows else ""


def _class_closeness(scores: Scores) -> str:
    """KID and coverage of each class, first attempts and accepted images, beside as many real training images."""
    rows = []
    for slug in scores.slugs:
        found = [*scores.beside_real("kid", slug), *scores.beside_real("coverage", slug)]
        if any(found):
            rows.append([slug, *(_shown(m, 2) for m in found)])
    columns = [f"{metric}, {what}" for metric in ("KID", "coverage") for what in ("first attempts", "accepted", "real ones")]
    return _table(["class (judge's features)", *columns], rows) if rows else ""


def _custom(scores: Scores) -> str:
    """The user's own metrics, over all classes and for each measured class."""
    rows = [[name, slug or "**all**", *map(_shown, cells)] for name, slug, cells in scores.custom_rows()]
    return _table(["metric of your own", "class", BEFORE, AFTER, "real images"], rows) if rows else ""


def _common_errors(scores: Scores) -> str:
    found = [(split, scores.real("error_correlation", None, split)) for split in _SPLITS]
    correlations = [f"{split} {_shown(m)}" for split, m in found if m]
    return f"Correlation of the errors of gate and judge on real images: {'; '.join(correlations)}." if correlations else ""


def _shown(metric: Metric | Score | None, digits: int = 3) -> str:
    return shown(metric, digits) if metric else ""


def plain(text: str) -> str:
    """A name as plain text in a cell of a Markdown table."""
    return " ".join("".join(f"\\{c}" if c in "\\|`*_[]<>#" else c for c in text).split())


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode()


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


FORMS: dict[str, dict[str, Callable[[Sequence[TrialSummary]], bytes | None]]] = {
    "md": {"report.md": lambda trials: markdown(trials).encode()},
    "csv": {"report.csv": lambda trials: _csv(trials_table(trials)), "leaderboard.csv": lambda trials: _csv(leaderboard_table(trials))},
    "parquet": {
        "report.parquet": lambda trials: _parquet(trials_table(trials)),
        "leaderboard.parquet": lambda trials: _parquet(leaderboard_table(trials)),
    },
    "latex": {"leaderboard.tex": _latex},
    "svg": {"confusion.svg": confusion_figure, "curves.svg": curve_figure, "scores.svg": score_figure},
}
"""What ``pathsynth report --format`` can write beside the page: files and what makes them (None: there is nothing to write)."""
