"""What a panel of judges says, as a trial's page shows it: a row a judge, the panel as a whole, class by class, and common errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pathsynth.ledger.records import PANEL_JUDGE, PANEL_MAJORITY, PANEL_MEAN, PANEL_WORST, Metric
from pathsynth.report.scores import AFTER, BEFORE, GATE, JUDGE, Cell, Scores, cell, percent

_WHOLE = {PANEL_MEAN: "mean of the panel", PANEL_WORST: "worst of the panel", PANEL_MAJORITY: "majority of the panel"}


@dataclass(frozen=True)
class PanelRow:
    """A row's name and its cells; None where nothing was measured. ``whole``: of the panel as a whole."""

    name: str
    cells: tuple[Cell | None, ...]
    whole: bool = False


@dataclass(frozen=True)
class PanelView:
    """The tables of a panel.

    ``rows``: accuracy and macro F1 before and after filtering, and accuracy on real images, by scorer. ``classes``: of each class the
    share of accepted images that a judge takes for what was asked, with a column for each of ``judges`` behind mean and worst. ``pairs``:
    the correlation of the errors of two classifiers on real images.
    """

    judges: tuple[str, ...]
    rows: tuple[PanelRow, ...]
    classes: tuple[PanelRow, ...]
    pairs: tuple[PanelRow, ...]


def panel_judges(scores: Scores) -> tuple[str, ...]:
    """The judges of a panel, by their names as scorers, in the order of the records; empty without a panel."""
    scorers = (m.scorer for m in scores.metrics if m.split == "generated" and m.scorer)
    return tuple(dict.fromkeys(scorer for scorer in scorers if scorer.startswith(PANEL_JUDGE)))


def judge_name(scorer: str) -> str:
    """A judge's name as it stands in ``evaluate.judges``; gate and judge as they are."""
    return scorer.removeprefix(PANEL_JUDGE)


def panel_view(scores: Scores, class_name: Callable[[str], str]) -> PanelView | None:
    """None without a panel. ``class_name``: from slugs to names."""
    judges = panel_judges(scores)
    if not judges:
        return None
    who = {GATE: "gate", JUDGE: "judge", **{scorer: judge_name(scorer) for scorer in judges}, **_WHOLE}
    rows = tuple(PanelRow(name, _overall(scores, scorer), scorer in _WHOLE) for scorer, name in who.items())
    classes = tuple(PanelRow(class_name(slug), _of_class(scores, slug, judges)) for slug in scores.slugs)
    return PanelView(tuple(map(judge_name, judges)), rows, classes, _pairs(scores))


def panel_sentence(scores: Scores) -> str:
    """The mean of the panel with the worst beside it; empty without a panel."""
    judges = panel_judges(scores)
    stage = AFTER if scores.generated("accuracy", AFTER, PANEL_MEAN) else BEFORE
    mean, worst = (scores.generated("accuracy", stage, scorer) for scorer in (PANEL_MEAN, PANEL_WORST))
    if not judges or mean is None or worst is None:
        return ""
    lowest = min(judges, key=lambda scorer: m.value if (m := scores.generated("accuracy", stage, scorer)) else 2.0)
    images = "accepted images" if stage == AFTER else "first attempts"
    count = f"{len(judges)} judges that chose nothing" if len(judges) > 1 else "one judge that chose nothing"
    return (
        f"By a panel of {count}, {percent(mean)} of the {mean.n:,} {images} show what was requested on average, "
        f"{percent(worst)} by the strictest of them ({judge_name(lowest)})."
    )


def _overall(scores: Scores, scorer: str) -> tuple[Cell | None, ...]:
    generated = tuple(cell(scores.generated(name, stage, scorer)) for stage in (BEFORE, AFTER) for name in ("accuracy", "macro_f1"))
    return (*generated, cell(_real(scores, scorer)))


def _real(scores: Scores, scorer: str) -> Metric | None:
    """Accuracy on real images, of test where it was scored, else of val."""
    return scores.real("accuracy", scorer, "test") or scores.real("accuracy", scorer, "val")


def _of_class(scores: Scores, slug: str, judges: tuple[str, ...]) -> tuple[Cell | None, ...]:
    return tuple(cell(scores.generated("recall", AFTER, scorer, slug), 2) for scorer in (PANEL_MEAN, PANEL_WORST, *judges))


def _pairs(scores: Scores) -> tuple[PanelRow, ...]:
    found = [m for m in scores.metrics if m.metric == "error_correlation" and m.scorer]
    return tuple(PanelRow(" and ".join(judge_name(s) for s in str(m.scorer).split("+")), (cell(m, 2),)) for m in found)
