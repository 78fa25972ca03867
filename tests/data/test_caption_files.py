"""Captions of single images: each form in which they may come, and each fault of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pathsynth.config import DataConfig
from pathsynth.data.caption_files import caption_paths, read_captions
from pathsynth.data.catalogue import captions_of, splits_of
from pathsynth.data.survey import survey
from pathsynth.ledger.errors import RequestError

NAMES = [f"{name}/{i}.png" for name in ("a", "b") for i in range(4)]
WORDS = {name: f"cell, {name[0]} {name[2]}" for name in NAMES}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 20 * number, np.uint8)).save(path)
    return tmp_path / "own"


def write(root: Path, form: str, words=WORDS, encoding: str = "utf-8") -> str:
    """Captions in one of their forms; returns ``data.captions``."""
    if form == "txt":
        for name, text in words.items():
            (root / name).with_suffix(".txt").write_text(text, encoding=encoding)
        return form
    path = root.parent / form
    if form.endswith(".csv"):
        lines = ["split,file_name,text", *(f'train,{name},"{text}"' for name, text in words.items())]
    else:
        lines = [json.dumps({"file_name": name, "text": text}, ensure_ascii=False) for name, text in words.items()]
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return str(path)


def read(root: Path, source: str, names=NAMES):
    return read_captions(source, root, [root / name for name in names])


FORMS = ["txt", "metadata.jsonl", "captions.csv"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("form", FORMS)
def test_every_image_has_its_own_caption_in_the_order_of_the_images(root, form, encoding):
    words = {**WORDS, "a/0.png": "细胞, Épithélium"}
    source = write(root, form, words, encoding)
    names = [*NAMES[::-1][2:], "b/3.png"]
    found = read(root, source, names)
    assert found.texts == tuple(words[name] for name in names)
    assert found.notes == (
        "each image of train is learned with its own caption, not with the prompts of its class: 7 images, 7 different captions",
    )


def test_forms_with_the_same_words_are_the_same_captions(root):
    digests = {read(root, write(root, form)).digest for form in FORMS}
    assert len(digests) == 1
    assert read(root, write(root, "txt", {"b/3.png": "another"})).digest not in digests
    assert read(root, "txt", NAMES[::-1]).digest not in digests


def test_the_first_line_of_a_text_file_is_taken_and_the_others_are_said(root):
    write(root, "txt", {**WORDS, "a/0.png": "\r\n  pale cell \r\ndark cell\r\n", "a/1.png": "one\u2028line"})
    found = read(root, "txt")
    assert found.texts[:2] == ("pale cell", "one\u2028line")
    assert found.notes[1:] == ("caption files with several lines, of which the first is taken: 1 (0.txt)",)


@pytest.mark.parametrize("form", FORMS)
def test_captions_of_files_that_are_not_there_are_said_and_those_of_other_splits_are_not(root, form):
    source = write(root, form, {**WORDS, **{f"a/x{i}.png": "x" for i in range(5)}})
    (note,) = read(root, source, NAMES[:6]).notes[1:]
    first = "x0.txt, x1.txt, x2.txt" if form == "txt" else "a/x0.png, a/x1.png, a/x2.png"
    assert note == f"captions of files that are not there, passed over: 5 ({first}, …)"


@pytest.mark.parametrize("form", FORMS)
def test_images_without_a_caption_and_empty_captions_are_counted_and_the_first_three_named(root, form):
    kept = {name: text for name, text in WORDS.items() if name in ("a/0.png", "a/1.png", "b/3.png")}
    source = write(root, form, {**kept, "a/1.png": " "})
    with pytest.raises(RequestError) as refusal:
        read(root, source)
    missing, empty = refusal.value.faults
    assert f"data.captions={source} has no caption for 5 of 8 images of train (a/2.png, a/3.png, b/0.png, …); each needs" in missing
    assert "has an empty caption for 1 of 8 images of train (a/1.png); write one" in empty
    assert not any("\n" in fault for fault in refusal.value.faults)


def test_names_are_below_the_root_with_forward_slashes(root):
    assert read(root, write(root, "captions.csv", {f"./{name}": text for name, text in WORDS.items()})).texts == tuple(WORDS.values())
    for wrong in ("{}\\{}", f"{root}/{{}}/{{}}", "../own/{}/{}"):
        source = write(root, "captions.csv", {wrong.format(*name.split("/")): text for name, text in WORDS.items()})
        with pytest.raises(RequestError, match="no caption for 8 of 8 images .* the path below data.root with forward slashes"):
            read(root, source)


@pytest.mark.parametrize(
    ("form", "content", "told"),
    [
        ("m.jsonl", b'{"file_name": "a/0.png", "text": "x"', "line 1: no JSON ("),
        ("m.jsonl", b'\n{"file_name": "a/0.png", "caption": "x"}', "line 2: file_name and text should be words, and there is an object"),
        ("m.jsonl", b'{"file_name": "a/0.png", "text": 3}', "line 1: file_name and text should be words"),
        ("m.jsonl", b'["a/0.png", "x"]', "line 1: file_name and text should be words, and there is list"),
        ("m.jsonl", b"[" * 100_000, "line 1: no JSON ("),
        ("m.jsonl", b'{"file_name": "", "text": "x"}', "line 1: file_name is empty"),
        ("m.jsonl", b'{"file_name": "a/0.png", "text": "x"}\n{"file_name": "./a/0.png", "text": "y"}', "line 2: ./a/0.png has a caption"),
        ("m.jsonl", "{}".encode("utf-16"), "cannot be read ('utf-8' codec"),
        ("c.csv", b"file;text\na/0.png;x\n", "has no column file_name, but file;text;"),
        ("c.csv", b"file_name,caption\na/0.png,x\n", "has no column text, but file_name, caption;"),
        ("c.csv", b"", "has no column file_name, but none"),
        ("c.csv", b"file_name,text\na/0.png,pale, round\n", "line 2: more cells than columns; put a caption with commas in double quotes"),
        ("c.csv", b"text,file_name\nx\n", "line 2: file_name is empty"),
        ("c.csv", b"file_name,text\na/0.png,x\na/0.png,x\n", "line 3: a/0.png has a caption before"),
        ("c.csv", b"file_name,text\na/0.png,\xff\n", "cannot be read ('utf-8' codec"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused_in_one_line(root, form, content, told):
    (root.parent / form).write_bytes(content)
    with pytest.raises(RequestError) as refusal:
        read(root, str(root.parent / form))
    assert told in str(refusal.value) and form in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_table_that_is_not_there_and_a_text_file_of_another_encoding_are_refused(root):
    with pytest.raises(RequestError, match="none.csv cannot be read"):
        read(root, str(root / "none.csv"))
    write(root, "txt")
    (root / "b" / "0.txt").write_bytes("Épithélium".encode("latin-1"))
    with pytest.raises(RequestError, match="0.txt cannot be read .* a caption is a text file in UTF-8"):
        read(root, "txt")


def test_a_table_that_is_replaced_is_read_anew(root):
    source = write(root, "captions.csv")
    before = read(root, source).digest
    assert read(root, write(root, "captions.csv", {**WORDS, "a/0.png": "quite another caption"})).digest != before


def test_the_captions_of_a_data_set_are_those_of_the_images_in_train(root):
    config = DataConfig(name="folder", size=16, root=str(root), captions=write(root, "txt"))
    found, train = captions_of(config), splits_of(config).files["train"]
    assert found and len(found.texts) == 4
    assert found.texts == tuple(WORDS[file.path.relative_to(root).as_posix()] for file in train)
    for file in splits_of(config).files["test"]:
        file.path.with_suffix(".txt").unlink()
    again = captions_of(config)
    assert again and again.digest == found.digest


def test_the_files_that_captions_are_read_from_are_known(root):
    images = [root / name for name in NAMES]
    assert caption_paths("txt", images) == []
    write(root, "txt", {"a/0.png": "x"})
    assert caption_paths("txt", images) == [root / "a" / "0.txt"]
    assert caption_paths(write(root, "captions.csv"), images) == [root.parent / "captions.csv"]


def test_a_survey_counts_captions_and_says_what_is_wrong_with_them(root):
    def of(**more):
        return survey(DataConfig(name="folder", size=16, root=str(root), **more), 1)

    source = write(root, "txt")
    assert any("files of other kinds passed over: 8 .txt" in note for note in of().notes)
    told = of(captions=source)
    assert told.faults == () and told.notes[-1].endswith("4 images, 4 different captions") and not any(".txt" in n for n in told.notes)
    for name in NAMES:
        (root / name).with_suffix(".txt").write_text("\n")
    (fault,) = of(captions=source).faults
    assert "has an empty caption for 4 of 4 images of train" in fault
