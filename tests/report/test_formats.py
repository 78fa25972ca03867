from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pathsynth.__main__ import dispatch
from pathsynth.ledger.errors import RequestError
from pathsynth.report.collect import collect_trials
from pathsynth.report.formats import markdown, trials_table, write_form


def test_a_line_for_each_trial_reads_back_the_same_from_both_files(study: Path) -> None:
    table = trials_table(collect_trials(study))
    assert list(table["lora.rank"]) == ["4", "16", "64"]
    assert list(table["state"]) == ["done", "done", "failed"]
    assert table["problem"][2] == "the loss became nan"
    f1 = "macro_f1/before filtering/gate"
    assert (round(table[f1][0], 3), table[f"{f1}/n"][0]) == (0.687, 450)
    assert table[f"{f1}/low"][0] < table[f1][0] < table[f"{f1}/high"][0]
    assert table["seconds/finetune"][0] == 185.0
    assert pd.isna(table[f1][2])
    csv = pd.read_csv(write_form(study, "csv")[0], dtype={"lora.rank": str})
    parquet = pd.read_parquet(write_form(study, "parquet")[0])
    for read in (csv, parquet):
        assert list(read.columns) == list(table.columns)
        assert list(read[f1].round(9))[:2] == list(table[f1].round(9))[:2]


def test_markdown_has_the_trials_and_each_ones_scores_by_class(study: Path) -> None:
    said = write_form(study, "md")[0].read_text().splitlines()
    assert said[0] == "**lora.rank=16 leads by 0.115 · whether that is noise cannot be known from 1 seed and 2 configurations**"
    lines = said[next(i for i, line in enumerate(said) if line.startswith("| trial |")) :]
    assert lines[2].startswith("| lora.rank=4 | 0.687 [0.64") and "n=450" in lines[2]
    assert lines[4].startswith("| lora.rank=64 | failed: the loss became nan |")
    assert lines.count("### lora.rank=4") == lines.count("### lora.rank=16") == 1 and "### lora.rank=64" not in lines
    assert any(line.startswith("| coverage of real images (judge's features) |  | 0.412") for line in lines)
    assert any(line.startswith("| mucus | 0.11 [0.10, 0.12] n=50 | 0.09 ") and line.count("|") == 8 for line in lines)
    assert any(line.startswith("| colour alone, val | 0.623") for line in lines)
    assert any("errors of gate and judge on real images: val 0.270 [0.100, 0.440] n=354." in line for line in lines)
    mucosa = next(line for line in lines if line.startswith("| normal-mucosa |"))
    assert mucosa.split(" | ")[4] == "41 of 50"
    assert "Seconds by stage: gate 41, finetune 185, generate 96." in lines
    widths = {line.count(" | ") for line in lines if line.startswith("| adipose")}
    assert widths == {5}


def test_what_was_typed_cannot_break_the_table(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    make_trial(tmp_path / "s" / "one", name="a | b <script>")
    text = markdown(collect_trials(tmp_path / "s"))
    assert "### a \\| b \\<script\\>" in text


def test_the_command_writes_the_form_that_is_asked_for(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["report", str(study), "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"report: {study / 'leaderboard.csv'}"
    assert dispatch(["report", str(study), "--format", "xls"]) == 2
    assert "html" in capsys.readouterr().err
    assert dispatch(["report", str(study / "none"), "--format", "md"]) == 2


@pytest.mark.slow
def test_figures_for_a_paper_keep_their_text_and_are_the_same_bytes_again(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank")
    paths = write_form(folder, "svg")
    assert [path.name for path in paths] == ["confusion.svg", "curves.svg", "scores.svg"]
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_form(folder, "svg")] == first
    texts = [set(re.findall(r"<text [^>]*>([^<]+)</text>", svg.decode())) for svg in first]
    assert {"mucus", "before filtering, judge", "named by the classifier"} <= texts[0]
    assert {"training step", "loss on held-out images", "lora.rank=16"} <= texts[1]
    board = ["lora.rank=16 (3 seeds)", "lora.rank=4 (3 seeds)", "lora.rank=1 (2 seeds)"]
    assert {*board, "macro-F1 before filtering, judge: mean, 95% interval, and each seed"} <= texts[2]
    leader = [t.result.extras["before filtering/gate"] for t in collect_trials(folder) if t.result and t.settings["lora.rank"] == "16"]
    assert str(sum(matrix[0][0] for matrix in leader)) in texts[0]


def test_a_figure_of_hostile_names_is_no_formula_and_no_markup(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    for name, prompt in (("a", "$x_$</text><script>"), ("b", "$\\frac$")):
        make_trial(tmp_path / "s" / name, prompt=prompt)
    svg = write_form(tmp_path / "s", "svg")[-1].read_text()
    assert "<script>" not in svg and "$x_$&lt;/text&gt;&lt;script&gt;" in svg


def test_without_anything_to_draw_there_is_no_figure(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_trial(tmp_path / "t")
    for name in ("result.json", "history.csv"):
        (folder / name).unlink()
    with pytest.raises(RequestError, match="no score, curve or confusion matrix to draw"):
        write_form(folder, "svg")
    assert not list(folder.glob("*.svg"))
