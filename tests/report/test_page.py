from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.records import Missing
from pathsynth.report.glossary import load_glossary
from pathsynth.report.page import write_report

HOSTILE = '<script>alert("x")</script>&$x_'
VOID = {"meta", "img", "br", "link"}


class Outline(HTMLParser):
    """The tags of a page, its attributes, and the cells of its tables; fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.links: list[str] = []
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        self.sources += [found["src"] or ""] if "src" in found else []
        self.links += [found["href"] or ""] if "href" in found else []
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if any(tag in ("td", "th") for tag in self._open):
            self.rows[-1][-1] += data

    def row(self, heading: str) -> list[str]:
        """The cells of the first row with that heading, without line breaks."""
        cells = next(r for r in self.rows if r and r[0].strip() == heading)
        return [" ".join(c.split()) for c in cells[1:]]


def page(folder: Path) -> tuple[str, Outline]:
    path = write_report(folder)
    assert path == folder / "report.html"
    text = path.read_text(encoding="utf-8")
    return text, Outline(text)


def test_trial_page_keeps_columns_apart(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    _, outline = page(make_trial(tmp_path / "t"))
    accuracy = outline.row("accuracy")
    assert [c.split()[0] for c in accuracy] == ["0.698", "0.658", "0.512", "0.918", "0.601"]
    assert [c.split()[-1] for c in accuracy] == ["n=450", "n=450", "n=450", "n=441", "n=441"]
    assert all(re.search(r"\[0\.\d{3}, 0\.\d{3}\]", c) for c in accuracy)
    assert [r[0] for r in outline.rows if r[0].startswith("macro")] == ["macro precision", "macro recall", "macro-F1"]


def test_each_reason_of_a_rejection_has_its_counts(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_trial(tmp_path / "t")
    table = pd.read_parquet(folder / "attempts.parquet")
    again = table[table.accepted].assign(attempt=1, slot=20, accepted=False, reason="too dark <b>")
    table["reason"] = np.where(table.accepted, None, "another class is more probable")
    pd.concat([table, again]).to_parquet(folder / "attempts.parquet")
    text, outline = page(folder)
    rejected = str((~table.accepted).sum())
    assert outline.row("another class is more probable") == [rejected, rejected]
    assert outline.row("too dark <b>") == ["0", str(len(again))]
    assert "too dark <b>" not in text, "it is escaped"


def test_published_scores_stand_beside_ours(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    _, outline = page(make_trial(tmp_path / "t"))
    mucus = outline.row("mucus")
    assert mucus[:3] == ["0.353", "0.600", "0.444"]
    assert [c.split()[0] for c in mucus[3:]] == ["0.77", "0.40", "0.53", "0.69", "0.36", "0.47"]
    assert outline.row("mean of the classes")[:3] == ["0.682", "0.711", "0.673 [0.60, 0.73]"]


def test_without_a_published_result_each_class_has_the_scores_of_gate_and_judge_alone(make_trial, tmp_path: Path) -> None:
    _, outline = page(make_trial(tmp_path / "t", right=(40, 30), slugs=("cat", "dog")))
    rows = [[c.split()[0] for c in row[1:]] for row in outline.rows if row[0] in ("cat", "dog", "mean of the classes") and len(row) == 7]
    assert [row[1] for row in rows] == ["0.80", "0.60", "0.700"], "recall by the gate of each row"


def test_each_class_stands_beside_the_real_images_of_that_class(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    _, outline = page(make_trial(tmp_path / "t"))
    mucus, adipose = ([r[1:] for r in outline.rows if r[0] == name and len(r) == 10] for name in ("mucus", "adipose"))
    assert [c.split()[0] for c in mucus[-1]] == ["0.110", "0.210", "0.090", "0.020", "0.310", "0.420", "0.930", "not", "not"]
    assert len(adipose) == len(mucus) - 1, "a class of which nothing was measured has no row"


def test_the_page_tells_what_colour_alone_does_and_how_independent_the_judge_is(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    text, outline = page(make_trial(tmp_path / "t"))
    assert outline.row("colour alone, validation images")[0].startswith("0.623")
    sentence = " ".join(re.sub(r"<[^>]+>", " ", text).split())
    assert "on the same real images (validation images: 0.270 [0.100, 0.440]" in sentence


@pytest.mark.parametrize(
    "told, linked",
    [
        ("https://wandb.ai/team/tissue/runs/3f9a\n", True),
        ("javascript:alert(1)", False),
        ('https://x/"><script>alert(1)</script>', False),
        ("file:///etc/passwd", False),
    ],
)
def test_a_run_that_can_be_seen_online_is_linked_and_nothing_else_is(make_trial, tmp_path: Path, told: str, linked: bool) -> None:
    folder = make_trial(tmp_path / "study" / "t")
    (folder / "tracked_at.txt").write_text(told)
    text, _ = page(folder)
    study = write_report(folder.parent).read_text(encoding="utf-8")
    assert ('<a href="https://wandb.ai/team/tissue/runs/3f9a">run in W&amp;B</a>' in text) == linked
    assert (re.search(r'"address": ?"https:.{0,9}wandb.ai', study) is not None) == linked
    assert "alert(1)" not in text + study and "etc/passwd" not in text + study


def test_sections_stand_in_the_order_in_which_they_are_asked_about_and_the_contents_lead_to_each(make_trial, tmp_path: Path) -> None:
    text, outline = page(make_trial(tmp_path / "t"))
    order = re.findall(r'<h[12] id="([a-z]+)"', text)
    assert order == ["summary", "images", "agreement", "classes", "confusion", "closeness", "trust", "training", "missing", "settings"]
    assert [link[1:] for link in outline.links if link.startswith("#")] == ["top", *order]
    assert "<details><summary>What was run" in text, "settings are folded"


def test_the_reason_of_a_rejection_stands_beside_the_accepted_image_and_a_click_shows_all_attempts(make_trial, tmp_path: Path) -> None:
    folder = make_trial(tmp_path / "t")
    table = pd.read_parquet(folder / "attempts.parquet")
    mucus = table[(table.class_slug == "mucus") & table.accepted].iloc[[0]]
    first = mucus.assign(accepted=False, reason="another class is more probable", predicted=2, probability=0.125)
    then = mucus.assign(attempt=1, probability=0.875, seed=77)
    rest = table.drop(mucus.index)
    pd.concat([rest, first, then]).to_parquet(folder / "attempts.parquet")
    text, _ = page(folder)
    label = "mucus, request 0: rejected, another class is more probable (gate: debris); accepted at attempt 2. Show all 2 attempts."
    target = re.search(rf'popovertarget="([^"]+)">\s*<span class="sr">{re.escape(label)}', text)
    assert target
    shown = text.split(f'id="{target[1]}"', 1)[1].split("</div>\n</li>", 1)[0]
    cells = [[" ".join(c.split()) for c in row[1:]] for row in Outline(f"<div {shown}</div>").rows[1:]]
    assert cells[0][:3] == ["another class is more probable", "debris", "0.12"] and cells[0][-1] == "mucus-00000-0"
    assert cells[1][:3] == ["accepted", "mucus", "0.88"] and cells[1][-2:] == ["77", "mucus-00000-1"]


def test_terms_are_explained_by_the_glossary_for_mouse_touch_and_screen_reader(make_trial, tmp_path: Path) -> None:
    text, _ = page(make_trial(tmp_path / "t"))
    for key in ("kid", "coverage", "before_filtering", "judge", "ece"):
        told = html.escape(load_glossary()[key].text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")
        (button,) = set(re.findall(rf'<button[^>]*popovertarget="word-{key}"[^>]*>', text))
        assert f'aria-describedby="word-{key}"' in button and f'title="{told}"' in button
        assert re.search(rf'<div popover id="word-{key}" class="word"><b>[^<]+</b> {re.escape(told)}', text)


def test_confusion_matrices_show_every_count(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    text, outline = page(make_trial(tmp_path / "t"))
    rows = [r for r in outline.rows if len(r) == 10 and r[0] == "normal mucosa"]
    assert [[int(c) for c in r[1:] if c] for r in rows] == [[12, 38], [10, 40], [37, 4]]
    assert len(re.findall(r'class="own ', text)) == 27


def test_trial_page_is_self_contained_and_runs_nothing(study: Path) -> None:
    write_report(study)
    text = (study / "a-16" / "report.html").read_text(encoding="utf-8")
    outline = Outline(text)
    assert outline.sources and all(source.startswith("data:image/") for source in outline.sources)
    assert not {"script", "link", "iframe", "object"} & set(outline.tags)
    assert "url(" not in text and "@import" not in text


def test_real_tissue_is_shown_only_when_asked_for(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_trial(tmp_path / "t", data="pathmnist 32 px")
    drawn, plots, real, beside_training = 90, 2, 90, 8
    assert len(page(folder)[1].sources) == drawn + plots
    write_report(folder, real=True)
    assert len(Outline((folder / "report.html").read_text(encoding="utf-8")).sources) == drawn + plots + real + beside_training


def test_what_users_typed_is_escaped(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    typed = {"name": HOSTILE, "question": HOSTILE, "prompt": HOSTILE, "data": HOSTILE}
    folder = tmp_path / "study"
    for name, rank in (("one", 4), ("two", 8)):
        make_trial(folder / name, rank=rank, missing=(Missing(HOSTILE, HOSTILE),), overrides=(HOSTILE,), **typed)
    write_report(folder)
    text = (folder / "one" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text and "&lt;script&gt;alert(" in text
    assert "script" not in Outline(text).tags
    study = (folder / "report.html").read_text(encoding="utf-8")
    assert HOSTILE not in study and study.count("<script") == study.count("<script>") + 1
    assert {r["name"] for r in payload(study)["trials"]} == {HOSTILE}


def payload(text: str) -> dict[str, Any]:
    """The record set that the dashboard's script draws from."""
    return json.loads(text.split('id="study">', 1)[1].split("</script>", 1)[0])


def test_missing_values_and_their_reasons(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    text, _ = page(make_trial(tmp_path / "t", missing=(Missing("kid on test", "test was not requested"),)))
    assert "kid on test: test was not requested" in text
    text, _ = page(make_trial(tmp_path / "u"))
    assert "All measurements are there" in text


def test_class_without_accepted_image_says_so(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    text, _ = page(make_trial(tmp_path / "t"))
    assert text.count("no image") == 1, "beside training images"
    unfilled = sum(hits < 50 and 10 - hits // 5 for hits in (48, 50, 41, 44, 20, 36, 30, 33)) + 10
    assert text.count('<span class="lost">never accepted</span>') == unfilled


def test_page_without_images_and_history(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_trial(tmp_path / "t")
    shutil.rmtree(folder / "grids")
    for name in ("history.csv", "attempts.parquet"):
        (folder / name).unlink()
    text, outline = page(folder)
    assert len(outline.sources) == 1, "reliability alone"
    assert "This trial kept no images." in text and "How training went" not in text


def test_a_trial_of_an_earlier_version_has_a_page_that_says_which_images_it_lacks(make_trial, tmp_path: Path) -> None:
    """It kept rejected first attempts and real images on contact sheets alone, whatever their geometry."""
    folder = make_trial(tmp_path / "t")
    for name in ("rejected", "grids/real", "grids/nearest"):
        shutil.rmtree(folder / name)
    (folder / "grids" / "first_attempts.png").write_text("no sheet")
    text, outline = page(folder)
    assert "Rejected first attempts are not shown" in text and "Real images are not shown" in text
    assert sum(source.startswith("data:image/png") for source in outline.sources) == 58, "the accepted images"
    study = write_report(folder.parent).read_text(encoding="utf-8")
    assert "Rejected first attempts are not shown" in study


def test_study_page_links_to_reports_that_exist(study: Path) -> None:
    (study / "a-16").rename(study / "a #16")
    text = write_report(study).read_text(encoding="utf-8")
    records = payload(text)["trials"]
    assert {r["link"] for r in records} == {"a%20%2316/report.html", "b-4/report.html", ""}
    assert (study / "a #16" / "report.html").is_file()
    assert "Does a higher rank draw better tissue?" in text
    assert [r["problem"] for r in records if r["state"] == "failed"] == ["the loss became nan"]
    assert {key for c in payload(text)["configurations"] for key in c["settings"]} == {"lora.rank"}


def test_same_input_same_bytes_and_nothing_left_over(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_trial(tmp_path / "t")
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first
    assert not list(folder.glob("*.partial"))


def test_no_finished_trial_is_one_line(study: Path) -> None:
    with pytest.raises(RequestError, match=r"holds no finished trial.*failed, the loss became nan") as error:
        write_report(study / "c-64")
    assert "\n" not in str(error.value)
    assert not (study / "c-64" / "report.html").exists()


def test_report_never_imports_torch() -> None:
    code = "import sys, pathsynth.report.page, pathsynth.report.table; print(sorted({'torch', 'matplotlib', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
