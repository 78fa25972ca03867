"""The tables of a study or a trial for other tools: Markdown to paste, CSV and Parquet with a line for each trial."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from pathsynth.ledger.atomic import write_bytes
from pathsynth.ledger.records import Metric
from pathsynth.report.answer import EFFECT_HEADS, NO_SCORE, details, effect_row, headline
from pathsynth.report.collect import TrialSummary, collect_trials
from pathsynth.report.comparison import setting_effects, study_verdict
from pathsynth.report.scores import AFTER, BEFORE, COLOUR, GATE, JUDGE, REJECTED, Scores, interval

_COLUMNS = ((BEFORE, GATE), (BEFORE, JUDGE), (BEFORE, COLOUR), (AFTER, JUDGE), (AFTER, COLOUR))
_SPLITS = ("val", "test")
_SCORES = {
    "accuracy": "accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "kid": "KID to real images (judge's features)",
    "frechet_distance": "Fréchet distance to real images (judge's features)",
    "coverage": "coverage of real images (judge's features)",
    "feature_precision": "precision (judge's features)",
    "feature_recall": "recall (judge's features)",
    "density": "density (judge's features)",
    "near_copies": "nearer to a training image than 99% of real ones",
}


def export(folder: Path, form: str) -> Path:
    """Write ``report.<form>`` (md, csv or parquet) into the folder of a trial or a study; its path.

    Raises:
        RequestError: there is no such folder, or it holds no trial.
    """
    path = folder / f"report.{form}"
    write_bytes(path, FORMS[form](collect_trials(folder)))
    return path


def trials_table(trials: Sequence[TrialSummary]) -> pd.DataFrame:
    """A line for each trial, finished or not.

    Columns: study, trial, folder, identity, state, problem, a column for each setting in which the trials differ, the seconds
    of each stage, and each overall metric of generated images as ``<metric>/<stage>/<scorer>`` with ``…/low``, ``…/high`` and ``…/n``.
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
            key = f"{m.metric}/{m.stage}/{m.scorer}"
            line |= {key: m.value, f"{key}/low": m.low, f"{key}/high": m.high, f"{key}/n": m.n}
    return line


def markdown(trials: Sequence[TrialSummary]) -> str:
    """The verdict and the trials side by side, where there are several, and the scores of each finished one, overall and by class."""
    parts = [*_verdict(trials), _side_by_side(trials)] if len(trials) > 1 else []
    for trial in trials:
        if trial.result:
            parts += [f"### {plain(trial.label)}", *score_tables(Scores(trial.result.metrics))]
            parts.append(f"Seconds by stage: {', '.join(f'{stage} {seconds:.0f}' for stage, seconds in trial.result.timings.items())}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _verdict(trials: Sequence[TrialSummary]) -> list[str]:
    """The headline, what stands behind it, and the effects of settings."""
    verdict = study_verdict(trials)
    if verdict is None:
        return [NO_SCORE]
    rows = [[plain(cell) for cell in effect_row(effect)] for effect in setting_effects(verdict)]
    table = [_table(EFFECT_HEADS, rows)] if rows else []
    return [f"**{plain(headline(verdict))}**", "\n".join(f"- {plain(sentence)}" for sentence in details(verdict)), *table]


def _side_by_side(trials: Sequence[TrialSummary]) -> str:
    heads = ["trial", "macro F1 before filtering, gate", "macro F1 before filtering, judge", "acceptance", "judge accuracy of the accepted"]
    rows = []
    for trial in trials:
        scores = (trial.f1_gate, trial.f1_judge, trial.acceptance, trial.accepted_judge)
        state = f"{trial.state}: {trial.problem}" if trial.problem else trial.state
        rows.append([plain(trial.label), *map(_shown, scores)] if trial.finished else [plain(trial.label), plain(state), "", "", ""])
    return _table(heads, rows)


def score_tables(scores: Scores) -> list[str]:
    """Overall, by class, and of the classifiers on real images, as Markdown; without those of which nothing was measured."""
    parts = (_overall(scores), _by_class(scores), _class_closeness(scores), _classifiers(scores), _common_errors(scores))
    return [part for part in parts if part]


def _overall(scores: Scores) -> str:
    heads = ["score", *(f"{stage}, {'colour alone' if scorer == COLOUR else scorer}" for stage, scorer in _COLUMNS)]
    rows = [[words, *(_shown(scores.generated(name, *column)) for column in _COLUMNS)] for name, words in _SCORES.items()]
    for name, words in {"confirmed": "right", **_SCORES}.items():
        rejected = _shown(scores.generated(REJECTED + name, BEFORE, JUDGE))
        rows.append([f"{words.partition(' (')[0]}: rejected first attempts", "", rejected, "", "", ""])
    for split, told in (("train", ""), ("reconstructed", ", through the autoencoder")):
        for name, words in _SCORES.items():
            mark = scores.real(name, JUDGE, split)
            if mark:
                beside = [_shown(mark) if column == (BEFORE, JUDGE) else "" for column in _COLUMNS]
                rows.append([f"{words.partition(' (')[0]}: as many real training images{told}", *beside])
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
    found = [scores.generated(name, BEFORE, scorer, slug) for name in ("precision", "recall", "f1")]
    return " / ".join(f"{m.value:.2f}" if m else "–" for m in found)


def _classifiers(scores: Scores) -> str:
    rows = []
    for scorer in (GATE, JUDGE, COLOUR):
        for split in _SPLITS:
            accuracy, f1, auc, ece = (scores.real(name, scorer, split) for name in ("accuracy", "macro_f1", "auc", "ece"))
            if accuracy:
                who = "colour alone" if scorer == COLOUR else scorer
                plain_values = (f"{metric.value:.3f}" if metric else "" for metric in (auc, ece))
                rows.append([f"{who}, {split}", _shown(accuracy), _shown(f1), *plain_values])
    return _table(["classifier on real images", "accuracy", "macro F1", "AUC", "calibration error"], rows) if rows else ""


def _class_closeness(scores: Scores) -> str:
    """KID and coverage of each class, first attempts and accepted images, beside as many real training images."""
    rows = []
    for slug in scores.slugs:
        found = [*scores.beside_real("kid", slug), *scores.beside_real("coverage", slug)]
        if any(found):
            rows.append([slug, *(_shown(m, 2) for m in found)])
    columns = [f"{metric}, {what}" for metric in ("KID", "coverage") for what in ("first attempts", "accepted", "real ones")]
    return _table(["class (judge's features)", *columns], rows) if rows else ""


def _common_errors(scores: Scores) -> str:
    found = [(split, scores.real("error_correlation", None, split)) for split in _SPLITS]
    said = [f"{split} {_shown(m)}" for split, m in found if m]
    return f"Correlation of the errors of gate and judge on real images: {'; '.join(said)}." if said else ""


def _shown(metric: Metric | None, digits: int = 3) -> str:
    if metric is None:
        return ""
    bounds = f" {interval(metric, digits)}" if interval(metric, digits) else ""
    return f"{metric.value:.{digits}f}{bounds}, n = {metric.n:,}"


def plain(text: str) -> str:
    """What people typed, as text in a cell of a Markdown table."""
    return " ".join("".join(f"\\{c}" if c in "\\|`*_[]<>#" else c for c in text).split())


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _csv(trials: Sequence[TrialSummary]) -> bytes:
    return trials_table(trials).to_csv(index=False).encode()


def _parquet(trials: Sequence[TrialSummary]) -> bytes:
    buffer = io.BytesIO()
    trials_table(trials).to_parquet(buffer, index=False)
    return buffer.getvalue()


FORMS: dict[str, Callable[[Sequence[TrialSummary]], bytes]] = {
    "md": lambda trials: markdown(trials).encode(),
    "csv": _csv,
    "parquet": _parquet,
}
"""What ``pathsynth report --format`` can write beside the page."""
