"""The leaderboard, a line for each configuration, reads back the same from every form that it is written in."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pathsynth.__main__ import dispatch
from pathsynth.report.collect import collect_trials
from pathsynth.report.formats import leaderboard_table, markdown, write_form
from pathsynth.report.leaderboard import leaderboard

JUDGE = "macro_f1/before filtering/judge"
ODD = ["50%_a & b", "[red] #1 {x}~^\\y", "*Gewebe: 組織 $2", "a | b"]


@pytest.fixture
def sweep(make_sweep: Callable[..., Path], tmp_path: Path) -> Path:
    return make_sweep(tmp_path / "rank")


def test_a_row_has_the_mean_of_its_seeds_and_an_interval_over_them(sweep: Path) -> None:
    rows = leaderboard(collect_trials(sweep))
    assert [row.settings for row in rows] == [{"lora.rank": "16"}, {"lora.rank": "4"}, {"lora.rank": "1"}]
    values = [
        m["value"]
        for path in sorted(sweep.glob("rank-16-*/result.json"))
        for m in json.loads(path.read_text())["metrics"]
        if (m["metric"], m["stage"], m["scorer"], m["class"]) == ("macro_f1", "before filtering", "judge", None)
    ]
    best = rows[0]
    found = best.scores[JUDGE]
    mean = sum(values) / 3
    half = 4.30265 * (sum((v - mean) ** 2 for v in values) / 2 / 3) ** 0.5  # Student's t of two degrees of freedom
    assert (found.value, found.low, found.high) == pytest.approx((mean, mean - half, mean + half), abs=1e-5)
    assert (found.n, best.seeds, best.unfinished, best.interval) == (1350, ("0", "1", "2"), 0, "seeds")
    assert (rows[2].seeds, rows[2].unfinished) == (("1", "2"), 1), "of rank 1 a trial failed"


def test_one_seed_has_the_interval_of_its_images(study: Path) -> None:
    rows = {row.configuration: row for row in leaderboard(collect_trials(study))}
    trial = next(t for t in collect_trials(study) if t.label == "lora.rank=16")
    score = rows["lora.rank=16"].scores[JUDGE]
    assert trial.f1_judge and (score.value, score.low, score.high) == (trial.f1_judge.value, trial.f1_judge.low, trial.f1_judge.high)
    assert (rows["lora.rank=64"].scores, rows["lora.rank=64"].unfinished) == ({}, 1)


def test_csv_and_parquet_read_back_the_same(sweep: Path) -> None:
    table = leaderboard_table(collect_trials(sweep))
    csv = pd.read_csv(write_form(sweep, "csv")[-1], dtype={"lora.rank": str})
    parquet = pd.read_parquet(write_form(sweep, "parquet")[-1])
    for read in (csv, parquet):
        pd.testing.assert_frame_equal(read, table, check_dtype=False)
    assert list(table["place"]) == [1, 2, 3] and {f"{JUDGE}/low", f"{JUDGE}/high", f"{JUDGE}/n", "seeds"} <= set(table.columns)


def odd_study(make_trial: Callable[..., Path], folder: Path) -> Path:
    """Configurations whose names hold what LaTeX and Markdown read as commands."""
    for i, prompt in enumerate(ODD):
        make_trial(folder / str(i), prompt=prompt)
    return folder


def test_latex_reads_back_as_text(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    text = write_form(odd_study(make_trial, tmp_path / "s"), "latex")[-1].read_text(encoding="utf-8")
    lines = text.split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()
    rows = [[plain(cell) for cell in re.split(r"(?<!\\)&", line.removesuffix("\\\\"))] for line in lines]
    assert sorted(row[0] for row in rows) == sorted(f"generate.prompt={prompt}" for prompt in ODD)
    assert all(len(row) == 6 and row[2] == "0.687 [0.644, 0.730] n=450" for row in rows)


def plain(cell: str) -> str:
    """What LaTeX prints for a cell."""
    for command, sign in {"\\textbackslash ": "\\", "\\textasciitilde ": "~", "\\textasciicircum ": "^"}.items():
        cell = cell.replace(command, sign)
    return re.sub(r"\\([&%$#_{}])", r"\1", cell).strip()


def test_no_row_of_latex_begins_with_what_its_line_break_would_read(tmp_path: Path, make_trial: Callable[..., Path], monkeypatch) -> None:
    monkeypatch.setattr("pathsynth.report.leaderboard.configuration_label", lambda trial: trial.name)
    monkeypatch.setattr("pathsynth.report.study_verdict.configuration_label", lambda trial: trial.name)
    for i, name in enumerate(("[red]", "*")):
        make_trial(tmp_path / "s" / str(i), name=name)
    text = write_form(tmp_path / "s", "latex")[-1].read_text(encoding="utf-8")
    assert not re.search(r"^[\[*]", text, re.MULTILINE) and "{[}red]" in text


def test_markdown_has_the_same_rows(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    text = markdown(collect_trials(odd_study(make_trial, tmp_path / "s")))
    lines = [line for line in text.splitlines() if line.startswith("| generate.prompt=")][: len(ODD)]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    names = {re.sub(r"\\(.)", r"\1", row[0]).strip() for row in cells}
    assert names == {f"generate.prompt={prompt}" for prompt in ODD}


def test_the_command_names_the_files(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["report", str(study), "--format", "latex"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"report: {study / 'leaderboard.tex'}"
    assert dispatch(["report", str(study), "--format", "csv"]) == 0
    paths = [line.removeprefix("report: ") for line in capsys.readouterr().out.splitlines() if line.startswith("report: ")]
    assert paths == [str(study / "report.csv"), str(study / "leaderboard.csv")]
    assert pd.read_csv(io.StringIO(Path(paths[1]).read_text()))["configuration"][0] == "lora.rank=16"
