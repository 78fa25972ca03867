"""The pages that people read: their links lead somewhere, and the commands they show are those of the program."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pathsynth.config.parse import setting_keys

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "experiments" / "README.md", ROOT / "multirun" / "README.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]*))?\)")
OF_CLASSES = (
    "optimizer.", "callbacks.", "schedule.", "hydra.", "hydra/",
    "sampling.rules.", "sampling.retry.", "evaluate.metrics.", "tracking.",
)
"""Beginnings of keys that are a class's own arguments, or Hydra's."""


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    lost = []
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target or target.startswith("mailto:"):
            continue
        place = page.parent / target
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
            lost.append(f"{target}#{anchor}" if anchor else target)
    assert lost == []


def commands(page: Path) -> list[list[str]]:
    """The lines of code that start the program, cut into words; what stands for something of the reader's is a word, too."""
    lines = re.findall(r"^pathsynth .+$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(re.sub(r"<[^>]*>", "X", line), comments=True)[1:] for line in lines]


@pytest.mark.parametrize("page", ["README.md", "docs/recipes.md", "docs/objects.md", "docs/ray.md"])
def test_every_key_of_a_command_is_one_of_the_program(page):
    found = commands(ROOT / page)
    assert found
    known, groups = setting_keys(), {path.name for path in (ROOT / "conf").iterdir()}
    wrong = []
    for words in found:
        keys = [word.partition("=")[0].lstrip("+~") for word in words[1:] if "=" in word and not word.startswith("-")]
        own = tuple(key.removesuffix("_target_") for key in keys if key.endswith("._target_"))  # of a class of the reader's
        wrong += [key for key in keys if key not in known and key.split("@")[0] not in groups and not key.startswith((*OF_CLASSES, *own))]
    assert wrong == []


def test_the_readme_fits_on_one_page():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_the_tour_of_the_code_leads_to_what_it_names():
    tour = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("## Dive into the code")[1].split("\n## ")[0]
    rows = [line.split("|")[1:4] for line in tour.splitlines() if line.startswith("| ") and not line.startswith("| question")]
    assert len(rows) == 10
    for question, files, names in rows:
        code = "\n".join((ROOT / path).read_text(encoding="utf-8") for path in re.findall(r"`([^`]+)`", files))
        lost = [name for name in re.findall(r"`([^`]+)`", names) if not re.search(rf"^\s*(def|class) {name}\b", code, re.MULTILINE)]
        assert lost == [], question


@pytest.mark.parametrize("name", ["atlas.js", "atlas.css"])
def test_the_published_atlas_is_one_of_today(name):
    made, template = ROOT / "docs" / "atlas-example" / name, ROOT / "pathsynth" / "report" / "templates" / name
    assert made.read_text(encoding="utf-8") == template.read_text(encoding="utf-8"), "make it anew: docs/atlas.md"
