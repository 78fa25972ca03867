"""The dashboard in a real browser, from disk: what a reader learns from it is what the result files say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from pathsynth.report.answer import headline
from pathsynth.report.collect import collect_trials
from pathsynth.report.comparison import study_verdict
from pathsynth.report.page import write_merged, write_report
from pathsynth.report.trial_view import class_name

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")]
HOSTILE = '<img src=x onerror="window.broken=1"></script><script>window.broken=1</script>'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def opened(browser: Any, path: Path, width: int = 1280) -> Any:
    """The page, once drawn; an error on the console or a request other than for the page itself fails the test."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    troubles: list[str] = []
    page.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: troubles.append(str(e)))
    page.on("request", lambda r: troubles.append(r.url) if not r.url.startswith(("data:", "blob:", path.parent.as_uri())) else None)
    page.goto(path.as_uri())
    try:
        page.wait_for_selector("html[data-ready=yes]", timeout=20_000, state="attached")
    except sync_api.TimeoutError:
        pytest.fail(f"the page was not drawn: {troubles}")
    assert troubles == []
    page.troubles = troubles
    return page


def results(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/result.json")}


def value(result: dict[str, Any], metric: str, scorer: str, slug: str | None = None) -> float:
    return next(
        m["value"]
        for m in result["metrics"]
        if (m["metric"], m["stage"], m["scorer"], m["class"], m["split"]) == (metric, "before filtering", scorer, slug, "generated")
    )


def test_the_six_questions_are_answered(browser: Any, make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank")
    page = opened(browser, write_report(folder))
    found = results(folder)
    f1 = {rank: [value(r, "macro_f1", "judge") for n, r in found.items() if n.startswith(f"rank-{rank}-")] for rank in (1, 4, 16)}
    best = max(f1, key=lambda rank: fmean(f1[rank]))
    answer = page.inner_text("#answer")
    assert answer == headline(study_verdict(collect_trials(folder)))
    assert answer.startswith(f"lora.rank={best} leads by ") and "over 3 seeds and 3 configurations" in answer
    assert f"(observed: {fmean(f1[best]):.3f}; 3 seeds" in page.inner_text("#details")
    assert page.inner_text("#effects tbody tr").startswith("lora.rank") and page.locator("#effect-plot .plotly").count() == 1
    row = page.locator("#trials tbody tr", has_text="rank=16,seed=1").inner_text()
    exhausted = value(found["rank-16-1"], "exhausted_slots", "gate")
    assert f"{found['rank-16-1']['timings']['generate'] / (450 - exhausted):.2f}" in row.split("\t")
    slugs = [m["class"] for m in found["rank-16-0"]["metrics"] if m["metric"] == "acceptance" and m["class"]]
    worst = min(slugs, key=lambda slug: value(found["rank-16-0"], "acceptance", "gate", slug))
    counts = found["rank-16-0"]["extras"]["before filtering/gate"][slugs.index(worst)]
    taken = slugs[max((i for i in range(9) if slugs[i] != worst), key=counts.__getitem__)]
    weakness = page.inner_text("#weakness")
    assert f"{class_name(worst)} fails most" in weakness and weakness.endswith(f"taken for {class_name(taken)}.")
    assert page.inner_text("#failures li").endswith("failed: the loss became nan")
    headings = page.locator("#images h3").all_inner_texts()
    assert len(headings) == 2 and "rank=16, seed 1" in headings[0] and "rank=1, seed 1" in headings[1]
    assert page.locator("#images .tile[data-kind=first]").count() == 20


def test_sort_filter_choose_compare_enlarge_print(browser: Any, make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank")
    page = opened(browser, write_report(folder))
    page.click("#trials th button:has-text('F1, judge')")
    first = page.locator("#trials tbody tr").first.inner_text()
    assert f"{max(value(r, 'macro_f1', 'judge') for r in results(folder).values()):.3f}" in first
    page.fill("#filter", "rank=16")
    assert page.locator("#trials tbody tr").count() == 3
    page.click("summary:has-text('Columns')")
    page.uncheck("#columns label:has-text('KID') input")
    assert "KID" not in page.inner_text("#trials thead")
    page.fill("#filter", "seed=1")
    boxes = page.locator("#trials tbody input:not([disabled])")
    for i in range(2):
        boxes.nth(i).check()
    assert "over" in page.inner_text("#compared") and "lora.rank" in page.inner_text("#compared")
    page.locator("#images .tile").first.press("Enter")
    assert page.locator("#enlarged").is_visible()
    assert "probability" in page.inner_text("#enlarged") and "0.75" in page.inner_text("#enlarged")
    page.keyboard.press("Escape")
    assert not page.locator("#enlarged").is_visible()
    assert page.pdf().startswith(b"%PDF")
    assert page.troubles == []


def test_hostile_names_are_inert_and_phones_do_not_scroll_sideways(browser: Any, make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank", prompt=HOSTILE)
    for path in folder.glob("*/manifest.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "name": HOSTILE}))
    page = opened(browser, write_report(folder), width=390)
    page.locator("#images .tile").first.click()
    assert HOSTILE in page.inner_text("#enlarged")
    assert page.evaluate("window.broken") is None
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_two_hundred_trials_make_one_page_that_answers_before_its_plots(
    browser: Any, make_sweep: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_sweep(tmp_path / "rank", ranks=tuple(range(1, 41)), seeds=5, failed=2)
    path = write_merged(collect_trials(folder), folder)
    assert path.stat().st_size < 15e6 and not (folder / "report_images").exists()
    page = opened(browser, path)
    assert page.locator("#trials tbody tr").count() == 200
    loaded = "performance.getEntriesByType('navigation')[0].loadEventStart"
    assert page.evaluate(f"performance.getEntriesByName('usable')[0].startTime < {loaded}"), "before Plotly has been read"
    page.fill("#filter", "seed=3 failed")
    assert page.locator("#trials tbody tr").count() == 0
    page.fill("#filter", "failed")
    assert page.locator("#trials tbody tr").count() == 2
    assert page.locator("#parallel .scatterlayer .trace").count() <= 5, "a trace for each shade, not for each trial"
