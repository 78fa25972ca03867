"""What is said of a request's words before anything is drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pathsynth.config.shipped import assets_folder
from pathsynth.studies.planning.prompt_check import TextReader, text_reader


@pytest.fixture
def reader() -> TextReader:
    found = text_reader(assets_folder() / "tiny")
    assert found
    return found


def test_the_embedded_base_knows_its_words_and_cuts_long_texts(reader):
    assert reader.length == 32
    assert reader.in_pieces("an H&E slide with smooth muscle, 汉字 and Épithélium") == ["汉字", "épithélium"]
    assert not reader.is_cut("pale " * 30) and reader.is_cut("pale " * 31)


def test_a_text_is_cut_where_the_encoder_stops(reader):
    from transformers import CLIPTokenizer

    own = CLIPTokenizer.from_pretrained(assets_folder() / "tiny" / "tokenizer")
    for text in ("pale mucus", "zebra crossings, 12 of them: don't", "汉字 " * 9):
        assert len(reader.tokenizer.encode(text, add_special_tokens=False).ids) + 2 == len(own(text).input_ids), text


def test_the_older_form_of_a_tokenizer_gives_the_same_tokens(reader, tmp_path: Path):
    whole = json.loads((assets_folder() / "tiny" / "tokenizer" / "tokenizer.json").read_text())["model"]
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(whole["vocab"]))
    merges = [" ".join(m) if isinstance(m, list) else m for m in whole["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 32}))
    older = text_reader(tmp_path)
    assert older
    for text in ("pale mucus, isn't it", "zebra 12"):
        assert older.tokenizer.encode(text).ids == reader.tokenizer.encode(text, add_special_tokens=False).ids


def test_a_base_without_a_tokenizer_has_no_reader(tmp_path):
    assert text_reader(tmp_path) is None
