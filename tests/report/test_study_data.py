"""The record set of a study's page says what the study's files say."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pathsynth.ledger.errors import RequestError
from pathsynth.metrics.comparison import compare, fitted_means
from pathsynth.report import study_view
from pathsynth.report.absent import missing_trials
from pathsynth.report.collect import collect_trials
from pathsynth.report.page import write_merged, write_report
from pathsynth.report.validation_sheets import reel, spread, validation_sheets
from tests.report.classifiers import write_classifier
from tests.report.conftest import write_sheets

BEST = "lora.rank=8, optimizer.lr=0.003"


@pytest.fixture(scope="module")
def page(grid: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_merged(collect_trials(grid), tmp_path_factory.mktemp("page")).read_text(encoding="utf-8")


def record(page: str) -> dict[str, Any]:
    return json.loads(page.split('id="study">', 1)[1].split("</script>", 1)[0])


def results(grid: Path, rank: int, rate: float) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(grid.glob(f"rank={rank},lr={rate},seed=*/result.json"))]


def values(found: list[dict[str, Any]], metric: str, stage: str, scorer: str, slug: str | None = None) -> list[float]:
    wanted = (metric, stage, scorer, slug, "generated")
    return [m["value"] for r in found for m in r["metrics"] if (m["metric"], m["stage"], m["scorer"], m["class"], m["split"]) == wanted]


@pytest.mark.slow
def test_every_trial_has_a_row_with_its_state_and_the_reason(page: str) -> None:
    trials = record(page)["trials"]
    states = {state: sum(t["state"] == state for t in trials) for state in ("done", "failed", "pruned", "running", "missing")}
    assert states == {"done": 65, "failed": 3, "pruned": 1, "running": 1, "missing": 2} and len(trials) == 72
    told = {t["name"]: t["problem"] for t in trials if t["state"] != "done"}
    assert told["rank=1,lr=0.0001,seed=2"] == "CUDA out of memory"
    assert told["rank=2,lr=0.03,seed=1"] == "the search stopped it at step 100"
    assert told["rank=4,lr=0.03,seed=2"] == "finetune: 120 of 300 steps, 2/s, 2 min left"
    assert "planned it" in told["rank=1,lr=0.01,seed=0"]
    assert told["seed 2"].startswith("no trial of it with seed 2")


def test_missing_trials_belong_to_their_configuration(grid: Path) -> None:
    found = {(m.configuration, m.seed) for m in missing_trials(collect_trials(grid))}
    assert found == {("lora.rank=1, optimizer.lr=0.01", "0"), ("lora.rank=2, optimizer.lr=0.0003", "2")}


def test_a_refused_job_and_a_trial_that_is_there_again(study: Path) -> None:
    outcomes = study / ".jobs" / "now" / "outcomes"
    outcomes.mkdir()
    for i, (name, folder, refused) in enumerate([("a-16", str(study / "a-16"), ""), ("rank=3", None, "rank 3 does not fit")]):
        told = {"name": name, "folder": folder, "refused": refused, "busy": False, "own": True}
        (outcomes / f"{i}.json").write_text(json.dumps(told))
    (study / ".jobs" / "odd" / "outcomes").mkdir(parents=True)
    (study / ".jobs" / "odd" / "outcomes" / "0.json").write_text("[")
    assert [(m.name, m.reason) for m in missing_trials(collect_trials(study))] == [("rank=3", "refused: rank 3 does not fit")]


def test_scores_of_a_configuration_are_the_means_of_its_results(page: str, grid: Path) -> None:
    data = record(page)
    best, found = data["configurations"][0], results(grid, 8, 0.003)
    assert best["label"] == BEST and best["settings"] == {"lora.rank": "8", "optimizer.lr": "0.003"}
    keys = [m["key"] for m in data["measures"]]
    for key in ("macro_f1/before filtering/judge", "macro_f1/before filtering/gate", "kid/after filtering/judge"):
        score = best["scores"][keys.index(key)]
        assert score[0] == pytest.approx(fmean(values(found, *key.split("/"))), rel=1e-3)
        assert score[1] <= score[0] <= score[2]
    assert best["scores"][keys.index("macro_f1/before filtering/judge")][3] == 3 * 450, "first attempts of three seeds"
    costs = [r["timings"]["generate"] / 441 for r in found]
    cost = next(i for i, m in enumerate(data["measures"]) if m["alias"] == "cost")
    assert best["scores"][cost][0] == pytest.approx(fmean(costs), rel=1e-3)
    assert data["main"] == "macro_f1/before filtering/judge" and data["main"] in keys


def test_a_confusion_matrix_is_the_sum_over_the_seeds(page: str, grid: Path) -> None:
    data = record(page)
    flat = data["configurations"][0]["matrices"][0]
    total = np.sum([r["extras"]["before filtering/gate"] for r in results(grid, 8, 0.003)], axis=0)
    assert dict(zip(flat[::2], flat[1::2], strict=True)) == {int(i): int(total.ravel()[i]) for i in np.flatnonzero(total)}


def test_attempts_are_those_of_the_log_with_reasons(page: str) -> None:
    data = record(page)
    trial = next(t for t in data["trials"] if t["name"] == "rank=1,lr=0.0001,seed=0")
    rows = [trial["attempts"][i : i + 5] for i in range(0, len(trial["attempts"]), 5)]
    draws = [data["draws"][i : i + 5] for i in range(0, len(data["draws"]), 5)]
    mucus = [slug for slug, _ in data["classes"]].index("mucus")
    slot = [(draws[draw], marks) for draw, _, _, marks, _ in rows if draws[draw][:2] == [mucus, 0]]
    assert [(draw[2], data["texts"][draw[3]], data["texts"][draw[4]]) for draw, _ in slot] == [
        (attempt, str(1000 * mucus + attempt), "an image of mucus") for attempt in range(3)
    ]
    assert [marks % 4 for _, marks in slot] == [2, 0, 3], "rejected with an image, rejected without one, accepted"
    reasons = [data["texts"][marks // 4] for _, marks in slot]
    assert reasons == ["another class is more probable", "the lead over the next class is too small", ""]
    assert trial["sprite"][3] == sum(marks % 4 >= 2 for *_, marks, _ in rows)
    assert {judged for *_, judged in rows} == {-1}, "this trial has no judge's word"
    best = next(t for t in data["trials"] if t["name"] == "rank=8,lr=0.003,seed=0")
    rows = [best["attempts"][i : i + 5] for i in range(0, len(best["attempts"]), 5)]
    told = [(draws[draw][:2], judged) for draw, _, _, _, judged in rows]
    assert told and all(judged == (cls if slot == 0 else (cls + 2) % 9) for (cls, slot), judged in told)


def test_validation_sheets_of_a_trial_stand_in_one_picture_by_their_steps(page: str, grid: Path, tmp_path: Path) -> None:
    reels = {t["name"]: t["reel"] for t in record(page)["trials"]}
    assert reels["rank=8,lr=0.003,seed=0"][1:] == [38, 164, 100, 200] and reels["rank=8,lr=0.003,seed=1"] is None
    assert reels["rank=4,lr=0.03,seed=2"][1:] == [38, 164, 100, 200], "of one that runs, those so far"
    folder = tmp_path / "study" / "trial"
    write_sheets(folder / "grids" / "validation", tuple(range(10, 300, 10)))
    some = spread(validation_sheets(folder), 5)
    assert [sheet.step for sheet in some] == [10, 80, 150, 220, 290], "those of a bundle, too"
    with Image.open(io.BytesIO(reel(some).webp)) as picture:
        assert picture.size == (5 * 38, 164)
        greens = [picture.convert("RGB").getpixel((38 * i + 19, 80))[1] for i in range(5)]
    assert greens == pytest.approx([10, 80, 150, 220, 290 % 256], abs=6), "from left to right"


def test_what_is_no_sheet_is_refused_by_its_name(tmp_path: Path) -> None:
    place = tmp_path / "study" / "trial" / "grids" / "validation"
    place.mkdir(parents=True)
    (place / "first_attempts-000100.png").write_bytes(b"x")
    with pytest.raises(RequestError, match=r"first_attempts-000100\.png is not an image"):
        reel(validation_sheets(place.parents[1]))


def test_a_command_makes_the_trial_again_without_places_on_this_disk(page: str) -> None:
    data = record(page)
    trial = next(t for t in data["trials"] if t["name"] == "rank=8,lr=0.003,seed=1")
    words = [data["texts"][i] for i in trial["command"]]
    assert " ".join(words) == "pathsynth run lora.rank=8 optimizer.lr=0.003 seed=1 study=rank"
    assert "/home/someone" not in page


def test_the_page_is_small_and_asks_no_network_for_anything(page: str) -> None:
    assert len(page) < 1.5e6 and "plotly" not in page
    assert set(re.findall(r"https?://[^\s\"'<>)]+", page)) <= {"http://www.w3.org/2000/svg"}


def test_images_lie_in_the_page_or_all_beside_it(make_sweep: Callable[..., Path], tmp_path: Path, monkeypatch) -> None:
    folder = make_sweep(tmp_path / "rank", ranks=(1, 4), seeds=1, failed=0)
    monkeypatch.setattr(study_view, "_INLINE_BYTES", 1)
    sprites = [t["sprite"][0] for t in record(write_merged(collect_trials(folder), folder).read_text())["trials"]]
    assert all(url.startswith("report_images/") and (folder / url).is_file() for url in sprites)


def test_more_seeds_have_a_command_for_the_leader_and_the_runner_up(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    """Of two ranks that draw alike, the lead is not separable."""
    folder = make_sweep(tmp_path / "rank", ranks=(4, 16), seeds=3, failed=0)
    for path in folder.glob("rank-16-*/result.json"):
        twin = json.loads((folder / path.parent.name.replace("16", "4") / "result.json").read_text())
        own = json.loads(path.read_text())
        for m in twin["metrics"]:
            m["value"] = min(1.0, m["value"] + 0.002 * int(path.parent.name[-1]) if m["metric"] == "macro_f1" else m["value"])
        path.write_text(json.dumps({**own, "metrics": twin["metrics"]}))
    verdict = record(write_merged(collect_trials(folder), folder).read_text())["verdict"]
    more = int(re.search(r"(\d+) more seed", verdict["headline"])[1])
    seeds = f"seed={','.join(str(3 + i) for i in range(more))}" if more <= 8 else f"'seed=range(3,{3 + more})'"
    assert verdict["sure"] is False
    assert verdict["settle"] == [f"pathsynth run -m lora.rank={rank} {seeds}" for rank in (16, 4)]


def test_fitted_means_are_those_of_the_verdict_and_corrected_for_all_pairs() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(0.5, 0.02, (5, 4)) + np.arange(5)[:, None] / 20
    verdict, fit = compare(scores), fitted_means(scores)
    assert fit.means == pytest.approx(verdict.means) and fit.errors == pytest.approx(verdict.errors)
    assert fit.corrected == pytest.approx(4.508 / 2**0.5, rel=1e-3), "from a table: studentized range of 5 means, 12 degrees of freedom"
    with_gap = fitted_means(np.vstack([scores, np.full(4, np.nan)]))
    assert with_gap.means[:5] == pytest.approx(fit.means) and np.isnan(with_gap.means[5])
    assert fitted_means(np.full((2, 2), np.nan)).errors is None


def test_a_study_of_classifiers_is_compared_by_its_scores_and_confusions_on_real_images(tmp_path: Path) -> None:
    for epochs, right in ((1, 20), (9, 40)):
        for seed in (0, 1):
            write_classifier(tmp_path / "gates" / f"e{epochs}s{seed}", epochs, seed, right + seed)
    data = record(write_report(tmp_path / "gates").read_text(encoding="utf-8"))
    best = data["configurations"][0]
    assert (best["label"], len(data["configurations"])) == ("classifier.epochs=9", 2), "the seed tells no configurations apart"
    assert data["verdict"]["headline"].startswith("classifier.epochs=9 leads by 0.4")
    assert "before filtering" not in " ".join(data["verdict"]["details"])
    assert data["main"] == "macro_f1/of the test split/classifier" and data["matrices"][0] == ["of the test split", "classifier"]
    names = [m["name"] for m in data["measures"]]
    assert names[:2] == ["Macro-F1, test images", "Accuracy, test images"] and "Accuracy, val images" in names
    assert best["scores"][1][0] == pytest.approx(40.5 / 50)
    counts = dict(zip(best["matrices"][0][::2], best["matrices"][0][1::2], strict=True))
    assert (counts[0], counts[1]) == (81, 19) and best["matrices"][1] == best["matrices"][0]
    assert data["classMeasures"][0] == "F1, test images" and len(best["classes"][0]) == 4 * 9
