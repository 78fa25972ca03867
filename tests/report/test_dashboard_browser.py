"""The study page in a real browser, from disk: what a reader learns from it is what the study's files say."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from pathsynth.report import study_view
from pathsynth.report.answer import headline
from pathsynth.report.collect import collect_trials, merge_trials
from pathsynth.report.page import write_collection, write_merged, write_report
from pathsynth.report.plots import JUDGE_COLOUR
from pathsynth.report.study_verdict import study_verdict
from pathsynth.report.trial_view import class_name
from pathsynth.vocabulary.labels import COLORECTAL
from tests.chromium import faults_of_access
from tests.report.classifiers import write_classifier

pytestmark = pytest.mark.browser
HOSTILE = '<img src=x onerror="window.broken=1"></script><script>window.broken=1</script>'
BEST, SECOND, WORST = "rank 8 · lr 0.003", "rank 8 · lr 0.001", "rank 1 · lr 0.0001"


@pytest.fixture(scope="module")
def file(grid: Path) -> Path:
    return write_merged(collect_trials(grid), grid)


def opened(browser: Any, path: Path, width: int = 1440, scheme: str = "light", view: str = "") -> Any:
    """The page, once drawn; an error on the console or a request other than for the page itself fails the test."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    troubles: list[str] = []
    page.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: troubles.append(str(e)))
    page.on("request", lambda r: troubles.append(r.url) if not r.url.startswith(("data:", "blob:", path.parent.as_uri())) else None)
    page.goto(path.as_uri() + (f"#{view}" if view else ""))
    with contextlib.suppress(Exception):  # what went wrong is among the troubles
        page.wait_for_selector("html[data-ready=yes]", timeout=20_000, state="attached")
    assert troubles == [] and page.locator("html[data-ready=yes]").count() == 1, "the page is drawn"
    page.troubles = troubles
    return page


def tab(page: Any, name: str) -> str:
    """Open a tab; what it says."""
    page.click(f"#tabs button:has-text('{name}')")
    return page.inner_text("#panel")


def rows(page: Any) -> list[list[str]]:
    """The rows of configurations as a person reads them: rank and the cells after it."""
    found = page.locator("#board tbody tr:not(.trial):not(.spacer)").all()
    return [[" ".join(c.split()) for c in row.locator("td").all_inner_texts()] for row in found]


def settings_of(page: Any) -> list[str]:
    return [f"rank {row[0]} · lr {row[1]}" for row in rows(page)]


def results(folder: Path, rank: int, rate: float) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"rank={rank},lr={rate},seed=*/result.json"))]


def value(result: dict[str, Any], metric: str, scorer: str, slug: str | None = None) -> float:
    return next(
        m["value"]
        for m in result["metrics"]
        if (m["metric"], m["stage"], m["scorer"], m["class"], m["split"]) == (metric, "before filtering", scorer, slug, "generated")
    )


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours, as ``rgb(r, g, b)`` or ``#rrggbb``."""

    def luminance(colour: str) -> float:
        found = re.findall(r"\d+", colour)[:3] if colour.startswith("rgb") else [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (int(v) / 255 for v in found)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_ten_questions_are_answered_as_the_files_do(browser: Any, file: Path) -> None:
    grid, page = file.parent, opened(browser, file)
    best = results(grid, 8, 0.003)

    # 1 Which configuration is best?
    f1 = fmean(value(r, "macro_f1", "judge") for r in best)
    first = rows(page)[0]
    assert settings_of(page)[0] == BEST and first[2].startswith(f"{f1:.3f}") and first[3] == "★ baseline"
    # 2 Is that beyond noise?
    answer = page.inner_text("#answer")
    assert answer == headline(study_verdict(collect_trials(grid))) and "not separable from noise over 3 seeds" in answer
    second = rows(page)[1]
    low, high = (float(x.replace("−", "-")) for x in re.findall(r"−?\d\.\d+", second[3])[1:])
    assert settings_of(page)[1] == SECOND and low < 0 < high, "the corrected interval holds 0"
    # 3 What does an accepted image cost?
    exhausted = value(best[0], "exhausted_slots", "gate")
    cost = fmean(r["timings"]["generate"] / (450 - exhausted) for r in best)
    heads = [" ".join(h.split()) for h in page.locator("#board thead th").all_inner_texts()][1:]
    assert first[next(i for i, h in enumerate(heads) if h.startswith("s per image"))] == f"{cost:.2f}"
    # 4 Which class fails most, and as what?
    slugs = list(dict.fromkeys(m["class"] for m in best[0]["metrics"] if m["class"] and m["split"] == "generated"))
    worst = min(slugs, key=lambda slug: fmean(value(r, "acceptance", "gate", slug) for r in best))
    counts = np.sum([r["extras"]["before filtering/gate"] for r in best], axis=0)[slugs.index(worst)]
    taken = max((i for i in range(9) if slugs[i] != worst), key=counts.__getitem__)
    tab(page, "Classes")
    weakest = page.locator("#classes tbody tr").first
    assert weakest.locator("th").inner_text() == class_name(worst)
    assert weakest.locator("td").last.inner_text() == f"{class_name(slugs[taken])} ({counts[taken]} of {counts.sum()})"
    # 5 Which trials failed, and why?
    page.click("#unfinished summary")
    told = page.inner_text("#unfinished")
    for path in grid.glob("*/state.json"):
        state = json.loads(path.read_text())
        if state["state"] in ("failed", "pruned"):
            rank, rate, seed = re.findall(r"=([\d.e-]+)", path.parent.name)
            assert f"{state['state']} rank {rank} · lr {rate}, seed {seed}: {state['reason']}" in told
    assert "missing rank 2 · lr 0.0003, seed 2: no trial of it with seed 2" in told
    # 6 What did the best and the worst draw at the same slot?
    tab(page, "Images")
    shown = page.locator("table.images tbody tr").all()
    assert [row.locator("th").inner_text().split("\n")[0] for row in (shown[0], shown[-1])] == [BEST, WORST]
    column = slugs.index("mucus")
    tiles = [row.locator("td").nth(column).locator(".tile") for row in (shown[0], shown[-1])]
    assert [t.get_attribute("data-slot") for t in tiles] == ["0", "0"]
    assert "rejected: another class is more probable" in (tiles[1].get_attribute("aria-label") or "")
    # 7 What differs in their settings?
    tab(page, "Compare")
    unlike = [[" ".join(c.split()) for c in r.locator("th, td").all_inner_texts()] for r in page.locator("#unlike tbody tr").all()]
    assert unlike[:2] == [["lora.rank", "8", "8", "1"], ["optimizer.lr", "0.003", "0.001", "0.0001"]]
    # 8 How did the loss go?
    loss = np.mean([np.genfromtxt(p, delimiter=",", skip_header=1)[:, 1] for p in grid.glob("rank=8,lr=0.003,*/history.csv")], axis=0)
    assert f"{loss[0]:.3f} at step 0 → {loss[-1]:.3f} at step 300" in tab(page, "Training")
    # 9 What would settle it?
    page.click("#verdict summary")
    wanted = re.search(r"(\d+) more seed", answer)
    assert wanted, answer
    more = int(wanted[1])
    assert more > 8
    seeds = f"'seed=range(3,{3 + more})'"
    commands = page.locator("#settle code").all_inner_texts()
    assert commands == [f"pathsynth run -m lora.rank=8 optimizer.lr={rate} study=rank {seeds}" for rate in (0.003, 0.001)]
    # 10 How do I make this trial again?
    overrides = json.loads((grid / "rank=1,lr=0.0001,seed=1" / "manifest.json").read_text())["overrides"]
    assert f"pathsynth run {' '.join(overrides[:-1])}" in tab(page, "Compare"), "all but the folder of results"
    assert page.troubles == []


OUTLINES = Path(__file__).with_name("study_page_outlines.json")
OUTLINE = """name => {
  const clean = n => (n.textContent ?? '').replace(/\\s+/g, ' ').trim();
  const root = name === 'page' ? document.body : document.getElementById('panel');
  const found = [];
  for (const n of root.querySelectorAll('h1, h3, h4, summary, [role=tab], label, thead th, caption, table, svg.plot, button.copy')) {
    if (name === 'page' && n.closest('#panel')) continue;
    if (n.matches('table')) found.push(`table ${n.id || n.className}: ${n.tBodies[0]?.rows.length} rows`);
    else if (n.matches('svg.plot')) found.push(`plot: ${n.querySelectorAll('.series').length} series`);
    else {
      const words = n.matches('label') ? clean(n).split(/ (?=Macro|one|first|\\d)/)[0] : clean(n);
      found.push(`${n.getAttribute('role') ?? n.localName}: ${words}`);
    }
  }
  return [...found, `images: ${root.querySelectorAll('.tile').length}`, `sheets: ${root.querySelectorAll('.sheet').length}`];
}"""


def test_the_main_views_have_the_outline_that_is_kept(browser: Any, file: Path) -> None:
    """Headings, tables, plots and numbers of images, not pixels. After a wanted change, look at the page and keep the new outline."""
    page = opened(browser, file)
    seen = {"page": page.evaluate(OUTLINE, "page")}
    for name in ("Images", "Settings", "Training", "Classes", "Cost", "Compare"):
        tab(page, name)
        seen[name] = page.evaluate(OUTLINE, name)
    assert seen == json.loads(OUTLINES.read_text(encoding="utf-8"))


def test_a_search_shows_its_history_what_was_pruned_when_and_which_settings_matter(browser: Any, make_search, tmp_path: Path) -> None:
    folder = make_search(tmp_path / "tune")
    page = opened(browser, write_merged(collect_trials(folder), folder), view="tab=search")
    assert page.get_attribute("#tab-search", "aria-selected") == "true"
    cells = "nodes => nodes.map(row => [...row.cells].slice(0, 2).map(cell => cell.innerText))"
    assert page.eval_on_selector_all("table.records tbody tr", cells) == [["0", "0.400"], ["2", "0.550"], ["4", "0.610"]]
    titles = page.eval_on_selector_all("#panel svg.plot g.series title", "nodes => nodes.map(n => n.textContent)")
    assert len(titles) == 6 and titles[1] == "trial 1: 0.300, pruned at step 200, lora.rank=16, optimizer.lr=0.03"
    assert page.locator("#panel svg.plot g.series path.cross").count() == 1, "the pruned one has a mark of its own"
    page.click("#pruned summary")
    assert page.eval_on_selector_all("#pruned tbody tr", cells) == [["1", "pruned at step 200"]]
    shares = dict(page.eval_on_selector_all("#importance tr", cells))
    assert set(shares) == {"lora.rank", "optimizer.lr"} and 99 <= sum(int(share.rstrip("%")) for share in shares.values()) <= 101
    page.keyboard.press("Home")
    page.focus("#tab-search")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#tab-images", "aria-selected") == "true", "it is the last of the tabs"
    for width, scheme in ((1440, "light"), (390, "dark")):
        other = opened(browser, folder / "report.html", width=width, scheme=scheme, view="tab=search")
        assert faults_of_access(other, "'#panel'") == []
        assert other.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_study_that_is_no_search_has_no_tab_of_it(browser: Any, file: Path) -> None:
    page = opened(browser, file, view="tab=search")
    assert page.locator("#tab-search").count() == 0 and page.get_attribute("#tab-images", "aria-selected") == "true"


def test_what_is_compared_are_configurations_not_their_first_trials(browser: Any, file: Path) -> None:
    page = opened(browser, file, view="tab=compare")
    for table in ("#unlike", "#scores"):
        heads = [text.split("\n")[0].strip() for text in page.locator(f"{table} thead th").all_inner_texts()[1:]]
        assert heads == [BEST, SECOND, WORST], "the differences below the scores are of configurations, too"
    tab(page, "Classes")
    adipose = fmean(value(r, "f1", "judge", "adipose") for r in results(file.parent, 8, 0.003))
    page.select_option("#panel select", label="F1 before filtering, judge")
    row = page.locator("#classes tbody tr", has=page.locator("th", has_text=class_name("adipose")))
    assert row.locator("td .line").first.inner_text().strip() == f"{adipose:.2f}", "the mean of all seeds, not the first"


def test_of_classifiers_their_classes_are_shown_first_and_confusions_on_val_and_test_compared(browser: Any, tmp_path: Path) -> None:
    for epochs, right in ((1, 20), (9, 40)):
        write_classifier(tmp_path / "gates" / f"e{epochs}", epochs, 0, right)
    page = opened(browser, write_report(tmp_path / "gates"))
    assert page.locator("#classes tbody tr").count() == 9 and not page.locator(".of-images").first.is_visible()
    assert "most often taken for, by the classifier" in page.inner_text("#classes thead")
    tab(page, "Compare")
    assert "Counts of images of the test split, named by the classifier" in page.inner_text("#panel")
    page.select_option("#panel select", label="of the val split, by the classifier")
    first, other, difference = (t.locator("tbody tr").first.locator("td").all_inner_texts() for t in page.locator("#matrices table").all())
    assert (first[:2], other[:2], difference[:2]) == (["40", "10"], ["20", "30"], ["−40", "40"])


def test_marks_at_the_ends_of_an_axis_are_whole(browser: Any, make_trial: Callable[..., Path], tmp_path: Path) -> None:
    for rank, right in ((1, 1), (4, 50)):
        make_trial(tmp_path / "s" / str(rank), rank=rank, right=(right,) * 9)
    page = opened(browser, write_report(tmp_path / "s"), view="tab=classes")
    assert "1.00" in {text.strip() for text in page.locator("#classes td .line").all_inner_texts()}
    cut = """nodes => nodes.filter(n => { const b = n.ownerSVGElement.viewBox.baseVal, x = n.cx.baseVal.value, r = n.r.baseVal.value;
      return x - r < 0 || x + r > b.width; }).length"""
    assert page.locator("#classes .whisker .dot").evaluate_all(cut) == 0


def test_on_a_phone_plots_are_as_high_as_on_a_desk_and_their_words_are_whole(browser: Any, file: Path) -> None:
    page = opened(browser, file, width=390, view="tab=training")
    boxes = page.locator("#panel svg.plot").evaluate_all("nodes => nodes.map(n => [n.clientWidth, n.clientHeight])")
    assert boxes and all(250 <= wide <= 390 and high >= 200 for wide, high in boxes)
    cut = """nodes => nodes.filter(n => { const r = n.getBoundingClientRect(); return r.left < 0 || r.right > innerWidth; })
      .map(n => n.textContent)"""
    assert page.locator("#panel svg.plot text").evaluate_all(cut) == []


def test_a_query_filters_by_value_and_a_wrong_one_says_what_to_type(browser: Any, file: Path) -> None:
    page = opened(browser, file)

    def count(text: str) -> int:
        page.fill("#query", text)
        return len(rows(page))

    cells = [(rank, rate) for rank in (1, 2, 4, 8) for rate in (1e-4, 3e-4, 1e-3)]
    means = sorted(fmean(value(r, "macro_f1", "judge") for r in results(file.parent, *cell)) for cell in cells)
    assert count("rank=1") == 6 and count("rank>4 lr<1e-2") == 4 and count("lora.rank!=8 seed=1") == 18
    assert count(f"f1>{(means[5] + means[6]) / 2} lr<=1e-3") == 6 and count("f1>1") == 0
    assert count("state:failed") == 2 and count("nan") == 1 and count("state:missing") == 2
    assert page.inner_text("#problem") == ""
    assert count("rnk=1") == 24 and "did you mean “rank”?" in page.inner_text("#problem")
    assert page.get_attribute("#query", "aria-invalid") == "true"
    page.click("#states button:has-text('pruned')")
    assert settings_of(page) == ["rank 2 · lr 0.03"] and page.input_value("#query") == "state:pruned"


def test_sorting_a_score_a_baseline_and_columns(browser: Any, file: Path) -> None:
    page = opened(browser, file)
    page.click("#board [data-sort='setting:optimizer.lr']")
    rates = [row[1] for row in rows(page)]
    head = page.locator("#board th:has([data-sort='setting:optimizer.lr'])")
    assert rates == sorted(rates, key=float) and head.get_attribute("aria-sort") == "ascending"
    page.click("#board [data-sort='setting:optimizer.lr']")
    assert [row[1] for row in rows(page)] == rates[::-1]
    page.select_option("#measure", "cost")
    costs = [float(row[2].split()[0]) for row in rows(page)]
    assert costs == sorted(costs), "the cheapest is first"
    page.select_option("#measure", "f1_gate")
    page.click(f"#board [aria-label='pin {WORST} as the baseline']")
    gate = [fmean(value(r, "macro_f1", "gate") for r in results(file.parent, *key)) for key in ((8, 0.003), (1, 0.0001))]
    row = rows(page)[settings_of(page).index(BEST)]
    assert float(row[3].split()[0]) == pytest.approx(gate[0] - gate[1], abs=0.02) and "[+" not in row[3]
    assert rows(page)[settings_of(page).index(WORST)][3] == "★ baseline"
    page.click("summary:has-text('Columns')")
    page.uncheck("#columns label:has-text('KID before') input")
    assert "KID" not in page.inner_text("#board thead")


def test_reload_back_and_a_shared_link_show_the_same(browser: Any, file: Path) -> None:
    page = opened(browser, file)
    page.fill("#query", "rank>=4")
    page.click(f"#board [aria-label='show {SECOND} below']")
    page.click("#board [aria-label='show rank 4 · lr 0.003 below']")
    page.click("#board [aria-label='trials of rank 8 · lr 0.03']")
    tab(page, "Classes")
    page.select_option("#class", "mucus")

    def seen(one: Any) -> tuple[Any, ...]:
        return one.input_value("#query"), rows(one), one.inner_text("#chosen"), one.inner_text("#panel"), one.inner_text("#board tbody")

    before, link = seen(page), page.url
    page.reload()
    page.wait_for_selector("html[data-ready=yes]", state="attached")
    assert seen(page) == before and "the loss became nan" in before[4]
    assert seen(opened(browser, file, view=link.split("#")[1])) == before
    tab(page, "Cost")
    page.go_back()
    page.wait_for_selector("#classes")
    assert seen(page) == before


def test_a_page_that_loads_itself_again_stays_where_it_was(browser: Any, file: Path, tmp_path: Path) -> None:
    """While trials run; ticks, filter and both scrolls are kept."""
    page = opened(browser, write_merged(collect_trials(file.parent), tmp_path, refresh=8), view="q=lr<1&tab=classes")
    with page.expect_event("load"):
        page.evaluate("document.querySelector('.board').scrollTop = 90; scrollTo(0, 40); window.before = true")
    assert page.evaluate("[window.before ?? false, document.querySelector('.board').scrollTop, scrollY]") == [False, 90, 40]
    assert page.input_value("#query") == "lr<1" and page.locator("#classes").count() == 1


def test_a_running_trial_shows_how_far_it_is_and_its_newest_sheet(browser: Any, file: Path) -> None:
    page = opened(browser, file)
    told = page.inner_text("#running")
    assert "rank 4 · lr 0.03 seed 2" in told and "finetune: 120 of 300 steps, 2/s, 2 min left" in told
    page.click("#running .film")
    assert page.inner_text("#enlarged h3") == "Validation after step 200"
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#enlarged h3") == "Validation after step 100"


def test_validation_sheets_stand_by_step_below_the_curves_and_are_loaded_when_they_are_shown(
    browser: Any, grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_view, "_INLINE_BYTES", 0)
    page = opened(browser, write_merged(collect_trials(grid), tmp_path))
    loaded: list[str] = []
    page.on("request", lambda r: loaded.append(r.url))
    page.wait_for_timeout(300)
    assert not [url for url in loaded if "-validation" in url], "only those of running trials are there at first"
    tab(page, "Training")
    assert page.locator("#filmstrip thead th").all_inner_texts() == ["step 100", "step 200"]
    heads = [" ".join(text.split()) for text in page.locator("#filmstrip tbody th").all_inner_texts()]
    assert heads == [f"{c} seed 0" for c in (BEST, SECOND, WORST)]
    page.wait_for_load_state("networkidle")
    assert len({url for url in loaded if "-validation" in url}) == 3, "those of the three ticked configurations"
    page.focus("#filmstrip .film >> nth=0")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#enlarged h3") == "Validation after step 200" and SECOND in page.inner_text("#enlarged")
    page.keyboard.press("Escape")
    assert page.troubles == []


def test_the_frame_is_the_word_of_the_gate_and_the_dot_that_of_the_judge(browser: Any, file: Path) -> None:
    """The made-up judge names the requested class at the first slot of rank 8, and another at the others."""
    page = opened(browser, file, view="class=mucus")
    classes = page.locator("table.images tbody tr").first.locator(".tile").evaluate_all("nodes => nodes.map(n => n.className)")
    assert ["confirmed" in c for c in classes] == [True, False, False, False]
    assert ["doubted" in c for c in classes] == [False, True, True, True]
    assert not page.locator("table.images tbody tr").last.locator(".confirmed, .doubted").count(), "of rank 1 no judge's word is known"
    page.locator("table.images .doubted").first.click()
    other = COLORECTAL.classes[(COLORECTAL.slugs.index("mucus") + 2) % 9].name
    assert f"names {other}" in page.inner_text("#enlarged")
    page.keyboard.press("Escape")
    tab(page, "Compare")
    assert page.locator("#attempts .confirmed").count() and page.locator("#attempts .doubted").count()


def test_what_is_pointed_at_stands_out_everywhere(browser: Any, file: Path) -> None:
    page = opened(browser, file, view="tab=training")
    page.hover("#board tbody tr >> nth=0")
    lit = page.eval_on_selector_all(".lit", "nodes => nodes.map(n => n.tagName.toLowerCase())")
    assert {"tr", "g", "button", "span"} <= set(lit) and page.locator("#panel .series.lit").count() >= 2
    assert set(page.eval_on_selector_all(".lit", "nodes => nodes.map(n => n.dataset.c)")) == {"0"}
    page.hover("#panel .legend > span >> nth=1")
    assert page.locator("#board tbody tr.lit td").nth(1).inner_text() == "0.001", "the row of what is pointed at below"


def test_the_page_can_be_used_by_keyboard_alone(browser: Any, file: Path) -> None:
    page = opened(browser, file)
    focused = "document.activeElement.getAttribute('aria-label') || document.activeElement.id"
    page.keyboard.press("/")
    assert page.evaluate(focused) == "query"
    page.keyboard.type("rank=8")
    for _ in range(60):
        page.keyboard.press("Tab")
        if (page.evaluate(focused) or "").startswith("show "):
            break
    assert page.evaluate(focused) == f"show {BEST} below"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none", "the focus can be seen"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == f"show {SECOND} below"
    page.keyboard.press("Space")
    assert SECOND not in page.inner_text("#chosen") and page.evaluate(focused) == f"show {SECOND} below", "the focus stays"
    page.focus("#tabs [aria-selected=true]")
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.textContent") == "Compare" and "What differs" in page.inner_text("#panel")
    page.keyboard.press("Home")
    page.focus("table.images .tile >> nth=0")
    page.keyboard.press("Enter")
    assert page.locator("#enlarged").is_visible()
    title = page.inner_text("#enlarged")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#enlarged h3") != title.split("\n")[0]
    page.keyboard.press("ArrowDown")
    assert SECOND in page.inner_text("#enlarged")
    page.keyboard.press("Escape")
    assert not page.locator("#enlarged").is_visible() and page.pdf().startswith(b"%PDF")


def test_all_attempts_of_a_slot_stand_in_their_order_with_the_word_of_the_gate(browser: Any, file: Path) -> None:
    page = opened(browser, file, view="class=mucus&tab=compare")
    last = page.locator("#attempts tbody tr").last
    captions = last.locator("td").first.locator("figcaption").all_inner_texts()
    assert [c.split(":")[0] for c in captions] == ["1", "2", "3"] and captions[2] == "3: accepted"
    last.locator(".tile[data-attempt='2']").first.click()
    inside = page.inner_text("#enlarged")
    assert "Attempt 1: rejected" in inside and "another class is more probable" in inside and "no image of this attempt was kept" in inside
    assert "0.750" in inside and "an image of mucus" in inside


def test_matrices_hold_the_counts_of_all_seeds_and_differences_are_of_shares(browser: Any, file: Path) -> None:
    page = opened(browser, file, view="tab=compare")
    found = [results(file.parent, *key) for key in ((8, 0.003), (1, 0.0001))]
    best, last = (np.sum([r["extras"]["before filtering/gate"] for r in some], axis=0) for some in found)
    tables = [t.locator("tbody td").all_inner_texts() for t in page.locator("#matrices table").all()]
    assert len(tables) == 5, "three, and two differences"
    assert [int(c or 0) for c in tables[0]] == best.ravel().tolist()
    shares = 100 * (last / last.sum(1, keepdims=True) - best / best.sum(1, keepdims=True))
    assert [float((c or "0").replace("−", "-")) for c in tables[-1]] == pytest.approx(shares.ravel(), abs=0.51)
    page.select_option("#panel select", label="after filtering, by the judge")
    assert "images after filtering, named by the judge" in page.inner_text("#panel")


def test_what_users_named_is_inert_and_phones_do_not_scroll_sideways(browser: Any, make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank", prompt=HOSTILE)
    for path in folder.glob("*/manifest.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({**record, "name": HOSTILE, "overrides": [f"prompt={HOSTILE}"]}))
    for path in folder.glob("*/state.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "reason": HOSTILE}))
    page = opened(browser, write_report(folder), width=390)
    for name in ("Images", "Settings", "Training", "Classes", "Cost", "Compare"):
        tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
    page.locator("#attempts .tile").first.click()
    assert HOSTILE in page.inner_text("#enlarged")
    page.keyboard.press("Escape")
    page.fill("#query", f"rank={HOSTILE}")
    assert page.evaluate("window.broken") is None and page.troubles == []


def test_a_page_of_several_people_says_who_made_which_and_where_results_conflict(browser: Any, make_sweep, tmp_path: Path) -> None:
    mine, theirs = (make_sweep(tmp_path / name, ranks=(1, 4), seeds=1, failed=0) for name in ("mine", "theirs"))
    for folder, author in ((mine, "ada"), (theirs, "grace")):
        for path in folder.glob("*/state.json"):
            path.write_text(json.dumps({"state": "done", "author": author, "host": "box"}))
    path = theirs / "rank-4-0" / "result.json"
    path.write_text(path.read_text().replace('"value": 0.', '"value": 0.0'))
    shutil.rmtree(mine / "rank-1-0")
    (tmp_path / "both").mkdir()
    page = opened(browser, write_collection(merge_trials({"mine": mine, "theirs.zip": theirs}), tmp_path / "both"))
    assert page.inner_text("#unfinished summary") == "1 trial that did not finish or whose results conflict, and why"
    page.click("#unfinished summary")
    assert "conflict rank 4, seed 0: theirs.zip has another result of the same identity: macro-F1" in page.inner_text("#unfinished")
    page.fill("#query", "ada")
    page.check("#every")
    shown = " ".join(page.inner_text("#board tbody").split())
    assert "page from mine by ada on box" in shown and "grace" not in shown and "has another result" in shown
    page.fill("#query", "grace")
    page.click("#board tr.trial a")
    assert "by grace on box" in page.inner_text(".kicker")


@pytest.mark.parametrize("width", [1440, 390])
def test_names_are_whole(browser: Any, file: Path, width: int) -> None:
    """No button, select, heading or chip is narrower than its text."""
    page = opened(browser, file, width=width)
    cut = """[...document.querySelectorAll('button, th, h1, h3, .chip, td.setting, summary')]
      .filter(n => n.offsetParent && n.scrollWidth > n.clientWidth + 1 && getComputedStyle(n).overflow !== 'visible')
      .map(n => n.textContent)"""
    for name in ("Images", "Settings", "Compare"):
        tab(page, name)
        assert page.evaluate(cut) == []
    assert page.locator("#board thead th").first.evaluate("n => getComputedStyle(n).position") in ("sticky", "static")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_no_fault_of_access(browser: Any, file: Path, width: int, scheme: str) -> None:
    page = opened(browser, file, width=width, scheme=scheme)
    for name in ("Images", "Settings", "Training", "Classes", "Cost", "Compare"):
        tab(page, name)
        where = "document" if name == "Images" else "'#panel'"  # the rest of the page is the same on every tab
        assert faults_of_access(page, where) == [], name


@pytest.mark.slow
def test_of_two_hundred_trials_the_rows_in_sight_are_drawn(browser: Any, make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank", ranks=tuple(range(1, 101)), seeds=2, failed=2)
    path = write_merged(collect_trials(folder), folder)
    assert path.stat().st_size < 1.5e6
    page = opened(browser, path)
    assert page.get_attribute("#board", "aria-rowcount") == "101"
    assert page.locator("#board tbody tr").count() < 60
    page.locator(".board").evaluate("n => { n.scrollTop = n.scrollHeight }")
    page.wait_for_selector("#board .rank:text-is('99')")
    page.fill("#query", "state:failed")
    assert page.locator("#board tbody tr").count() == 1, "both are of one configuration"


def test_numbers_stand_on_their_axis_by_value(browser: Any, make_trial: Callable[..., Path], tmp_path: Path) -> None:
    for i, rate in enumerate((0.001, 0.02, 0.0003, 0.006, 1e-05)):
        manifest = make_trial(tmp_path / "s" / f"t{i}", name=f"t{i}") / "manifest.json"
        record = json.loads(manifest.read_text())
        record["config"]["optimizer"]["lr"] = rate
        manifest.write_text(json.dumps(record))
    page = opened(browser, write_report(tmp_path / "s"), view="tab=settings")
    marks = page.eval_on_selector_all("#parallel .value", "nodes => nodes.map(n => [-n.getBoundingClientRect().top, n.firstChild.data])")
    assert [text for _, text in sorted(marks)] == ["1e-05", "0.0003", "0.001", "0.006", "0.02"]
    page.locator("#parallel .value", has_text="0.006").press("Enter")
    assert page.input_value("#query") == "lr=0.006" and len(rows(page)) == 1


def test_of_many_classes_the_weakest_are_shown_first(browser: Any, make_trial: Callable[..., Path], tmp_path: Path) -> None:
    slugs = tuple(f"kind-{i:02d}" for i in range(60))
    for rank in (1, 2):
        make_trial(tmp_path / "s" / str(rank), rank=rank, right=tuple(50 - i // 2 for i in range(60)), slugs=slugs)
    page = opened(browser, write_report(tmp_path / "s"), view="tab=classes")
    assert page.locator("#classes tbody tr").count() == 30
    assert page.locator("#classes tbody th").first.inner_text() in ("kind 58", "kind 59")
    page.check("#all-classes input")
    assert page.locator("#classes tbody tr").count() == 60


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_differ_from_the_page_and_a_trial_leads_back_to_its_study(browser: Any, make_sweep, tmp_path: Path, scheme: str) -> None:
    path = write_report(make_sweep(tmp_path / "rank", failed=0))
    page = opened(browser, path, scheme=scheme, view="tab=training")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    colours = page.eval_on_selector_all("#panel .series .line", "nodes => nodes.map(n => getComputedStyle(n).stroke)")
    assert len(set(colours)) == 3 and min(contrast(colour, ground) for colour in colours) >= 3
    page.click("#board .fold >> nth=0")
    page.click("#board tr.trial a >> nth=0")
    page.click(".kicker a")
    assert page.url.split("#")[0] == path.as_uri()


def test_a_trial_page_shows_plots_at_their_size_in_the_colours_of_its_text(browser: Any, make_trial, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(write_report(make_trial(tmp_path / "t")).as_uri())
    widths = page.eval_on_selector_all("img.plot", "nodes => nodes.map(n => [n.width, n.naturalWidth])")
    assert widths and all(shown == own for shown, own in widths), "none is blown up"
    judge = page.evaluate("getComputedStyle(document.querySelector('.judge')).color")
    assert contrast(judge, JUDGE_COLOUR) == 1 and re.findall(r"\d+", judge) == [str(int(JUDGE_COLOUR[i : i + 2], 16)) for i in (1, 3, 5)]
    sentences = page.eval_on_selector_all("p", "nodes => nodes.map(n => n.innerText)")
    assert not [s for s in sentences if re.search(r"\s[),.;:]", s)], "no bracket or stop stands alone"
