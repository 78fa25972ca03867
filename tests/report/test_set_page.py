"""Pages of what is not scored: a generated set, a classifier, and a study of such trials."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pathsynth.commands.report import make_report
from pathsynth.ledger.errors import RequestError
from pathsynth.report.page import write_report
from pathsynth.vocabulary.labels import COLORECTAL
from tests.report.generated_sets import HOSTILE, write_set
from tests.report.test_page import Outline

SLUGS = COLORECTAL.slugs


def described(folder: Path, command: str, overrides: list[str], **config: dict) -> Path:
    """A finished trial's records beside what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"command": command, "study": {"name": folder.parent.name}, **config}
    (folder / "manifest.json").write_text(json.dumps({"name": folder.name, "overrides": overrides, "config": settings}))
    (folder / "state.json").write_text(json.dumps({"state": "done", "identity": "0123456789ab"}))
    return folder


def generated(folder: Path, judged: bool = True, **kinds: object) -> Path:
    """A set of three images of each class, the first after a rejected attempt; of mucus none. The judge names one of debris otherwise."""
    write_set(folder, SLUGS, empty=("mucus",), **kinds)
    if judged:
        table = pd.read_parquet(folder / "attempts.parquet")
        table = table[table.accepted]
        other = (table.class_slug == "debris") & (table.slot == 1)
        said = table[["class_slug", "slot", "attempt"]].assign(predicted=np.where(other, 4, table.label))
        said.to_parquet(folder / "judged.parquet")
    overrides = ["labels=all", "n=4", "prompt='two words'", "multirun=/home/someone/multirun"]
    sampling = {"attempts": 2, "seed": 7, "threshold": 0.0}
    return described(folder, "generate", overrides, generate={"labels": "all", "n": 4, "shards": 1}, sampling=sampling)


def classifier(folder: Path) -> Path:
    def record(metric: str, value: float, split: str, slug: str | None = None) -> dict:
        bounds = {"low": round(value - 0.05, 3), "high": round(value + 0.05, 3)}
        rest = {"n": 90, "unit": "image", "stage": None, "scorer": None, "prompts": None, "data": "phantom 32 px", "seed": 1}
        return {"metric": metric, "value": value, **bounds, **rest, "class": slug, "split": split}

    overall = [record(name, value, split) for split, value in (("val", 0.7), ("test", 0.6)) for name in ("accuracy", "macro_f1")]
    by_class = [record(name, 0.5 + i / 20, "test", slug) for i, slug in enumerate(SLUGS) for name in ("precision", "recall", "f1")]
    described(folder, "classify", ["classifier.epochs=1"], classifier={"epochs": 1})
    (folder / "scores.json").write_text(json.dumps([*overall, *by_class]))
    card = {"spec": {"architecture": "resnet18"}, "temperature": 1.3704, "card": {"part": "a"}}
    (folder / "classifier.json").write_text(json.dumps(card))
    return folder


def read(folder: Path) -> tuple[str, Outline]:
    text = write_report(folder).read_text(encoding="utf-8")
    return text, Outline(text)


def test_a_generated_set_has_a_page_that_says_what_was_asked_made_and_spent(tmp_path: Path) -> None:
    text, outline = read(generated(tmp_path / "set" / "t"))
    plain = " ".join(re.sub(r"<[^>]+>", " ", text).split())
    assert "24 of 36 requested images were accepted by the gate, in 35 attempts (1.46 for each accepted image)" in plain
    assert outline.row("mucus")[:6] == ["4", "0", "3", "1", "3", "–"]
    assert outline.row("all classes")[:5] == ["36", "24", "3", "9", "35"]
    assert outline.row("another class is more probable") == ["11", "11"]
    assert "35 of 72 allowed" in plain and "denoiser calls 700" in plain
    assert "pathsynth generate labels=all n=4 &#39;prompt=" in text and "someone" not in text.split("Every setting")[0]


def test_each_image_of_a_set_has_the_word_of_gate_and_judge(tmp_path: Path) -> None:
    text, outline = read(generated(tmp_path / "set" / "t"))
    assert "The judge confirms 0.958 [0.798, 0.993] of the 24 accepted images" in text
    assert outline.row("debris")[-1].startswith("0.667")
    assert text.count("judge: ✓") == 23 and text.count("judge: mucus") == 1
    assert len(outline.sources) == 24 and text.count('<span class="lost">no image</span>') == 11
    assert "debris, request 0: rejected, another class is more probable (gate: lymphocytes); accepted at attempt 2" in text


def test_of_a_set_without_a_judge_the_page_says_so(tmp_path: Path) -> None:
    text, _ = read(generated(tmp_path / "set" / "t", judged=False))
    assert "answers for these images: the set has no judge" in text and "judge: ✓" not in text


def test_a_set_that_no_trial_drew_alone_has_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_set(tmp_path / "joined", ("cat", "dog"), n=2, prompt=HOSTILE)
    make_report([folder])
    assert capsys.readouterr().out.splitlines()[-1] == f"report: {folder / 'report.html'}"
    text, outline = read(folder)
    assert outline.row("cat")[:4] == ["2", "2", "0", "3"], "requested, accepted, exhausted, attempts"
    assert HOSTILE not in text and "script" not in outline.tags and "<img src=x" not in text
    assert "Draw it again" not in text and "Settings" not in text


def test_a_damaged_set_is_one_line(tmp_path: Path) -> None:
    folder = generated(tmp_path / "set" / "t")
    (folder / "attempts.parquet").write_text("cut off")
    with pytest.raises(RequestError, match="the files of .* are damaged") as error:
        write_report(folder)
    assert "\n" not in str(error.value)


def test_a_classifier_has_a_page_with_its_scores_by_split_and_class(tmp_path: Path) -> None:
    text, outline = read(classifier(tmp_path / "clf" / "t"))
    assert "Of 90 real test images the classifier names 0.600 [0.550, 0.650] right" in text
    assert outline.row("validation images")[0].split() == ["0.700", "[0.650,", "0.750]", "n=90"]
    assert outline.row("debris")[-3:] == ["0.60 [0.55, 0.65]"] * 3
    assert "resnet18" in text and "1.370" in text


def test_a_study_of_sets_and_classifiers_lists_them_and_leads_to_their_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "mixed"
    generated(study / "set one")
    classifier(study / "clf")
    failed = described(study / "broken", "generate", ["n=9"])
    (failed / "state.json").write_text(json.dumps({"state": "failed", "reason": "disk full"}))
    make_report([study])
    printed = capsys.readouterr().out
    assert "24 of 36" in printed and "0.600 [0.550, 0.650]" in printed and "disk full" in printed
    outline = Outline((study / "report.html").read_text(encoding="utf-8"))
    assert {link for link in outline.links if not link.startswith("#")} == {"set%20one/report.html", "clf/report.html"}
    assert outline.row("broken") == ["failed", "disk full"]
    back = Outline((study / "clf" / "report.html").read_text(encoding="utf-8"))
    assert "../report.html" in back.links


def test_of_a_damaged_set_in_a_study_the_reason_is_shown_and_the_others_have_their_pages(tmp_path: Path) -> None:
    study = tmp_path / "mixed"
    generated(study / "good")
    shutil.copytree(study / "good", study / "bad")
    (study / "bad" / "attempts.parquet").write_text("cut off")
    text, _ = read(study)
    assert "are damaged" in text and (study / "good" / "report.html").is_file() and not (study / "bad" / "report.html").exists()
