from __future__ import annotations

import base64
from pathlib import Path

import pytest

from pathsynth.report.plots import history_plot, reliability_plot


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


def test_reliability_is_drawn_for_each_split_that_was_measured() -> None:
    bins = {"reliability/val/gate": [[10, 9, 870]], "reliability/val/judge": [[10, 8, 930]]}
    one = svg(reliability_plot(bins))
    assert "val: right, against how sure" in one and "test: right" not in one and ">judge<" in one.replace("!-- judge --", ">judge<")
    both = svg(reliability_plot({**bins, "reliability/test/gate": [[4, 1, 555]]}))
    assert "test: right" in both
    assert reliability_plot({"before filtering/gate": [[1, 0], [0, 1]]}) is None
