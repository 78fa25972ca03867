"""The dashboard in a real browser, from disk: what a reader learns from it is what the result files say."""

from __future__ import annotations

import json
import re
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
from pathsynth.report.plots import JUDGE_COLOUR
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
    assert f"the weakest class is {class_name(worst)}: " in weakness and weakness.endswith(f"taken for {class_name(taken)}.")
    assert page.inner_text("#failures li").endswith("failed: the loss became nan")
    headings = page.locator("#images h3").all_inner_texts()
    assert len(headings) == 2 and "rank=16, seed 1" in headings[0] and "rank=1, seed 1" in headings[1]
    assert page.locator("#images .tile[data-kind=first]").count() == 20


def test_a_metric_of_ones_own_has_a_column(browser: Any, make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank")
    path = folder / "rank-16-1" / "result.json"
    record = json.loads(path.read_text())
    own = {"metric": "gap <b>", "stage": "after filtering", "scorer": None, "value": 2.5, "low": 2.25, "high": 2.75, "n": 441}
    record["metrics"].append({**record["metrics"][0], "class": None, **own})
    path.write_text(json.dumps(record))
    page = opened(browser, write_report(folder))
    assert "gap <b>, after filtering" in page.inner_text("#trials thead")
    cells = {name: page.locator("#trials tbody tr", has_text=name).inner_text() for name in ("rank=16,seed=1", "rank=16,seed=2")}
    assert ["2.500 [2.250, 2.750] n=441" in row for row in cells.values()] == [True, False]


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


def rates(make_trial: Callable[..., Path], folder: Path, values: tuple[float, ...]) -> Path:
    """A study of learning rates."""
    for i, rate in enumerate(values):
        trial = make_trial(folder / f"t{i}", name=f"t{i}")
        manifest = json.loads((trial / "manifest.json").read_text())
        manifest["config"]["optimizer"]["lr"] = rate
        (trial / "manifest.json").write_text(json.dumps(manifest))
    return folder


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours, as ``rgb(r, g, b)`` or ``#rrggbb``."""

    def luminance(colour: str) -> float:
        found = re.findall(r"\d+", colour)[:3] if colour.startswith("rgb") else [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (int(v) / 255 for v in found)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_no_chart_can_be_sent_to_a_cloud_service(browser: Any, make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    path = write_report(make_sweep(tmp_path / "rank"))
    text = path.read_text(encoding="utf-8")
    assert "cloud.plotly.com" not in text and "chart-studio.plotly.com" not in text
    page = opened(browser, path)
    titles = page.eval_on_selector_all(".modebar-btn", "nodes => nodes.map(n => n.dataset.title || '')")
    assert titles and not [title for title in titles if re.search(r"share|cloud|upload|edit", title, re.IGNORECASE)]
    assert set(page.eval_on_selector_all(".js-plotly-plot", "nodes => nodes.map(n => n._context.plotlyServerURL)")) == {""}


def test_numbers_stand_on_their_axis_by_value(browser: Any, make_trial: Callable[..., Path], tmp_path: Path) -> None:
    page = opened(browser, write_report(rates(make_trial, tmp_path / "s", (0.001, 0.02, 0.0003, 0.006, 1e-05))))
    notes = page.evaluate("document.getElementById('parallel').layout.annotations.map(a => [a.y, a.text])")
    assert [text for _, text in sorted(notes)] == ["1e-05", "0.0003", "0.001", "0.006", "0.02"]
    lines = page.evaluate("document.getElementById('parallel').layout.shapes.map(s => s.x0)")
    assert lines == [0, 1], "an axis for the rate, and one for the score"


def test_a_filter_names_a_value_and_not_its_beginning(browser: Any, make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank")
    page = opened(browser, write_report(folder))
    f1 = [value(r, "macro_f1", "judge") for r in results(folder).values()]
    middle = sorted(f1)[4]

    def rows(text: str) -> int:
        page.fill("#filter", text)
        return page.locator("#trials tbody tr").count()

    assert [rows(f"rank={rank}") for rank in (1, 4, 16)] == [3, 3, 3]
    assert rows("lora.rank!=16 seed=1") == 2 and rows("rank>=4 rank<16") == 3
    assert rows(f"f1>{middle}") == sum(v > middle for v in f1) > 0 and rows("f1>1") == 0
    assert rows("state:failed") == 1 and rows("failed") == 1 and rows("NaN") == 1


def test_classes_show_the_mean_of_all_seeds_and_whole_marks(browser: Any, make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank", failed=0)
    page = opened(browser, write_report(folder))
    page.select_option("#class-metric", "acceptance / before filtering / gate")
    found = results(folder)
    mucus = [value(r, "acceptance", "gate", "mucus") for name, r in found.items() if name.startswith("rank-16-")]
    traces = page.evaluate("document.getElementById('classes').data.map(t => [t.name, t.x, t.error_x.array, t.cliponaxis])")
    name, x, above, clipped = next(t for t in traces if t[0].startswith("lora.rank=16"))
    slugs = list(dict.fromkeys(m["class"] for m in found["rank-16-0"]["metrics"] if m["class"] and m["split"] == "generated"))
    at = slugs.index("mucus")
    assert name == "lora.rank=16 (3 seeds)" and x[at] == pytest.approx(fmean(mucus))
    assert x[at] + above[at] == pytest.approx(max(mucus)) and clipped is False
    assert page.evaluate("document.getElementById('classes').layout.xaxis.range")[1] > 1
    zero_lines = "['classes', 'cost'].flatMap(id => ['xaxis', 'yaxis'].map(a => document.getElementById(id)._fullLayout[a].zeroline))"
    assert not any(page.evaluate(zero_lines)), "none strikes through a label"


def test_of_many_classes_the_weakest_are_plotted_first(browser: Any, make_trial: Callable[..., Path], tmp_path: Path) -> None:
    slugs = tuple(f"kind-{i:02d}" for i in range(60))
    for rank in (1, 2):
        make_trial(tmp_path / "s" / str(rank), rank=rank, right=tuple(50 - i // 2 for i in range(60)), slugs=slugs)
    page = opened(browser, write_report(tmp_path / "s"))
    ticks = "document.getElementById('classes').layout.yaxis.ticktext.length"
    page.select_option("#class-metric", "acceptance / before filtering / gate")
    assert page.evaluate(ticks) == 30
    assert page.evaluate("document.getElementById('classes').layout.yaxis.ticktext[0]") in ("kind 58", "kind 59")
    page.check("#all-classes input")
    assert page.evaluate(ticks) == 60
    assert page.locator("#tissue option").count() == 60


def test_means_of_configurations_have_a_table_of_their_own(browser: Any, make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    page = opened(browser, write_report(make_sweep(tmp_path / "rank", failed=0)))
    for name in ("rank=16,seed=0", "rank=16,seed=1", "rank=4,seed=1"):
        page.locator("#trials tbody tr", has_text=name).locator("input").check()
    trials, configurations = (page.locator("#compared table").nth(i).inner_text() for i in (0, 1))
    assert "minus" not in trials and trials.splitlines()[0].split("\t")[1:] == ["rank=16,seed=0", "rank=16,seed=1", "rank=4,seed=1"]
    rows = [line.split("\t") for line in configurations.splitlines()]
    assert rows[0] == ["configuration", "lora.rank=16", "lora.rank=4"] and rows[1] == ["seeds", "3", "3"]
    assert rows[3][0] == "minus the first’s" and rows[3][2].startswith("-")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_outshine_the_grid_and_can_be_told_from_the_page(browser: Any, make_sweep, tmp_path: Path, scheme: str) -> None:
    path = write_report(make_sweep(tmp_path / "rank", failed=0))
    page = browser.new_page(color_scheme=scheme)
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready=yes]", timeout=20_000, state="attached")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    shades = page.evaluate("document.getElementById('parallel').data.map(t => t.line.color)")
    grid = page.evaluate("document.getElementById('cost')._fullLayout.xaxis.gridcolor")
    assert len(set(shades)) > 1 and min(contrast(shade, ground) for shade in shades) >= 3
    assert contrast(grid, ground) < 1.6
    trial = next(path.parent.glob("*/report.html"))
    page.goto(trial.as_uri())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ground
    assert contrast(page.evaluate("getComputedStyle(document.querySelector('.kicker')).color"), ground) >= 4.5
    page.click(".kicker a")
    assert page.url == path.as_uri(), "a trial's page leads to its study's"


@pytest.mark.parametrize("width", [390, 1280])
def test_plots_have_room_beside_their_legend_and_labels(browser: Any, make_sweep, tmp_path: Path, width: int) -> None:
    folder = make_sweep(tmp_path / "rank", ranks=tuple(range(1, 9)), seeds=2, failed=0)
    page = opened(browser, write_report(folder), width=width)
    for chart in ("parallel", "cost", "curves", "classes"):
        size = page.evaluate(f"(s => [s.w, s.h])(document.getElementById('{chart}')._fullLayout._size)")
        assert size[0] > 0.33 * width and size[1] > 150, chart
    assert (page.locator(".modebar-btn").count() > 0) == (width > 640), "on a phone the toolbar would cover the titles"
    labels = "[...document.querySelectorAll('.js-plotly-plot .ytick text, .gtitle, .legendtext')].map(n => n.getBoundingClientRect())"
    edges = page.evaluate(f"{labels}.flatMap(b => [b.left, b.right])")
    assert edges and min(edges) >= 0 and max(edges) <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_trial_page_shows_plots_at_their_size_in_the_colours_of_its_text(browser: Any, make_trial, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(write_report(make_trial(tmp_path / "t")).as_uri())
    widths = page.eval_on_selector_all("img.plot", "nodes => nodes.map(n => [n.width, n.naturalWidth])")
    assert widths and all(shown == own for shown, own in widths), "none is blown up"
    judge = page.evaluate("getComputedStyle(document.querySelector('.judge')).color")
    assert contrast(judge, JUDGE_COLOUR) == 1 and re.findall(r"\d+", judge) == [str(int(JUDGE_COLOUR[i : i + 2], 16)) for i in (1, 3, 5)]
    sentences = page.eval_on_selector_all("p", "nodes => nodes.map(n => n.innerText)")
    assert not [s for s in sentences if re.search(r"\s[),.;:]", s)], "no bracket or stop stands alone"
