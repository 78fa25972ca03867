from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pathsynth.ledger.records import Metric
from pathsynth.report.collect import collect_trials
from pathsynth.report.scores import Scores
from pathsynth.report.summary import independence, remarks, summary
from pathsynth.report.trial_view import class_name


@pytest.fixture
def scores(study: Path) -> Scores:
    found = collect_trials(study / "b-4")[0].result
    assert found is not None
    return Scores(found.metrics)


def names(scores: Scores) -> dict[str, str]:
    return {slug: class_name(slug) for slug in scores.slugs}


def with_f1(scores: Scores, gate: tuple[float, float, float], judge: tuple[float, float, float]) -> Scores:
    """The same scores with other before-filter macro-F1 values (value, low, high)."""
    given = {"gate": gate, "judge": judge}

    def changed(m: Metric) -> Metric:
        if m.metric != "macro_f1" or m.stage != "before filtering" or m.scorer is None:
            return m
        value, low, high = given[m.scorer]
        return replace(m, value=value, low=low, high=high)

    return Scores(tuple(changed(m) for m in scores.metrics))


def test_verdict_is_one_sentence_with_the_three_scores(scores: Scores) -> None:
    assert summary(scores) == (
        "Of 450 images drawn at the first attempt, the share that shows the requested tissue is 70% according to the gate and "
        "66% according to the independent judge; of the 441 images that passed the gate in the end, the judge confirms 92%."
    )


def test_verdict_without_accepted_images(scores: Scores) -> None:
    before = Scores(tuple(m for m in scores.metrics if m.stage != "after filtering"))
    assert summary(before).endswith("none of the accepted images was scored by the judge.")
    assert summary(Scores(())) == "No generated images were scored."


def test_remarks_name_the_hardest_classes_first(scores: Scores) -> None:
    said = remarks(scores, names(scores))
    assert "Hardest to draw, by first attempts that the gate accepts: normal colon mucosa (12 of 50), mucus (20 of 50)." in said
    assert any(s.startswith("9 of 450 requested images") for s in said)


def test_remark_on_what_filtering_gives_and_takes(scores: Scores) -> None:
    found = [s for s in remarks(scores, names(scores)) if s.startswith("From the first attempts")]
    assert found == [
        "From the first attempts to the accepted images, the share that the judge confirms goes from 66% to 92%, and the share of the real "
        "images that they cover from 41% (450 images) to 52% (450); of the 137 rejected first attempts the judge would have confirmed 35%."
    ]
    unfiltered = Scores(tuple(m for m in scores.metrics if m.stage != "after filtering"))
    assert not [s for s in remarks(unfiltered, names(scores)) if s.startswith("From the first attempts")]


@pytest.mark.parametrize(
    ("low", "high", "words"), [(0.61, 0.70, "overlaps the"), (0.75, 0.80, "lies above the"), (0.40, 0.50, "lies below the")]
)
def test_remark_beside_the_paper(scores: Scores, low: float, high: float, words: str) -> None:
    ours = ((low + high) / 2, low, high)
    said = " ".join(remarks(with_f1(scores, ours, ours), names(scores)))
    assert f"[{low:.2f}, {high:.2f}] {words} published one [0.60, 0.73]" in said


def test_remark_where_gate_and_judge_disagree(scores: Scores) -> None:
    apart = with_f1(scores, (0.9, 0.88, 0.92), (0.5, 0.45, 0.55))
    assert "the gate scores them clearly higher" in " ".join(remarks(apart, names(scores)))
    assert "do not agree" not in " ".join(remarks(scores, names(scores)))


def test_independence_needs_disjoint_parts() -> None:
    assert independence({"gate.part": "a", "judge.part": "b"}).disjoint
    assert not independence({"gate.part": "a", "judge.part": "all"}).disjoint
    assert not independence({"gate.part": "a", "judge.part": "a"}).disjoint
    assert not independence({}).disjoint
