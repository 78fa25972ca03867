"""The numbers of a trial in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pathsynth.ledger.records import Metric
from pathsynth.report import paper
from pathsynth.report.panel_view import panel_sentence
from pathsynth.report.scores import AFTER, BEFORE, GATE, JUDGE, REJECTED, Scores, percent


@dataclass(frozen=True)
class Independence:
    """Which part of the training images gate and judge were trained on, and whether they share none."""

    disjoint: bool
    gate_part: str
    judge_part: str


def independence(settings: Mapping[str, str]) -> Independence:
    """From the settings of gate and judge; unknown parts count as shared."""
    gate, judge = settings.get("gate.part", "unknown"), settings.get("judge.part", "unknown")
    return Independence({gate, judge} == {"a", "b"}, gate, judge)


def summary(scores: Scores) -> str:
    """One sentence: how often the first attempt was right, by gate and judge, and what the judge says of the accepted."""
    gate, judge = scores.generated("accuracy", BEFORE, GATE), scores.generated("accuracy", BEFORE, JUDGE)
    after = scores.generated("accuracy", AFTER, JUDGE)
    if gate is None and judge is None:
        return "No generated images were scored."
    shares = [f"{percent(m)} according to the {name}" for name, m in (("gate", gate), ("independent judge", judge)) if m]
    n = next(m.n for m in (gate, judge) if m)
    first = f"Of {n:,} images drawn at the first attempt, the share that shows the requested tissue is {' and '.join(shares)}"
    if after is None:
        return f"{first}; none of the accepted images was scored by the judge."
    return f"{first}; of the {after.n:,} images that passed the gate in the end, the judge confirms {percent(after)}."


def remarks(scores: Scores, names: Mapping[str, str]) -> tuple[str, ...]:
    """Short sentences on what to look at; ``names`` maps class slugs to names."""
    sentences = (
        panel_sentence(scores),
        _phantoms(scores),
        _hardest(scores, names),
        _exhausted(scores),
        _filtering(scores),
        _disagreement(scores),
        _beside_paper(scores, names),
    )
    return tuple(sentence for sentence in sentences if sentence)


def _phantoms(scores: Scores) -> str:
    if not any(m.data.startswith("phantom") for m in scores.metrics):
        return ""
    return "The data are phantoms: what this page calls real images is drawn by a program after nine tissue types, not photographed."


def _hardest(scores: Scores, names: Mapping[str, str]) -> str:
    rates = {slug: m for slug in names if (m := scores.generated("acceptance", BEFORE, GATE, slug))}
    hard = sorted((m.value, slug) for slug, m in rates.items() if m.value < 0.5)[:3]
    if not hard:
        return ""
    listed = ", ".join(f"{names[slug]} ({round(value * rates[slug].n)} of {rates[slug].n})" for value, slug in hard)
    return f"Hardest to draw, by first attempts that the gate accepts: {listed}."


def _exhausted(scores: Scores) -> str:
    m = scores.generated("exhausted_slots", BEFORE, GATE)
    if m is None:
        return ""
    if m.value == 0:
        return f"Every one of the {m.n:,} requested images was accepted within the allowed attempts."
    return f"{m.value:.0f} of {m.n:,} requested images never passed the gate within the allowed attempts. They are included in the counts."


def _filtering(scores: Scores) -> str:
    """What filtering gives and takes: agreement by the judge, and coverage, of first attempts beside accepted images."""
    found = [scores.generated(name, stage, JUDGE) for name in ("accuracy", "coverage") for stage in (BEFORE, AFTER)]
    right, right_after, covered, covered_after = found
    if not (right and right_after and covered and covered_after):
        return ""
    said = (
        f"From the first attempts to the accepted images, the share that the judge confirms goes from {percent(right)} to "
        f"{percent(right_after)}, and the share of the real images that they cover from {percent(covered)} "
        f"({covered.n:,} images) to {percent(covered_after)} ({covered_after.n:,})"
    )
    lost = scores.generated(f"{REJECTED}confirmed", BEFORE, JUDGE)
    return f"{said}; of the {lost.n:,} rejected first attempts the judge would have confirmed {percent(lost)}." if lost else f"{said}."


def _disagreement(scores: Scores) -> str:
    gate, judge = scores.generated("macro_f1", BEFORE, GATE), scores.generated("macro_f1", BEFORE, JUDGE)
    if gate is None or judge is None or not _apart(gate, judge):
        return ""
    kinder = "gate" if gate.value > judge.value else "judge"
    return (
        f"Gate and judge do not agree on the first attempts: the {kinder} scores them clearly higher "
        f"(macro-F1 {gate.value:.3f} by the gate, {judge.value:.3f} by the judge)."
    )


def _apart(a: Metric, b: Metric) -> bool:
    """Whether both have intervals and these do not overlap."""
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return a.high < b.low or b.high < a.low


def _beside_paper(scores: Scores, names: Mapping[str, str]) -> str:
    m = scores.generated("macro_f1", BEFORE, GATE)
    if m is None or m.low is None or m.high is None or set(names) != set(paper.BY_CLASS):
        return ""
    low, high = paper.MACRO_F1_INTERVAL
    where = "lies above" if m.low > high else "lies below" if m.high < low else "overlaps"
    return (
        f"By the gate, the macro-F1 interval [{m.low:.2f}, {m.high:.2f}] {where} the published one [{low:.2f}, {high:.2f}] "
        f"(n={paper.IMAGES}); other images and another classifier, so the same kind of number, not the same test."
    )
