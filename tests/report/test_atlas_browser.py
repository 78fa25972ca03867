"""The atlas in a real browser: from disk, and from a web server's subfolder."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generated_sets import HOSTILE, probabilities, write_set

from pathsynth.report.atlas import read_generated, write_atlas
from pathsynth.report.tissue_texts import TissueText, shipped_texts
from pathsynth.vocabulary.labels import COLORECTAL
from tests.chromium import faults_of_access

pytestmark = pytest.mark.browser
WRONG = 4
"""Classes whose first image the made-up judge takes for the next class but one."""


def make_site(folder: Path, slugs: tuple[str, ...], judged: bool = True, size: tuple[int, int] = (28, 28), hostile: bool = False) -> Path:
    images = read_generated(write_set(folder / "set", slugs, n=4, size=size))
    judge = np.array([probabilities(row.label, len(slugs), 0.9) for row in images.accepted])
    for i in range(0, 4 * WRONG if judged else 0, 4):
        judge[i] = probabilities((images.accepted[i].label + 2) % len(slugs), len(slugs))
    texts = {0: TissueText((HOSTILE,), (HOSTILE,), by_user=True)} if hostile else shipped_texts(images.space)
    site = folder / "sub" / "site"
    site.mkdir(parents=True)
    write_atlas(site, images, judge if judged else None, texts, 40, HOSTILE if hostile else "Atlas")
    return site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine classes with a judge, four disputed images."""
    return make_site(tmp_path_factory.mktemp("atlas"), COLORECTAL.slugs)


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """Opens a view in a context of its own; an error, or a request beyond the site, fails the test."""
    troubles: list[str] = []
    contexts: list[Any] = []

    def go(address: str, view: str = "", **options: Any) -> Any:
        context = browser.new_context(viewport={"width": options.pop("width", 1280), "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: troubles.append(str(e)))
        page.on("request", lambda r: troubles.append(r.url) if not r.url.startswith((address, "data:")) else None)
        page.goto(f"{address}/index.html#{view}")
        page.wait_for_selector("html[data-ready=yes]", timeout=20_000, state="attached")
        return page

    yield go
    for context in contexts:
        context.close()
    assert troubles == []


def answer_by_keys(page: Any, right: int) -> None:
    """Answer a round of ten: so many rightly, the others with the next class."""
    for n in range(10):
        label = page.evaluate("images.find(i => i.file === document.querySelector('.question > img').getAttribute('src')).label")
        key = label if n < right else (label + 1) % 9
        page.keyboard.press(str(key + 1))
        assert page.inner_text("#verdict").startswith("Right: " if n < right else "Not ")
        asked, near = (page.locator(".pair figcaption").nth(i).inner_text() for i in (0, 1))
        name = COLORECTAL.classes[key].name if n >= right else COLORECTAL.classes[page.evaluate(f"atlas.lookalike[{label}]")].name
        assert (asked, near) == (COLORECTAL.classes[label].name, f"nearest look-alike: {name}")
        page.keyboard.press("Enter")


def own_counts(page: Any) -> tuple[int, int]:
    """Answers in the reader's own matrix: on the diagonal, and all."""
    cells = page.locator("#own-matrix td.own").all_inner_texts(), page.locator("#own-matrix tbody td").all_inner_texts()
    return sum(map(int, cells[0])), sum(map(int, cells[1]))


def test_a_self_test_by_keys_is_scored_and_survives_a_reload(site: Path, visit: Any) -> None:
    page = visit(site.as_uri(), "test=abc")
    first = page.get_attribute(".question > img", "src")
    page.keyboard.press("Tab")
    answer_by_keys(page, right=7)
    assert page.inner_text("#score") == "7 of 10" and own_counts(page) == (7, 10)
    page.reload()
    assert page.inner_text("#score") == "7 of 10" and own_counts(page) == (7, 10)
    page.goto(f"{site.as_uri()}/index.html#test=other")
    page.keyboard.press("1")
    page.reload()
    assert "image 2 of 10" in page.inner_text("h1"), "an unfinished round continues"
    again = visit(site.as_uri(), "test=abc")
    assert again.get_attribute(".question > img", "src") == first, "its seed decides the images"


def test_what_was_wrong_is_reviewed_first(site: Path, visit: Any) -> None:
    page = visit(site.as_uri(), "test=abc")
    shown = page.evaluate("round('test=abc').images.map(i => images[i].file)")
    answer_by_keys(page, right=7)
    page.goto(f"{site.as_uri()}/index.html#review")
    due = page.evaluate("Object.entries(progress.rounds).find(([k]) => k.startsWith('review='))[1].images.map(i => images[i].file)")
    assert set(due[:3]) == set(shown[7:]) and not set(due[3:]) & set(shown)


def test_disputed_images_are_asked_only_where_it_is_said(site: Path, visit: Any) -> None:
    page = visit(site.as_uri(), "test=abc")
    assert page.evaluate("[agreed.length, disputed.length]") == [32, WRONG]
    page.goto(f"{site.as_uri()}/index.html#disputed=abc")
    assert "Gate and judge disagree" in page.inner_text("main")
    for _ in range(WRONG):
        label = page.evaluate("images.find(i => i.file === document.querySelector('.question > img').getAttribute('src')).label")
        gate, judge = COLORECTAL.classes[label].name, COLORECTAL.classes[label + 2].name
        page.keyboard.press(str(label + 3))
        assert f"The gate says {gate}, the judge {judge}; you say {judge}." in page.inner_text("#verdict")
        page.keyboard.press("Enter")
    assert f"judge says for {WRONG}" in page.inner_text("#score") and own_counts(page) == (0, 0)


def test_search_deep_links_and_the_warning_on_every_view(site: Path, visit: Any) -> None:
    page = visit(site.as_uri(), "tissue=normal-mucosa")
    assert page.inner_text("h1") == "normal colon mucosa" and "Not reviewed by a pathologist." in page.inner_text("main")
    assert page.locator("#images .tile").count() == 4 and "gate 80%\njudge 90%" in page.inner_text("#images")
    assert "the judge took 0 of 4 accepted images of normal colon mucosa" in page.inner_text("main").lower().replace("\n", " ")
    page.locator("#images .tile").first.press("Enter")
    assert page.locator("#enlarged").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("FAT")
    assert page.locator(".card").all_inner_texts() == ["adipose"] and "#search=FAT" in page.url
    for view in ("", "tissue=mucus", "test=a", "disputed=a", "review", "about", "nonsense=%E0%A4%A", "tissue=nothing"):
        page.goto(f"{site.as_uri()}/index.html#{view}")
        assert page.locator("main h1").count() == 1
        assert page.locator(".warning").is_visible() and "not for diagnosis" in page.inner_text(".warning").lower()
    page.emulate_media(media="print")
    assert page.locator(".warning").is_visible() and not page.locator("nav").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_view_is_accessible(site: Path, visit: Any, width: int, scheme: str) -> None:
    page = visit(site.as_uri(), width=width, color_scheme=scheme)
    for view in ("", "tissue=mucus", "test=a", "review", "about"):
        page.evaluate("view => { location.hash = view }", view)
        page.wait_for_function("() => document.querySelectorAll('main h1').length === 1")
        assert (view, faults_of_access(page)) == (view, [])


def test_hostile_words_are_inert_on_a_phone_which_does_not_scroll_sideways(tmp_path: Path, visit: Any) -> None:
    site = make_site(tmp_path, (HOSTILE, "b" * 80, *(f"class-{i}" for i in range(10))), size=(48, 16), hostile=True)
    page = visit(site.as_uri(), f"tissue={HOSTILE}", width=390, color_scheme="dark")
    assert HOSTILE in page.inner_text("#look-for") and HOSTILE.replace("-", " ") in page.inner_text("h1")
    for view in ("", f"tissue={HOSTILE}", "test=a", "about"):
        page.goto(f"{site.as_uri()}/index.html#{view}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("window.broken") is None
    heights = page.evaluate("[...document.querySelectorAll('tbody tr:nth-child(n+3)')].map(row => row.offsetHeight)")
    assert max(heights) < 60, "a class's name stands in a line or two, not a letter a line"
    page.goto(f"{site.as_uri()}/index.html#test=a")
    assert page.locator("button.answer").count() == 12 and page.locator("button.answer kbd").count() == 9
    page.locator("button.answer").last.click()
    assert page.locator("#verdict").is_visible()
    box = page.locator(".question > img").bounding_box()
    assert box["width"] == pytest.approx(3 * box["height"], rel=0.05), "an image keeps its shape"


def test_without_judge_and_storage_from_a_servers_subfolder(tmp_path: Path, visit: Any) -> None:
    make_site(tmp_path, ("benign", "malignant"), judged=False)
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = visit(f"http://127.0.0.1:{server.server_port}/sub/site", "tissue=benign")
        assert "no judge" in page.inner_text("main") and "Not reviewed" not in page.inner_text("main")
        page.context.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('blocked'); }})")
        page.reload()
        page.evaluate("location.hash = 'test=a'")
        for _ in range(8):
            page.keyboard.press("1")
            page.keyboard.press("Enter")
        assert page.inner_text("#score") == "4 of 8" and "keeps nothing" in page.inner_text("main")
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal."""
