"""Pages of trials, generated sets and classifiers in a real browser, from disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pathsynth.report.page import write_report
from tests.chromium import faults_of_access
from tests.report.test_set_page import classifier, generated

pytestmark = pytest.mark.browser
PAGES = ("study/trial", "mixed/set", "mixed/clf", "mixed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of PAGES; of the trial's first rejected attempt the reason is known."""
    from tests.report.conftest import write_trial

    root = tmp_path_factory.mktemp("pages")
    write_trial(root / "study" / "trial")
    generated(root / "mixed" / "set")
    classifier(root / "mixed" / "clf")
    write_report(root / "study")
    write_report(root / "mixed")
    return root


def opened(browser: Any, path: Path, width: int = 1440, scheme: str = "light", touch: bool = False) -> Any:
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, has_touch=touch).new_page()
    troubles: list[str] = []
    page.on("console", lambda m: troubles.append(m.text) if m.type in ("error", "warning") else None)
    page.on("request", lambda r: troubles.append(r.url) if not r.url.startswith(("data:", path.parent.as_uri())) else None)
    page.goto(path.as_uri())
    assert troubles == []
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_no_fault_of_access(browser: Any, folder: Path, width: int, scheme: str) -> None:
    for name in PAGES:
        page = opened(browser, folder / name / "report.html", width, scheme)
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        assert faults_of_access(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page does not scroll sideways"
        page.close()


def test_a_term_is_explained_by_touch_and_by_keyboard_and_escape_closes_it(browser: Any, folder: Path) -> None:
    page = opened(browser, folder / "study" / "trial" / "report.html", 390, touch=True)
    term, told = page.locator("button[popovertarget=word-coverage]").first, page.locator("#word-coverage")
    assert not told.is_visible()
    term.tap()
    assert told.is_visible() and "Share of the real images" in told.inner_text()
    page.keyboard.press("Escape")
    assert not told.is_visible()
    term.focus()
    page.keyboard.press("Enter")
    assert told.is_visible()


def test_an_image_opens_the_rows_of_its_attempts_by_click_and_by_keyboard(browser: Any, folder: Path) -> None:
    page = opened(browser, folder / "mixed" / "set" / "report.html")
    rejected = page.get_by_role("button", name="debris, request 0: rejected, another class is more probable")
    rejected.click()
    rows = page.locator(":popover-open tbody tr")
    assert [row.split("\t")[1] for row in rows.all_inner_texts()] == ["another class is more probable", "accepted"]
    page.get_by_role("button", name="Close").click()
    assert rows.count() == 0
    rejected.focus()
    page.keyboard.press("Enter")
    assert rows.count() == 2


def test_the_contents_lead_to_each_section_below_the_bar_and_back_to_the_study(browser: Any, folder: Path) -> None:
    page = opened(browser, folder / "study" / "trial" / "report.html")
    page.click(".contents a:has-text('Closeness')")
    bar, heading = (page.locator(s).bounding_box() for s in (".contents", "#closeness"))
    assert bar["y"] == 0 and bar["height"] <= heading["y"] < 200
    page.click(".contents .back")
    assert page.url.split("#")[0] == (folder / "study" / "report.html").as_uri()


def test_a_page_of_large_images_stays_small(browser: Any, make_trial: Callable[..., Path], tmp_path: Path) -> None:
    """Images of 224 px are shrunk, and coded with loss."""
    import numpy as np
    from PIL import Image

    folder = make_trial(tmp_path / "t")
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (28, 28, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(noise).save(tmp_path / "large.png")
    for path in (*folder.glob("images/*/*.png"), *folder.glob("rejected/*/*.png"), *folder.glob("grids/real/*/*.png")):
        shutil.copyfile(tmp_path / "large.png", path)
    assert write_report(folder).stat().st_size < 3e6
