"""The pages that people read: their links lead somewhere, and the commands they show are those of the program."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from pathsynth.__main__ import CONFIG_COMMANDS, dispatch
from pathsynth.config.parse import setting_keys

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [ROOT / "README.md", ROOT / "multirun" / "README.md", *(ROOT / "experiments").glob("*.md"), *(ROOT / "docs").rglob("*.md")]
)
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


def test_pages_that_code_and_configurations_name_are_there():
    folders = ("pathsynth", "hydra_plugins", "conf", "experiments", "examples", "tests")
    files = [path for folder in folders for kind in ("*.py", "*.yaml") for path in (ROOT / folder).rglob(kind)]
    named = {page for path in files for page in re.findall(r"(?<![\w/.-])docs/[\w/-]+\.md", path.read_text(encoding="utf-8"))}
    assert len(named) > 5 and [page for page in sorted(named) if not (ROOT / page).is_file()] == []


def commands(page: Path) -> list[list[str]]:
    """The lines of code that start the program, cut into words; what stands for something of the reader's is a word, too."""
    blocks = re.findall(r"^```.*?^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^pathsynth .+$", "\n".join(blocks).replace("\\\n", " "), re.MULTILINE)
    return [shlex.split(re.sub(r"<[^>]*>", "X", line), comments=True)[1:] for line in lines]


SHOWN = [str(page.relative_to(ROOT)) for page in PAGES if page.parent.name != "experiments" and commands(page)]
"""Pages with commands that people copy; those of studies say what was run."""
STUDIES = [str(page.relative_to(ROOT)) for page in PAGES if page.parent.name == "experiments" and commands(page)]


@pytest.mark.parametrize("page", SHOWN)
def test_every_key_of_a_command_is_one_of_the_program(page):
    found = commands(ROOT / page)
    known, groups = setting_keys(), {str(path.relative_to(ROOT / "conf")) for path in (ROOT / "conf").rglob("*") if path.is_dir()}
    wrong = []
    for words in found:
        keys = [word.partition("=")[0].lstrip("+~") for word in words[1:] if "=" in word and not word.startswith("-")]
        own = tuple(key.removesuffix("_target_") for key in keys if key.endswith("._target_"))  # of a class of the reader's
        wrong += [key for key in keys if key not in known and key.split("@")[0] not in groups and not key.startswith((*OF_CLASSES, *own))]
    assert wrong == []


_COMPOSED: set[tuple[str, ...]] = set()
"""Commands that are shown on several pages are composed once."""


def one_job(words: list[str]) -> list[str]:
    """Of a sweep the first job; what Hydra or the sweeper would unfold otherwise, and what stands for more words, is left out."""
    single = [re.sub(r"^([^=\[({]+=[^,\[({]*),[^\[({]*$", r"\1", word) for word in words]
    return [word for word in single if word not in ("-m", "…") and not re.search(r"=(tag|range|interval)\(", word)]


@pytest.mark.slow
@pytest.mark.parametrize("page", [*SHOWN, *STUDIES])
def test_every_command_that_is_shown_can_be_composed(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    found = [[*one_job(words), "--cfg", "job"] if words[0] in CONFIG_COMMANDS else [words[0], "--help"] for words in commands(ROOT / page)]
    wrong = {}
    for asked in {*map(tuple, found)} - _COMPOSED:
        if "$before" not in asked and dispatch([*asked]):
            wrong[" ".join(asked)] = capsys.readouterr().err
        _COMPOSED.add(asked)
    assert wrong == {}
    assert list(tmp_path.iterdir()) == []


def test_the_tour_of_the_code_leads_to_what_it_names():
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    tour = page.split("## Dive into the code")[1].split("\n## ")[0]
    rows = [line.split("|")[1:4] for line in tour.splitlines() if line.startswith("| ") and not line.startswith("| question")]
    assert len(rows) == 10
    for question, files, names in rows:
        code = "\n".join((ROOT / path).read_text(encoding="utf-8") for path in re.findall(r"`([^`]+)`", files))
        lost = [name for name in re.findall(r"`([^`]+)`", names) if not re.search(rf"^\s*(def|class) {name}\b", code, re.MULTILINE)]
        assert lost == [], question


@pytest.mark.parametrize("name", ["atlas.js", "atlas.css"])
def test_the_published_atlas_is_one_of_today(name):
    made, template = ROOT / "docs" / "atlas-example" / name, ROOT / "pathsynth" / "report" / "templates" / name
    assert made.read_text(encoding="utf-8") == template.read_text(encoding="utf-8"), "make it anew: docs/how-to/atlas.md"


def test_every_study_has_a_page_in_the_index():
    """What ``study=`` can name, and what was tried besides."""
    folder = ROOT / "experiments"
    pages = {path.stem for path in folder.glob("*.md")} - {"README"}
    assert pages >= {path.stem for path in (folder / "study").glob("*.yaml")}
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert [name for name in sorted(pages) if f"| [{name}]({name}.md) |" not in index] == []
    texts = {name: (folder / f"{name}.md").read_text(encoding="utf-8") for name in sorted(pages)}
    untold = [name for name, text in texts.items() if "\n**Question.** " not in text or "\n**Answer.** " not in text]
    assert untold == []
