"""The documentation as a site: built strictly, nothing of it comes from elsewhere, and its references are whole."""

from __future__ import annotations

import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from pathsynth.__main__ import CONFIG_COMMANDS, FILE_COMMANDS
from pathsynth.config.meanings import key_fields
from pathsynth.report.glossary import load_glossary

ROOT = Path(__file__).parent.parent
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src", "object": "data"}
"""What a browser fetches by itself, by tag; links that people follow are none of it."""
LISTED = {"canonical", "next", "prev", "edit"}
"""Links of a page's head that name another page."""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The whole site; a page that nothing leads to, and a link or an anchor that leads nowhere, stop the build."""
    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


class Fetches(HTMLParser):
    """Collects what a page has the browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag in LOADED and not LISTED & set((found.get("rel") or "").split()):
            self.places.append(found.get(LOADED[tag]) or "")


def fetched(page: Path) -> list[str]:
    parser = Fetches()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.places


@pytest.mark.slow
def test_no_page_fetches_from_elsewhere_and_all_it_fetches_is_there(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    away = {f"{page.name}: {place}" for page in pages for place in fetched(page) if re.match(r"(https?:)?//", place)}
    assert away == set()
    lost = {
        f"{page.name}: {place}"
        for page in pages
        for place in fetched(page)
        if page.name != "404.html" and not place.startswith("data:") and place and not (page.parent / place.partition("?")[0]).exists()
    }
    assert lost == set()
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)]*", styles) == []


def test_browsers_are_reported_to_fetch_nothing_from_elsewhere(site):
    untold = [page.name for page in site.rglob("*.html") if "Content-Security-Policy" not in page.read_text(encoding="utf-8")]
    assert untold == []


def text_of(page: Path) -> str:
    return re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))


def test_the_references_name_every_key_command_and_term(site):
    reference = site / "reference"
    keys, commands = (reference / "config.html").read_text(encoding="utf-8"), (reference / "commands.html").read_text(encoding="utf-8")
    groups = {key for key in key_fields() if "." not in key and f'id="{key}"' in keys}
    assert [key for key in key_fields() if key not in groups and f"<td><code>{key}</code></td>" not in keys] == []
    assert [name for name in CONFIG_COMMANDS if f"<code>pathsynth {name}</code>" not in commands] == []
    assert [name for name in FILE_COMMANDS if f"Usage: pathsynth {name} " not in text_of(reference / "commands.html")] == []
    words = text_of(reference / "metrics.html") + text_of(reference / "glossary.html")
    assert [term.key for term in load_glossary().values() if term.name not in words] == []
    assert "metrics[].low" in text_of(reference / "result.html")


def test_a_default_that_differs_between_options_names_them(site):
    (row,) = (line for line in text_of(site / "reference" / "config.html").split("\n\n\n") if line.strip().startswith("data.size"))
    assert "64 (folder)" in row and "32 (own, phantom)" in row


@pytest.mark.parametrize(
    ("text", "nav"),
    [("[lost](lost.md)", ["index.md", "other.md"]), ("[lost](other.md#lost)", ["index.md", "other.md"]), ("not listed", ["other.md"])],
)
def test_what_leads_nowhere_or_is_not_listed_stops_the_build(tmp_path, text, nav):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(text)
    (tmp_path / "docs" / "other.md").write_text("listed")
    places = {"docs_dir": str(tmp_path / "docs"), "site_dir": str(tmp_path / "site")}
    config = load_config(str(ROOT / "mkdocs.yml"), **places, nav=nav, theme={"name": "mkdocs"}, plugins=[], hooks=[])
    with pytest.raises(Abort, match="strict mode"):
        build(config)


def test_links_of_the_repository_become_links_of_the_site():
    hooks = hooks_module()
    shown = "see [card](../pathsynth/assets/tissue/README.md#x), [code](../examples/my_rule.py), [folder](../examples), `[as](../it.md)`"
    assert hooks.site_links(shown, "objects.md") == (
        "see [card](reference/bundle.md#x), [code](files/examples/my_rule.py), folder, `[as](../it.md)`"
    )
    of_readme = "[a](docs/how-to/search.md) [b](experiments/best.md)"
    assert hooks.site_links(of_readme, "index.md") == "[a](how-to/search.md) [b](experiments/best.md)"
    assert hooks.site_links("[lost](../lost.md)", "search.md") == "[lost](../lost.md)", "the strict build says so"


def hooks_module():
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
