"""A metric of the user's own is shown wherever ours are, and a study without one looks as it did."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from pathsynth.ledger.records import Metric, read_result, write_result
from pathsynth.report.collect import collect_trials
from pathsynth.report.formats import FORMS
from pathsynth.report.leaderboard import score_columns
from pathsynth.report.measures import MEASURES, Reading, measures
from pathsynth.report.page import write_report
from pathsynth.report.table import demo_table

BEFORE, AFTER = "before filtering", "after filtering"
own_metric = partial(Metric, data="phantom", seed=1337)
OWN = [
    own_metric(metric="gap", value=1.75, low=1.5, high=2.0, n=450, unit="image", split="generated", stage=BEFORE, prompts="canonical"),
    own_metric(metric="gap", value=3.25, n=441, unit="image", split="generated", stage=AFTER, prompts="canonical"),
    own_metric(
        metric="gap", value=2.5, low=2.0, high=3.0, n=50, unit="image", class_="mucus", split="generated", stage=AFTER, prompts="canonical"
    ),
    own_metric(metric="gap", value=0.125, n=354, unit="image", split="val"),
]


@pytest.fixture
def study(make_trial: Callable[..., Path], tmp_path: Path) -> Path:
    """One trial with the metric, and one without."""
    with_it, _ = make_trial(tmp_path / "study" / "a"), make_trial(tmp_path / "study" / "b")
    result = read_result(with_it / "result.json")
    write_result(with_it / "result.json", replace(result, metrics=(*result.metrics, *OWN)))
    return tmp_path / "study"


def test_the_page_of_a_trial_has_a_table_of_them(study: Path) -> None:
    text = write_report(study / "a").read_text(encoding="utf-8").partition(">Metrics of your own</h2>")[2].partition("</table>")[0]
    overall, mucus = text.split("<tr>")[2:]
    assert [value in overall for value in ("1.750", "[1.500, 2.000]", "n=450", "3.250", "0.125")] == [True] * 5
    assert "gap, mucus" in mucus and "2.500" in mucus
    assert "Metrics of your own" not in write_report(study / "b").read_text(encoding="utf-8")


def test_tables_and_the_leaderboard_have_a_column_for_each(study: Path) -> None:
    trials = collect_trials(study)
    assert list(score_columns(trials))[-2:] == ["gap/before filtering", "gap/after filtering"]
    for name, form in FORMS["csv"].items():
        table = pd.read_csv(io.BytesIO(form(trials)))
        assert table["gap/before filtering"].dropna().tolist() == [1.75], name
        assert table["gap/before filtering/high"].dropna().tolist() == [2.0], "an interval of it need not lie below 1"
        assert table["gap/after filtering"].dropna().tolist() == [3.25]
    markdown = FORMS["md"]["report.md"](trials).decode()
    assert "1.750 [1.500, 2.000] n=450" in markdown and "| gap | mucus |" in markdown
    assert "gap before filtering" in FORMS["latex"]["leaderboard.tex"](trials).decode()
    out = io.StringIO()
    Console(file=out, width=300, no_color=True).print(demo_table(trials))
    assert "1.750 [1.500, 2.000] n=450" in out.getvalue() and "not measured" in out.getvalue()


def test_the_page_of_a_study_compares_by_them(study: Path) -> None:
    trials = collect_trials(study)
    own = [m for m in measures(trials) if m not in MEASURES]
    assert [(m.alias, m.better) for m in own] == [("gap_before_filtering", 0), ("gap_after_filtering", 0)], "which is better?"
    assert [own[0].read(trial) for trial in trials] == [Reading(1.75, 1.5, 2.0, 450), None]
    assert "gap_before_filtering" in write_report(study).read_text(encoding="utf-8")


def test_a_study_without_one_has_the_columns_that_it_had(study: Path) -> None:
    assert not [name for name in score_columns(collect_trials(study / "b")) if "gap" in name]
    record = json.loads((study / "b" / "result.json").read_text())
    assert not [m for m in record["metrics"] if m["scorer"] is None and m["metric"] != "error_correlation"]
