"""`pathsynth check`, and the same checks before the first trial."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pathsynth.__main__ import dispatch


@pytest.fixture
def own(tmp_path: Path) -> Path:
    for label, name in enumerate(("01_TUMOR", "stroma")):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(6):
            pixels = np.random.default_rng([label, i]).integers(256, size=(16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "own" / name / f"slide{i}_0.png")
    return tmp_path / "own"


@pytest.fixture
def said(own, monkeypatch, capsys):
    """Runs a command line beside the images; the answer is (status, stdout, stderr)."""
    monkeypatch.chdir(own.parent)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def run(*arguments: str) -> tuple[int, str, str]:
        code = dispatch(list(arguments))
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def test_a_good_folder_has_a_table_and_status_0(said):
    code, out, err = said("check", "data=folder", "data.root=own")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split() == ["class", "train", "val", "test", "all"]
    assert "01 tumor      4    1     1    6" in out and "sizes: 16×16 (12)" in out
    assert "note: numbers before the names of classes are left out, unless data.prompts names them: 01_TUMOR is requested as “tumor”" in out


def test_a_folder_that_a_run_would_refuse_has_status_1_and_a_record(said, own):
    (own / "stroma" / "slide0_0.png").write_bytes(b"no image")
    code, out, _ = said("check", "data=folder", "data.root=own", "--json")
    record = json.loads(out)
    assert code == 1 and [u["file"] for u in record["unreadable"]] == ["stroma/slide0_0.png"] and len(record["faults"]) == 1
    code, out, _ = said("check", "data=folder", "data.root=own")
    assert code == 1 and "a run would refuse this: " in out


def test_captions_are_counted_and_what_is_wrong_with_them_has_status_1(said, own):
    for path in own.rglob("*.png"):
        path.with_suffix(".txt").write_text(f"pale {path.parent.name}")
    (own / "stroma" / "left.txt").write_text("of no image")
    code, out, _ = said("check", "data=folder", "data.root=own", "data.captions=txt")
    assert code == 0 and "its own caption, not with the prompts of its class: 8 images, 2 different captions\n" in out
    assert "note: captions of files that are not there, passed over: 1 (left.txt)\n" in out
    (own.parent / "captions.csv").write_text("file_name,text\n")
    code, out, _ = said("check", "data=folder", "data.root=own", "data.captions=captions.csv")
    assert code == 1 and "a run would refuse this: data.captions=" in out and "has no caption for 8 of 8 images of train (" in out


@pytest.mark.parametrize("words", [["data.captions=txt"], ["data.captions=none.jsonl"]])
def test_a_run_refuses_captions_that_are_not_there_and_writes_nothing(said, own, words):
    code, _, err = said("run", "data=folder", "data.root=own", "data.size=32", *words)
    assert code == 2 and len(err.splitlines()) == 1 and "data.captions=" in err
    assert not (own.parent / "multirun").exists()


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["data=folder", "data.root=own", "data.captions=caption"], "data.captions should be txt, or a .jsonl or .csv file"),
        (["data=folder", "data.root=own", "data.captions="], "data.captions should be txt"),
        (["data=medmnist", "data.captions=txt"], "data.captions belongs to data=folder"),
        (["data=folder", "data.root=none"], "no folder "),
        (["data=foldr"], "no choice 'foldr' for data; nearest: folder"),
        (["data=folder", "data.rot=own"], "no key 'data.rot'"),
        (["data=phantom"], "data=phantom has no files of images"),
        (["data=folder", "data.root=own", "data.val_share=0.9", "data.test_share=0.9"], "leave nothing for train"),
        (["data=folder", "data.root=own", "data.group=slide"], "data.group should be regex:<pattern> or csv:<file>"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_in_one_line(said, arguments, told):
    code, out, err = said("check", *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1) and told in err


@pytest.mark.parametrize("sweep", [[], ["-m"]])
def test_a_run_decodes_images_before_it_begins(said, own, sweep):
    (own / "stroma" / "slide3_0.png").write_bytes(b"no image")
    code, _, err = said("run", *sweep, "data=folder", "data.root=own", "data.size=32")
    assert code == 2 and len(err.splitlines()) == 1 and "slide3_0.png cannot be read as an image" in err
    assert not (own.parent / "multirun").exists()


@pytest.mark.slow
def test_images_that_were_decoded_are_not_decoded_again(own):
    from hydra import compose, initialize_config_dir

    from pathsynth.config.shipped import conf_folder
    from pathsynth.studies.planning.request_check import check

    def notes() -> tuple[str, ...]:
        overrides = ["data=folder", f"data.root={own}", "data.size=32", f"multirun={own.parent / 'multirun'}"]
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return check(compose("run", overrides), overrides).notes

    assert any("01_TUMOR" in line for line in notes())
    (stage,) = (own.parent / "multirun" / ".stages" / "decode").glob("*/stage.json")
    made = stage.stat().st_mtime_ns
    assert not any("01_TUMOR" in line for line in notes()), "said once"
    assert stage.stat().st_mtime_ns == made and len(list(stage.parent.parent.glob("*/stage.json"))) == 1
    Image.new("RGB", (16, 16)).save(own / "stroma" / "new.png")
    assert any("01_TUMOR" in line for line in notes())
    assert len(list(stage.parent.parent.glob("*/stage.json"))) == 2


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["label="], "label= is empty (an unset variable?)"),
        (["labels="], "labels= is empty"),
        (["labels=[]"], "labels= is empty"),
        (["prompt="], "prompt= is empty"),
        (["prompt=tissue without any tumor"], "the prompt says 'without any tumor'"),
        (["prompt=mucuss"], "nearest: mucus"),
    ],
)
def test_words_that_say_nothing_or_no_are_refused(said, arguments, told):
    code, _, err = said("generate", *arguments)
    assert code == 2 and len(err.splitlines()) == 1 and told in err


@pytest.mark.slow
def test_the_class_of_a_prompt_and_what_is_not_read_of_it_are_said(pathsynth):
    prompt = "pale mucus zebrafish " + "and pale " * 30
    ended = pathsynth("generate", "data=phantom", "tracking=none", f"prompt={prompt}", "n=1")
    assert ended.code == 0, ended.err
    assert "note: the prompt is drawn, and judged, as mucus\n" in ended.out
    assert "note: the text encoder reads 32 tokens, and cuts off the end of: “pale mucus zebrafish" in ended.out
    assert "splits: zebrafish\n" in ended.out
