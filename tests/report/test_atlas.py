"""The atlas's files and numbers, from made-up sets of many label spaces; what a reader sees of them is test_atlas_browser.py's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from generated_sets import HOSTILE, probabilities, write_set

from pathsynth.__main__ import dispatch
from pathsynth.report.atlas import confused_classes, lookalikes, read_generated, size_words, write_atlas
from pathsynth.report.tissue_texts import shipped_texts
from pathsynth.vocabulary.labels import COLORECTAL
from tests.forked import forked_output

BLOOD = ("basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet")


def record(site: Path) -> dict[str, Any]:
    """The data of a page."""
    page = (site / "index.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="atlas">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def files(folder: Path) -> list[str]:
    """All that lies in a folder, hidden files too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_site_shows_each_image_as_it_is_with_its_probabilities(tmp_path, capsys):
    source = write_set(tmp_path / "set", COLORECTAL.slugs)
    assert dispatch(["atlas", str(source), str(tmp_path / "site")]) == 0
    told = capsys.readouterr().out
    assert "27 accepted images; the set has no judge" in told and f"atlas: {tmp_path / 'site' / 'index.html'}" in told
    atlas = record(tmp_path / "site")
    assert len(atlas["images"]) == 27 and atlas["judgeCounts"] is None
    assert atlas["images"][0]["gate"] == [0.8, 0.2, *[0] * 7]
    shown = [(tmp_path / "site" / image["file"]).read_bytes() for image in atlas["images"]]
    assert shown == [path.read_bytes() for path in sorted((source / "images").rglob("*.png"))]
    assert all(c["slug"] not in image["file"] for image in atlas["images"] for c in atlas["classes"]), "a name would tell the answer"
    assert np.array(atlas["gateCounts"]).trace() == 18 and atlas["gateCounts"][0][1] == 1, "first attempts"
    assert all(len(c["lookFor"]) == 3 and c["sources"] and not c["byUser"] for c in atlas["classes"])
    assert "cannot teach fine detail" in " ".join(atlas["scale"])
    assert not [name for name in files(tmp_path) if "/." in name or name.startswith(".")]
    assert sum(path.stat().st_size for path in (tmp_path / "site").glob("atlas.*")) < 50_000


def test_an_image_that_the_judge_takes_for_another_class_is_counted_and_is_nobodys_lookalike(tmp_path):
    images = read_generated(write_set(tmp_path / "set", BLOOD))
    judge = np.array([probabilities(row.label, 8) for row in images.accepted])
    judge[0] = probabilities(3, 8)
    (tmp_path / "site").mkdir()
    write_atlas(tmp_path / "site", images, judge, {}, 40, "t")
    atlas = record(tmp_path / "site")
    assert atlas["judgeCounts"][0][:4] == [2, 0, 0, 1] and atlas["images"][0]["judge"][3] == 0.8
    assert atlas["lookalike"][:4] == [3, 2, 1, 0], "the judge's mistake counts before the gate's"
    assert 0 not in [image["near"].get("0") for image in atlas["images"]]
    assert all(c["lookFor"] == [] for c in atlas["classes"]), "no text is invented for other classes"


def test_lookalikes_are_the_nearest_of_the_other_class():
    seen = np.array([[0.9, 0.1], [0.6, 0.4], [0.1, 0.9], [0.45, 0.55]])
    assert lookalikes(np.array([0, 0, 1, 1]), seen) == [{"1": 3}, {"1": 3}, {"0": 1}, {"0": 1}]


def test_where_nothing_was_confused_the_probability_decides():
    none = np.zeros((3, 3), dtype=int)
    probability = np.array([[0.9, 0.02, 0.08], [0.05, 0.9, 0.05], [0.0, 0.1, 0.9]])
    assert confused_classes(none, None, probability) == [2, 2, 1]


@pytest.mark.parametrize(
    "slugs, size, empty",
    [
        (("benign", "malignant"), (64, 48), ()),
        (tuple(f"class-{i}" for i in range(14)), (8, 8), ("class-3", "class-13")),
        (("xn--p8s370b", "red-cells"), (224, 224), ()),
        ((HOSTILE, "b"), (28, 28), ("b",)),
    ],
    ids=["two classes", "fourteen, two of them empty", "not Latin", "hostile"],
)
def test_any_label_space_makes_a_site(tmp_path, capsys, slugs, size, empty):
    source = write_set(tmp_path / "set", slugs, size=size, empty=empty)
    assert dispatch(["atlas", str(source), str(tmp_path / "site"), "--images", "2"]) == 0
    atlas = record(tmp_path / "site")
    assert len(atlas["images"]) == 2 * (len(slugs) - len(empty)) and atlas["size"] == list(size)
    assert [c["slug"] for c in atlas["classes"]] == list(slugs)
    told = capsys.readouterr().out
    assert (f"without an accepted image: {', '.join(empty)}" in told) == bool(empty)
    if slugs[0].startswith("xn"):
        assert atlas["classes"][0]["name"] == "汉字"
    assert "<img src=x" not in (tmp_path / "site" / "index.html").read_text()


@pytest.mark.parametrize("least, words", [(28, "cannot teach fine detail"), (128, "not to be judged"), (224, "do not learn")])
def test_what_a_size_cannot_teach_is_said(least, words):
    assert words in " ".join(size_words((least, least), colorectal=True))


def test_own_texts_replace_ours_and_must_name_classes_of_the_set(tmp_path, capsys):
    source = write_set(tmp_path / "set", BLOOD)
    good, bad, wrong = (tmp_path / f"{name}.yaml" for name in ("good", "bad", "wrong"))
    good.write_text("platelet:\n  look_for: [small, '<b>no nucleus</b>']\n  sources: [a book]\n")
    bad.write_text("plateletts:\n  look_for: [small]\n")
    wrong.write_text("platelet:\n  look: [small]\n")
    assert dispatch(["atlas", str(source), str(tmp_path / "site"), "--texts", str(good)]) == 0
    platelet = record(tmp_path / "site")["classes"][7]
    assert (platelet["lookFor"], platelet["byUser"]) == (["small", "<b>no nucleus</b>"], True)
    capsys.readouterr()
    for path, told in ((bad, "nearest: platelet"), (wrong, "platelet.look"), (tmp_path / "none.yaml", "cannot be read")):
        assert dispatch(["atlas", str(source), str(tmp_path / "other"), "--texts", str(path)]) == 2
        assert told in capsys.readouterr().err and not (tmp_path / "other").exists()


def damage(source: Path, kind: str) -> None:
    log = source / "attempts.parquet"
    image = source / "images" / "c0" / "00001-0.png"
    if kind == "log cut off":
        log.write_bytes(log.read_bytes()[:200])
    elif kind == "column gone":
        pd.read_parquet(log).drop(columns="probabilities").to_parquet(log)
    elif kind == "no rows":
        pd.read_parquet(log).iloc[:0].to_parquet(log)
    elif kind == "nothing accepted":
        table = pd.read_parquet(log)
        table.assign(accepted=False).to_parquet(log)
    elif kind == "label beyond the classes":
        pd.read_parquet(log).assign(label=9).to_parquet(log)
    elif kind == "image cut off":
        image.write_bytes(image.read_bytes()[:60])
    elif kind == "image gone":
        image.unlink()
    elif kind == "image elsewhere":
        (source.parent / "secret.png").write_bytes(image.read_bytes())
        table = pd.read_parquet(log)
        table.loc[table["image"] == "images/c0/00001-0.png", "image"] = "../secret.png"
        table.to_parquet(log)
    elif kind == "no set":
        log.unlink()


KINDS = [
    ("log cut off", "damaged"),
    ("column gone", "damaged"),
    ("no rows", "no rows"),
    ("nothing accepted", "no accepted image"),
    ("label beyond the classes", "damaged"),
    ("image cut off", "cannot be read"),
    ("image gone", "is missing"),
    ("image elsewhere", "outside the set"),
    ("no set", "holds no generated set"),
]


@pytest.mark.parametrize("kind, told", KINDS, ids=[kind for kind, _ in KINDS])
def test_an_empty_or_damaged_set_is_refused_in_one_line(tmp_path, capsys, kind, told):
    source = write_set(tmp_path / "set", ("a", "b"))
    damage(source, kind)
    before = files(tmp_path)
    assert dispatch(["atlas", str(source), str(tmp_path / "deep" / "site")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line and files(tmp_path) == before


def test_a_folder_in_use_is_refused_and_force_replaces_atlases_alone(tmp_path, capsys):
    source, site = write_set(tmp_path / "set", ("a", "b")), tmp_path / "site"
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("mine")
    assert dispatch(["atlas", str(source), str(site)]) == 0
    assert dispatch(["atlas", str(source), str(site)]) == 2
    assert "--force" in capsys.readouterr().err
    (site / "images" / "old.png").touch()
    assert dispatch(["atlas", str(source), str(site), "--force"]) == 0
    assert not (site / "images" / "old.png").exists()
    assert dispatch(["atlas", str(source), str(other), "--force"]) == 2
    assert "is no atlas" in capsys.readouterr().err and files(other) == ["chapter.txt"]


def test_of_a_study_the_one_set_is_taken_and_several_are_named(tmp_path, capsys):
    write_set(tmp_path / "study" / "n=3-aa", ("a", "b"))
    assert dispatch(["atlas", str(tmp_path / "study"), str(tmp_path / "site")]) == 0
    write_set(tmp_path / "study" / "n=4-bb", ("a", "b"))
    assert dispatch(["atlas", str(tmp_path / "study"), str(tmp_path / "other")]) == 2
    assert "holds 2 sets; name one of them: n=3-aa, n=4-bb" in capsys.readouterr().err


def test_a_full_disk_leaves_nothing_and_the_old_site_as_it_was(tmp_path, capsys, small_disk):
    disk = small_disk(tmp_path / "small")
    site = disk.place / "site"
    assert dispatch(["atlas", str(write_set(tmp_path / "set", ("a", "b"))), str(site)]) == 0
    before = {name: (site / name).read_bytes() for name in files(site) if (site / name).is_file()}
    large = write_set(tmp_path / "large", ("a", "b"), n=8, size=(224, 224))
    capsys.readouterr()
    assert dispatch(["atlas", str(large), str(site), "--force"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space left on device" in line and "free some space" in line
    assert {name: (site / name).read_bytes() for name in files(site) if (site / name).is_file()} == before
    assert [path.name for path in disk.place.iterdir()] == ["site"]


def test_the_site_is_opened_and_without_a_trial_no_torch_is_loaded(tmp_path, run_command, monkeypatch):
    write_set(tmp_path / "set", ("a", "b"))
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was loaded')\n")
    run_command(tmp_path, "atlas", "set", "site", "--open")
    assert (tmp_path / "opened").read_text().strip() == (tmp_path / "site" / "index.html").as_uri()


def test_our_texts_are_for_our_classes_alone():
    assert len(shipped_texts(COLORECTAL)) == 9
    assert all(len(point) < 200 for text in shipped_texts(COLORECTAL).values() for point in text.look_for)


@pytest.mark.slow
def test_a_set_from_the_shipped_bundle_is_judged(tmp_path):
    forked_output(tmp_path, "generate", "labels=[mucus,debris]", "n=2", "study.name=tissue", "tracking=none")
    told = forked_output(tmp_path, "atlas", "multirun/tissue", "site")
    atlas = record(tmp_path / "site")
    assert "the judge confirms" in told and len(atlas["classes"]) == 9 and np.array(atlas["judgeCounts"]).sum() == len(atlas["images"])
    assert all(abs(sum(image["judge"]) - 1) < 0.01 for image in atlas["images"])
