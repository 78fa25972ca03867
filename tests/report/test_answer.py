"""A study's verdict: from trials to one record, and its words on the page, in Markdown and in the status table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pathsynth.__main__ import dispatch
from pathsynth.ledger import records
from pathsynth.ledger.atomic import read_json
from pathsynth.ledger.records import Metric
from pathsynth.report.answer import NO_SCORE, details, effect_row, headline
from pathsynth.report.collect import TrialSummary, collect_scores, collect_trials
from pathsynth.report.formats import markdown
from pathsynth.report.page import write_report
from pathsynth.report.study_verdict import setting_effects, study_verdict
from tests.metric_records import first_attempts_metric


def metric(value: float, scorer: str) -> Metric:
    return first_attempts_metric(value=value, n=450, scorer=scorer, data="phantom")


def trial(settings: Mapping[str, str], judge: float | None, gate: float | None = 0.5) -> TrialSummary:
    differing = tuple(f"{key}={value}" for key, value in settings.items())
    f1_gate, f1_judge = gate and metric(gate, "gate"), judge and metric(judge, "judge")
    folder = Path("t")
    return TrialSummary(
        folder=folder, name="t", study="s", state="done", settings=settings, differing=differing, f1_gate=f1_gate, f1_judge=f1_judge
    )


def study(scores: Mapping[str, Sequence[float | None]]) -> list[TrialSummary]:
    """Ranks, and their scores by the judge at seeds 0, 1, …; None: the trial failed."""
    return [
        trial({"lora.rank": rank, "seed": str(seed)}, value, None if value is None else 0.5)
        for rank, values in scores.items()
        for seed, value in enumerate(values)
    ]


CLEAR = {"4": (0.50, 0.52, 0.51), "16": (0.70, 0.71, 0.72), "1": (0.40, 0.43, 0.40)}
CLOSE = {"4": (0.60, 0.64, 0.70), "16": (0.66, 0.71, 0.65), "1": (0.40, 0.43, 0.45)}


def words(scores: Mapping[str, Sequence[float | None]]) -> tuple[str, str]:
    verdict = study_verdict(study(scores))
    assert verdict is not None
    return headline(verdict), " ".join(details(verdict))


def test_a_lead_beyond_noise() -> None:
    told, more = words(CLEAR)
    assert told == "lora.rank=16 leads by 0.200 · separable from noise over 3 seeds and 3 configurations"
    assert "Each of the 2 other configurations can be distinguished from it." in more
    score = r"macro-F1 before filtering by the judge is 0\.710 \[0\.\d+, 0\.\d+\], corrected .* \(observed: 0\.710; 3 seeds, 1,350"
    assert re.search(score, more)
    assert re.search(r"A trial scatters by 0\.0\d\d around its configuration and seed \(4 degrees of freedom\)\.", more)


def test_a_lead_that_could_be_noise_names_what_it_cannot_be_distinct_from_and_how_many_seeds_would_tell() -> None:
    told, more = words(CLOSE)
    lead, needed = told.rsplit(" · ", 1)
    assert lead == "lora.rank=16 leads by 0.027 · not separable from noise over 3 seeds and 3 configurations"
    assert re.fullmatch(r"\d+ more seeds would detect 0\.027", needed)
    assert "1 of the 2 others cannot be distinguished from it: lora.rank=4." in more
    verdict = study_verdict(study(CLOSE))
    assert verdict is not None and verdict.comparison.score is not None
    assert verdict.comparison.score.value < verdict.leader.mean, "the observed mean was chosen"


def test_one_seed_says_that_its_score_is_biased_and_nothing_of_noise() -> None:
    told, more = words({rank: values[:1] for rank, values in CLOSE.items()})
    assert told == "lora.rank=16 leads by 0.060 · whether that is noise cannot be known from 1 seed and 3 configurations"
    assert "0.660 (1 seed, 450 images), is biased upward, because it was chosen among 3 by the same score" in more
    assert "distinguished from" not in more and "scatters" not in more


def test_trials_that_failed_diverged_or_stand_alone_are_reported() -> None:
    rng = np.random.default_rng(0)
    scores: dict[str, list[float | None]] = {str(i): list(0.5 + 0.04 * rng.normal(size=4)) for i in range(6)}
    scores["6"] = [0.72, 0.7, 0.71, 0.05]
    scores["2"][1] = None
    scores["7"] = [None] * 4 + [0.9]
    told, more = words(scores)
    assert told.startswith("lora.rank=6 leads by 0.1") and "where it did not diverge (1 trial)" in told
    assert "over 4 seeds and 7 configurations" in told
    assert "Left out because the trial diverged: lora.rank=6, seed=3 (0.050)." in more
    assert "Not compared because they share no seed with the rest: lora.rank=7." in more


def test_one_configuration_and_none() -> None:
    assert study_verdict([]) is None and headline(None) == NO_SCORE
    told, more = words({"4": (0.5, 0.6, 0.7)})
    assert told == "lora.rank=4: macro-F1 0.600 before filtering, by the judge; nothing to compare it with"
    assert "is 0.600 [0.352, 0.848] (3 seeds, 1,350 images)." in more


def test_the_judge_ranks_where_all_have_it_and_the_gate_where_one_has_it_not() -> None:
    trials = [trial({"lora.rank": "1", "seed": "0"}, 0.9, 0.4), trial({"lora.rank": "4", "seed": "0"}, 0.3, 0.8)]
    judged, gated = study_verdict(trials), study_verdict([*trials, trial({"lora.rank": "8", "seed": "0"}, None, 0.1)])
    assert judged is not None and (judged.scorer, judged.leader.label) == ("judge", "lora.rank=1")
    assert gated is not None and (gated.scorer, gated.leader.label) == ("gate", "lora.rank=4")


def test_effects_in_words() -> None:
    verdict = study_verdict(study(CLEAR))
    assert verdict is not None
    (effect,) = setting_effects(verdict)
    name, contrast, difference, means = effect_row(effect)
    assert (name, contrast) == ("lora.rank", "16 over 1")
    assert re.fullmatch(r"0\.300 \[0\.\d+, 0\.\d+\], beyond noise", difference)
    assert means == "4: 0.510 (n=3); 16: 0.710 (n=3); 1: 0.410 (n=3)"


def test_page_markdown_and_status_say_the_same(make_sweep: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_sweep(tmp_path / "rank")
    line = headline(study_verdict(collect_trials(folder)))
    assert "lora.rank=16 leads by 0." in line and "3 seeds and 3 configurations" in line
    page = write_report(folder).read_text(encoding="utf-8")
    payload = json.loads(page.split('id="study">', 1)[1].split("</script>", 1)[0])
    assert f'id="answer">{line}<' in page and [e["settings"] for e in payload["effects"]] == [["lora.rank"]]
    text = markdown(collect_trials(folder))
    assert text.startswith(f"**{line}**\n") and "| lora.rank | 16 over 1 |" in text
    assert dispatch(["status", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert line in printed.splitlines() and "macro-F1 before filtering, judge" in printed
    assert dispatch(["status", "--json", str(folder)]) == 0
    assert json.loads(capsys.readouterr().out)["studies"]["rank"]["verdict"] == line


def test_light_summaries_hold_the_same_scores(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank")
    whole = collect_trials(folder)
    light = collect_scores({t.folder: [score for score in (t.f1_gate, t.f1_judge) if score] for t in whole})
    assert [(t.label, t.f1_gate, t.f1_judge, t.state) for t in light] == [(t.label, t.f1_gate, t.f1_judge, t.state) for t in whole]


def test_a_table_of_trials_reads_each_result_once(make_sweep: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_sweep(tmp_path / "rank")
    read: list[Path] = []

    def noted(path: Path) -> Any:
        read.append(path)
        return read_json(path)

    monkeypatch.setattr(records, "read_json", noted)
    monkeypatch.setenv("PATHSYNTH_CACHE", str(tmp_path / "cache"))
    assert dispatch(["status", str(folder)]) == 0
    assert sorted(read) == sorted(folder.glob("*/result.json"))
