"""`pathsynth init`, and that a changed copy is what then runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pathsynth.config.shipped import conf_folder, studies_folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def copied(pathsynth) -> Path:
    ended = pathsynth("init", "my own")
    assert ended.code == 0, ended.err
    assert "--config-dir 'my own/conf'" in ended.out
    assert f"'hydra.searchpath=[file://{pathsynth.folder}/my own/conf]'" in ended.out
    return pathsynth.folder / "my own" / "conf"


def config(pathsynth, prefix: str, study: str = "runs") -> dict:
    return json.loads((pathsynth.trial(prefix, study) / "manifest.json").read_text())["config"]


def test_everything_is_copied_and_nothing_else(pathsynth, copied):
    assert files(copied) == files(conf_folder()) | {f"study/{name}": text for name, text in files(studies_folder() / "study").items()}
    assert os.listdir(copied.parent) == ["conf"]
    assert not (pathsynth.folder / "multirun").exists()


@pytest.mark.slow
def test_unchanged_copies_make_the_same_trial(pathsynth, copied):
    assert pathsynth.run("lora.rank=2").code == 0
    ended = pathsynth.run("--config-dir", str(copied), "lora.rank=2")
    assert ended.code == 0, ended.err
    assert "done already" in ended.out


@pytest.mark.slow
def test_changed_copies_are_used(pathsynth, copied):
    for name, before, after in [
        ("lora/default.yaml", "rank: 16", "rank: 5"),
        ("evaluate/default.yaml", "n: ", "n: 1"),
        ("run.yaml", "command: run", "command: run\nseed: 77"),
    ]:
        text = (copied / name).read_text()
        assert before in text
        (copied / name).write_text(text.replace(before, after, 1))
    ended = pathsynth.run("--config-dir", "my own/conf")
    assert ended.code == 0, ended.err
    used = config(pathsynth, "run-")
    assert (used["lora"]["rank"], used["seed"], str(used["evaluate"]["n"])[0]) == (5, 77, "1")
    assert pathsynth.made[-1].split()[:2] == ["evaluate", "5"]


@pytest.mark.slow
def test_a_changed_study_and_a_new_one_are_used(pathsynth, copied):
    demo = copied / "study" / "demo.yaml"
    demo.write_text(demo.read_text().replace("lora.rank: 1,16", "lora.rank: 3,4"))
    ended = pathsynth.run("--config-dir", str(copied), "study=demo")
    assert ended.code == 0, ended.err
    assert {line.split()[1] for line in pathsynth.made if line.startswith("finetune")} == {"3", "4"}
    (copied / "study" / "mine.yaml").write_text(demo.read_text().replace("name: demo", "name: mine"))
    ended = pathsynth.run(f"hydra.searchpath=['file://{copied}']", "study=mine")
    assert ended.code == 0, ended.err
    ended = pathsynth.run("--config-dir", str(copied), "study=mien")
    assert (ended.code, "nearest: mine" in ended.err) == (2, True)


def test_nothing_is_overwritten(pathsynth, copied):
    (copied / "run.yaml").write_text("mine")
    ended = pathsynth("init", "my own")
    assert (ended.code, ended.err) == (2, "pathsynth: my own/conf already exists and is not overwritten; name another folder\n")
    assert (copied / "run.yaml").read_text() == "mine"
    (pathsynth.folder / "file").touch()
    ended = pathsynth("init", "file")
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert "file/conf cannot be written" in ended.err


def test_a_configuration_folder_that_is_not_there_is_reported(pathsynth):
    ended = pathsynth.run("--config-dir", "nowhere")
    assert (ended.code, len(ended.err.splitlines())) == (2, 1), ended.err
    assert "nowhere' not found" in ended.err
    assert pathsynth.files() == []
