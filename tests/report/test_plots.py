from __future__ import annotations

import base64
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pathsynth.ledger.records import Metric
from pathsynth.report.plots import IntervalRow, history_plot, interval_plot


def svg(uri: str | None) -> str:
    assert uri is not None
    head, _, body = uri.partition(",")
    assert head == "data:image/svg+xml;base64"
    return base64.b64decode(body).decode("utf-8")


def test_history_draws_what_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("step,train_loss,val_macro_f1\n0,,0.1\n10,0.5,nan\n20,0.4,\n")
    drawn = svg(history_plot(path))
    assert "denoising loss" in drawn and "macro-F1 of first attempts" in drawn
    path.write_text("step,train_loss\n0,\n10,0.5\n20,0.4\n")
    assert "macro-F1 of first attempts" not in svg(history_plot(path))


@pytest.mark.parametrize("content", ["", "step,train_loss\n", "step,train_loss\n0,\n1,nan\n", "step,other\n0,1\n"])
def test_history_without_anything_to_draw(tmp_path: Path, content: str) -> None:
    (tmp_path / "history.csv").write_text(content)
    assert history_plot(tmp_path / "history.csv") is None


def test_no_history_file(tmp_path: Path) -> None:
    assert history_plot(tmp_path / "history.csv") is None


SCORE = Metric("macro_f1", 0.7, 0.6, 0.8, 90, "image", None, "generated", "before filtering", "gate", "canonical", "d", 0)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "$\\frac$", "a -- b --> &", "]]>"])
def test_names_are_only_text_in_a_plot(name: str) -> None:
    tags = {
        element.tag.rpartition("}")[2]
        for element in ElementTree.fromstring(svg(interval_plot([IntervalRow(name, SCORE, None)], True))).iter()
    }
    assert "path" in tags and "script" not in tags


def test_interval_plot_with_and_without_the_paper() -> None:
    row = IntervalRow("lora.rank=4 $x_", SCORE, None)
    assert "published, n=90" in svg(interval_plot([row], beside_paper=True))
    alone = svg(interval_plot([row], beside_paper=False))
    assert "published" not in alone and "lora.rank=4 $x_" in alone
