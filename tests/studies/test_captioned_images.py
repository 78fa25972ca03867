"""A trial whose training images have captions of their own: how it is planned, what is said of it, and the whole loop."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from pathsynth.config import RunConfig, from_hydra
from pathsynth.config.shipped import conf_folder
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.stages import StageStore
from pathsynth.stages.plan import plan
from pathsynth.studies.planning.override_cache import Known, OverrideCache
from pathsynth.studies.planning.prompt_check import word_notes
from tests.forked import forked_output

SMALL = [
    *("study=fast", "debug=fast_dev_run", "study.name=own", "tracking=none", "lora.targets=attention", "lora.rank=1"),
    *("data=folder", "data.size=32", "data.n_train=12", "data.n_val=2", "data.n_test=2"),
]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Two classes of eight images, each with a text file beside it; a table of the same words lies beside the folder."""
    rng, rows = np.random.default_rng(0), ["file_name,text"]
    for name, low in (("tumor", 0), ("stroma", 120)):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(8):
            pixels = rng.integers(low, low + 120, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "own" / name / f"{i}.png")
            (tmp_path / "own" / name / f"{i}.txt").write_text(f"a pale image of {name} {i % 3}")
            rows.append(f"{name}/{i}.png,a pale image of {name} {i % 3}")
    (tmp_path / "captions.csv").write_text("\n".join(rows))
    return tmp_path / "own"


def configured(own: Path, *words: str, command: str = "run") -> RunConfig:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return from_hydra(compose(command, ["data=folder", "data.size=32", f"data.root={own}", f"multirun={own.parent}", *words]))


def stages(config: RunConfig) -> dict[str, str]:
    return {stage.name: stage.identity for stage in plan(config).stages}


def test_captions_count_by_the_words_of_the_images_of_train(own, monkeypatch):
    before = stages(configured(own, "data.captions=txt"))
    (own / "tumor" / "0.txt").write_text("﻿a pale image of tumor 0\n", encoding="utf-8")
    assert stages(configured(own, "data.captions=txt")) == before, "the same words, with a byte-order mark"
    monkeypatch.chdir(own.parent)
    config = configured(own, "data.captions=captions.csv")
    assert config.data and config.data.captions == str(own.parent / "captions.csv") and stages(config) == before
    for file in own.rglob("*.txt"):
        file.write_text(f"{file.read_text(encoding='utf-8-sig')}, dark")
    after = stages(configured(own, "data.captions=txt"))
    assert {name for name in before if before[name] != after[name]} == {"cache", "finetune", "generate", "evaluate"}


def test_a_caption_that_is_edited_is_a_change_that_a_study_sees(own):
    cache, config, known = OverrideCache(own.parent / "study", "t"), configured(own, "data.captions=txt"), Known(own.parent, "i", 0.0)
    cache.note(["x"], known, config)
    assert cache.find(["x"]) == known
    (own / "tumor" / "0.txt").write_text("quite another caption")
    assert cache.find(["x"]) is None
    config = configured(own, f"data.captions={own.parent / 'captions.csv'}")
    cache.note(["x"], known, config)
    assert cache.find(["x"]) == known
    (own.parent / "captions.csv").write_text("file_name,text\n")
    assert cache.find(["x"]) is None


def test_captions_that_changed_after_the_plan_are_refused(own):
    from pathsynth.stages.cache import captions
    from pathsynth.studies.execution.pipeline import Trial

    config = configured(own, "data.captions=txt")
    trial = Trial(config, plan(config), StageStore(own.parent / ".stages"), own.parent, lambda *_: None)
    assert len(captions(trial) or ()) == 12
    for file in own.rglob("*.txt"):
        file.write_text("another")
    with pytest.raises(RequestError, match="captions of images in .* have changed since the trial was planned"):
        captions(trial)


def test_what_the_text_encoder_does_not_read_of_captions_is_counted(own):
    for i, file in enumerate(sorted(own.rglob("*.txt"))):
        file.write_text(f"zebra crossing {'pale ' * 40}{i}" if i % 2 else "a pale wugword")
    config = configured(own, "data.captions=txt")
    captions = plan(config).settings["data"]["captions"]
    notes = word_notes(config, plan(config))
    assert captions == "txt" and any(note.startswith("each image of train is learned with its own caption") for note in notes)
    (cut,) = (note for note in notes if "cuts off" in note)
    assert cut.startswith("the text encoder reads 32 tokens, and cuts off the end of ") and cut.count("“zebra crossing") == 3
    (pieces,) = (note for note in notes if "does not know" in note)
    assert pieces.startswith("words of captions that the text encoder does not know and splits: ") and "wugword" in pieces


def test_a_command_that_trains_no_adapter_says_nothing_of_captions(own):
    config = configured(own, "data.captions=txt", command="classify")
    assert not any("caption" in note for note in word_notes(config, plan(config)))


@pytest.mark.slow
def test_a_run_from_end_to_end(own, small_base_folder):
    words = ["run", *SMALL, f"data.root={own}", f"base.path={small_base_folder}", "data.captions=txt"]
    told = forked_output(own.parent, *words)
    said = "note: each image of train is learned with its own caption, not with the prompts of its class: 12 images, 6 different captions"
    assert told.count(said) == 1 and "files of other kinds" not in told
    (cache,) = (own.parent / "multirun" / ".stages" / "cache").glob("*/prompts.json")
    assert [text for text in json.loads(cache.read_text())["prompts"] if text.startswith("a pale image of tumor")]
    (result,) = (own.parent / "multirun" / "own").glob("*/result.json")
    assert json.loads(result.read_text())["settings"]["data"]["captions"] == "txt"
    (own / "tumor" / "3.txt").unlink()
    for file in (own / "stroma").glob("*.txt"):
        file.write_text("")
    refused = forked_output(own.parent, *words, status=2)
    assert "an empty caption for 6 of 12 images of train (stroma/" in refused
