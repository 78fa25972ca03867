"""Pages of two, nine, sixty and three hundred classes: all of them can be read, and none grows without bound."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pathsynth.report.page import write_report


def right(classes: int) -> tuple[int, ...]:
    """First attempts of each class that are named right: the higher the label, the fewer, down to ten."""
    return tuple(50 - 40 * i // classes for i in range(classes))


def slugs(classes: int) -> tuple[str, ...]:
    return tuple(f"kind-{i:03d}" for i in range(classes))


@pytest.fixture(params=[2, 9, 60, 300])
def trial(request: pytest.FixtureRequest, make_trial: Callable[..., Path], tmp_path: Path) -> tuple[int, Path]:
    n = request.param
    return n, make_trial(tmp_path / "study" / "t", right=right(n), slugs=slugs(n))


@pytest.mark.slow
def test_a_trial_has_a_page_of_a_bounded_size(trial: tuple[int, Path]) -> None:
    classes, folder = trial
    path = write_report(folder)
    text = path.read_text(encoding="utf-8")
    many = classes > 30
    assert path.stat().st_size < 3e6
    assert text.count(f"Show all {classes} classes</summary>") == (2 if many else 0), "by class, and filtering"
    assert text.count('class="heat"') == (3 if many else 0) and text.count('class="matrix"') == (0 if many else 3)
    weakest = f"kind {classes - 1:03d} taken for kind 000"
    assert (weakest in text) == many, "the largest error of a matrix is named where its counts cannot be read"
    assert text.count("more classes</summary>") == (2 if many else 0), "images, and those nearest to training images"
    assert text.count('class="class-images"') <= 90 and text.count('class="line"') <= 90, "those nearest to training images"
    assert f'<h3 class="class">kind {classes - 1:03d}' in text, "images of the weakest class are among those shown"


@pytest.mark.slow
def test_a_study_has_a_page_of_a_bounded_size(trial: tuple[int, Path], make_trial: Callable[..., Path]) -> None:
    classes, folder = trial
    make_trial(folder.parent / "u", rank=16, right=right(classes), slugs=slugs(classes))
    path = write_report(folder.parent)
    assert path.stat().st_size < 1.5e6
    payload = json.loads(path.read_text(encoding="utf-8").split('id="study">', 1)[1].split("</script>", 1)[0])
    pictured = [payload["classes"][i][0] for i in payload["pictured"]]
    assert len(payload["classes"]) == classes and f"kind-{classes - 1:03d}" in pictured
    images = [t["sprite"][3] for t in payload["trials"]]
    assert min(images) > 0 and max(images) <= 1000
    assert all(c["matrices"][0] for c in payload["configurations"])


@pytest.mark.slow
def test_a_study_of_many_trials_and_classes_keeps_the_scores_that_it_plots(make_trial, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("pathsynth.report.study_view._MOST_RECORDS", 150)
    for rank in (1, 2):
        make_trial(tmp_path / "s" / str(rank), rank=rank, right=right(60), slugs=slugs(60))
    text = write_report(tmp_path / "s").read_text(encoding="utf-8")
    payload = json.loads(text.split('id="study">', 1)[1].split("</script>", 1)[0])
    scored = [payload["classes"][i][0] for i in payload["scored"]]
    assert scored and "kind-059" in scored and "kind-000" not in scored
    assert payload["classMeasures"] == ["First attempts that the gate accepts", "F1 before filtering, judge"]
    assert [[len(flat) for flat in c["classes"]] for c in payload["configurations"]] == [[4 * len(scored)] * 2] * 2
