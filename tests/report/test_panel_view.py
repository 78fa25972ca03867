"""A panel of judges on a trial's page, in its sentence, and among the measures of a study's page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pathsynth.ledger.records import Metric, read_result, write_result
from pathsynth.metrics.panel import evaluate_panel
from pathsynth.report.collect import collect_trials
from pathsynth.report.measures import measures
from pathsynth.report.page import write_trial_page
from pathsynth.report.panel_view import panel_sentence, panel_view
from pathsynth.report.scores import AFTER, BEFORE, Scores
from pathsynth.report.trial_view import class_name
from pathsynth.vocabulary.labels import COLORECTAL


class Tissue:
    name, space = "phantom 32 px", COLORECTAL


def answers(right: float, labels: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    named = np.where(rng.random(len(labels)) < right, labels, (labels + 1) % 9)
    return np.eye(9)[named] * 0.9 + 0.01


@pytest.fixture
def trial(study: Path) -> Path:
    """A finished trial whose images a panel of two has scored."""
    folder = study / "b-4"
    folder = next(path.parent for path in sorted(folder.rglob("result.json")))
    result, labels = read_result(folder / "result.json"), np.repeat(np.arange(9), 20)
    found: list[Metric] = []
    for stage, kind, strict in ((BEFORE, 0.9, 0.6), (AFTER, 0.95, 0.8)):
        votes = {"judge_kind": answers(kind, labels, 0), "judge_strict": answers(strict, labels, 1)}
        found += evaluate_panel(labels, votes, Tissue(), 0, stage=stage, prompts="canonical").metrics
    pair = Metric(
        metric="error_correlation",
        value=0.31,
        low=0.2,
        high=0.4,
        n=360,
        unit="image",
        split="test",
        scorer="gate+judge_strict",
        data=Tissue.name,
        seed=0,
    )
    write_result(folder / "result.json", replace(result, metrics=(*result.metrics, *found, pair)))
    return folder


def scores_of(folder: Path) -> Scores:
    return Scores(read_result(folder / "result.json").metrics)


def test_the_mean_is_quoted_with_the_worst_beside_it(trial: Path) -> None:
    scores = scores_of(trial)
    mean, worst = (scores.generated("accuracy", AFTER, scorer) for scorer in ("panel_mean", "panel_worst"))
    assert mean and worst and mean.value > worst.value
    assert panel_sentence(scores) == (
        "By a panel of 2 judges that chose nothing, "
        f"{100 * mean.value:.0f}% of the 180 accepted images show what was requested on average, "
        f"{100 * worst.value:.0f}% by the strictest of them (strict)."
    )


def test_a_row_for_every_judge_and_for_the_panel_as_a_whole(trial: Path) -> None:
    view = panel_view(scores_of(trial), class_name)
    assert view is not None
    assert [row.name for row in view.rows] == [
        *("gate", "judge", "kind", "strict", "mean of the panel", "worst of the panel", "majority of the panel")
    ]
    assert view.judges == ("kind", "strict")
    assert [len(row.cells) for row in view.classes] == [4] * 9
    assert [(row.name, row.cells[0].value) for row in view.pairs if row.cells[0]] == [("gate and strict", "0.31")]


@pytest.mark.slow
def test_the_page_of_a_trial_shows_its_panel_and_that_of_one_without_does_not(trial: Path, study: Path) -> None:
    (summary,) = [t for t in collect_trials(study / "b-4") if t.folder == trial]
    page = write_trial_page(summary).read_text()
    assert "What several judges say" in page
    assert "gate and strict" in page
    without = replace(summary, result=replace(summary.result, metrics=tuple(m for m in summary.result.metrics if not of_panel(m.scorer))))
    assert "What several judges say" not in write_trial_page(without).read_text()


def of_panel(scorer: str | None) -> bool:
    return str(scorer).startswith(("judge_", "panel_")) or "+" in str(scorer)


def test_a_study_with_a_panel_can_be_compared_by_it(trial: Path, study: Path) -> None:
    trials = collect_trials(study / "b-4")
    (summary,) = [t for t in trials if t.folder == trial]
    by_alias = {m.alias: m for m in measures(trials)}
    shown = by_alias["f1_panel"].read(summary)
    expected = scores_of(trial).generated("macro_f1", BEFORE, "panel_mean")
    assert shown and expected and (shown.value, shown.low, shown.high, shown.n) == (expected.value, expected.low, expected.high, 180)
    record = json.loads((trial / "result.json").read_text())
    kept = [m for m in record["metrics"] if not of_panel(m["scorer"])]
    (trial / "result.json").write_text(json.dumps({**record, "metrics": kept}))
    assert "f1_panel" not in {m.alias for m in measures(collect_trials(study / "b-4"))}
