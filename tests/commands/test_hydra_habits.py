"""What people do with any Hydra application works behind a sub-command, too."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys

import pytest
from PIL import Image

from pathsynth.__main__ import dispatch
from pathsynth.hydra_internals import ConfigLoaderImpl


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    """A command in this process, in an empty folder, that has to end with 0 and write nothing; what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.delenv("PATHSYNTH_STARTED", raising=False)
    monkeypatch.setattr(logging.root, "handlers", [])

    def run(*arguments: str) -> str:
        logging.root.handlers.clear()  # of the command before: Hydra's write to what was the standard output then
        before = sorted(p.name for p in tmp_path.iterdir())
        code = dispatch(list(arguments))
        printed = capsys.readouterr()
        assert (code, printed.err, sorted(p.name for p in tmp_path.iterdir())) == (0, "", before)
        return printed.out

    return run


@pytest.mark.parametrize(
    "arguments, shown",
    [
        (["--cfg", "job"], "command: run"),
        (["--cfg", "job", "--resolve"], "command: run"),
        (["lora.alpha=${lora.rank}", "--cfg", "job", "--resolve", "-p", "lora"], "alpha: 16"),
        (["--cfg", "job", "-p", "sampling.steps"], "10"),
        (["study=demo", "--cfg", "hydra", "-p", "hydra.mode"], "MULTIRUN"),
        (["--cfg", "hydra"], "_target_: hydra_plugins.pathsynth.sweeper.TrialSweeper"),
        (["--cfg", "all"], "searchpath: []"),
        (["study=demo", "--cfg", "all", "--resolve", "-p", "hydra.sweep.dir"], "multirun/demo"),
        (["--info", "defaults"], "classifier/resnet18"),
        (["--info", "defaults-tree"], "study: none"),
        (["--info", "searchpath"], "pathsynth-studies"),
        (["--info", "plugins"], "JoblibLauncher"),
        (["--info", "all"], "Config search path"),
        (["--info", "config"], "Defaults List"),
        (["hydra/launcher=joblib", "--cfg", "hydra", "-p", "hydra.launcher"], "JoblibLauncher"),
        (["--hydra-help"], "--info"),
        (["--help"], "debug: fast_dev_run, none, overfit, profile"),
        (["trainer.log_every_n_steps=5", "--cfg", "job", "-p", "trainer"], "log_every_n_steps: 5"),
        (["+trainer.log_every_n_steps=5", "--cfg", "job", "-p", "trainer"], "log_every_n_steps: 5"),
        (["+lora.rank=5", "--cfg", "job", "-p", "lora"], "rank: 5"),
        (["~callbacks.lr_monitor", "~callbacks.regeneration", "--cfg", "job", "-p", "callbacks"], "{}"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_hydras_flags_show_what_is_asked_for_and_write_nothing(told, arguments, shown):
    assert shown in told("run", *arguments)


def test_a_study_with_a_debug_option_shows_the_debug_options_values(told):
    shown = told("run", "study=demo", "debug=fast_dev_run", "trainer.max_steps=3", "--cfg", "job")
    assert "name: debug" in shown and "n_train: 90" in shown and "max_steps: 3" in shown


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--resolve"], "pathsynth run: --resolve belongs to --cfg job (or all)"),
        (["--package", "lora"], "pathsynth run: --package lora belongs to --cfg job (or all)"),
        (["--cfg", "job", "-p", "nothing"], "package 'nothing' not found"),
        (["+a=b", "--cfg", "job"], "pathsynth run: unknown key a"),
        (["lora.rank=-1", "--cfg", "all", "-p", "lora"], "pathsynth run: lora.rank: input should be greater than or equal to 1"),
    ],
)
def test_what_hydra_would_show_of_a_wrong_request_is_refused_with_2(tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    assert dispatch(["run", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(told)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "sweep, told",
    [
        ("seed=sort(range(0,5,2),reverse=true)", "write the values out: seed=4,2,0"),
        ("seed=sort(range(5,0,-2))", "write the values out: seed=1,3,5"),
        ("seed=tag(x,sort(range(0,5,2),reverse=true))", "write the values out: seed=4,2,0"),
        ("seed=range(4,0)", "seed=range(4,0) names no value to sweep over"),
        ("optimizer=glob(x*)", "optimizer=glob(x*) names no value to sweep over"),
        ("seed=interval(0,1)", "interval"),
    ],
)
def test_a_sweep_over_other_values_than_typed_is_refused(tmp_path, monkeypatch, capsys, sweep, told):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    assert dispatch(["run", "-m", sweep]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line.lower() if told == "interval" else told in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["it's", "a#b", "a[b", "a=b", "[a]b", "a b'c", "ab{", "x(y", "C:\\d'e\\"])
@pytest.mark.parametrize("multirun", [[], ["-m", "seed=1,2"]], ids=["one", "sweep"])
def test_a_path_that_hydras_grammar_cannot_read_is_read_or_reported_with_its_quoted_form(tmp_path, monkeypatch, capsys, name, multirun):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    assert dispatch(["run", "data=folder", *multirun, f"data.root={name}"]) == 2
    line = capsys.readouterr().err
    if "type it quoted: " in line:
        (typed,) = shlex.split(line.rstrip("\n").split("type it quoted: ")[1])
        assert dispatch(["run", "data=folder", *multirun, typed]) == 2
        line = capsys.readouterr().err
    assert f"no folder {tmp_path / name}; set data.root" in line


def test_a_tilde_in_a_path_is_the_home_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for word in ("data.root=~/pics", "data.root='~/pics'"):
        assert dispatch(["run", "data=folder", word]) == 2
        assert f"no folder {tmp_path / 'home' / 'pics'}; set data.root" in capsys.readouterr().err
    for name in "ab":
        for i in range(4):
            (tmp_path / "own" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (60 * i, ord(name), 0)).save(tmp_path / "own" / name / f"{i}.png")
    assert dispatch(["run", "data=folder", "data.root=own", "data.captions=~/captions.csv"]) == 2
    assert f"data.captions={tmp_path / 'home' / 'captions.csv'} cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["data=BloodMNIST"], "a set of MedMNIST is data=medmnist data.flag=bloodmnist"),
        (["data=medmnist", "data.flag=BloodMNIST"], "nearest: bloodmnist"),
        (["data=Folder"], "nearest: folder"),
    ],
)
def test_names_in_another_case_have_the_right_one_as_nearest(tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    assert dispatch(["run", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def class_folders(folder, classes: int) -> None:
    """Eight images of each class, of 32 pixels."""
    for number in range(8 * classes):
        place = folder / f"class {number % classes:03}"
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number % 256, number // 256, 0)).save(place / f"{number}.png")


@pytest.mark.parametrize("option", ["fast_dev_run", "overfit"])
def test_a_debug_option_takes_all_images_of_a_small_folder(option, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    class_folders(tmp_path / "images", classes=2)
    assert dispatch(["run", "data=folder", "data.root=images", "data.size=32", f"debug={option}", "study.dry_run=true"]) == 0
    assert "images 32 px (12/2/2)" in capsys.readouterr().out


def test_counts_that_a_debug_option_asks_for_are_reported_as_its(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    class_folders(tmp_path / "images", classes=91)
    assert dispatch(["run", "data=folder", "data.root=images", "debug=fast_dev_run"]) == 2
    line = capsys.readouterr().err
    assert "raise it, or set 0 for all (debug=fast_dev_run asks for so many)" in line


@pytest.mark.slow
@pytest.mark.parametrize("form", ["range(0,3)", "choice(1,2)", "sort(2,1)"])
def test_pythonoptimize_is_named_where_hydras_grammar_needs_assertions(form, tmp_path):
    environment = {**os.environ, "PYTHONOPTIMIZE": "1"}
    command = [sys.executable, "-m", "pathsynth", "run", "-m", f"seed={form}"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    (line,) = (line for line in ended.stderr.splitlines() if line.startswith("pathsynth "))  # libraries are compiled anew, and some warn
    assert "PYTHONOPTIMIZE" in line and "unset it" in line


@pytest.mark.parametrize(
    "argument, told",
    [
        ("+optimizer.lr=1", "optimizer.lr has a value already, so nothing can be added there; leave out the plus: optimizer.lr=…"),
        ("data.root=images", "data.root belongs to data=pathmnist, medmnist, folder, ready, own, and data.name is phantom; leave it out"),
        ("+trainer.log_every_n_step=5", "unknown key trainer.log_every_n_step; nearest: trainer.log_every_n_steps"),
        ("+trainer.max_epochs=3", "trainer.max_epochs cannot be set: a training is counted in steps; set trainer.max_steps"),
        ("+callbacks.mine.monitor=x", "callbacks.mine._target_ should name a class"),
        ("debug=fast", "no choice 'fast' for debug; nearest: fast_dev_run"),
    ],
)
def test_a_wrong_word_for_lightning_or_debug_is_refused_in_one_line(tmp_path, monkeypatch, capsys, argument, told):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    assert dispatch(["run", argument]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and told in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_two_flags_that_ask_for_two_things_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    assert dispatch(["run", "-m", "lora.rank=1,2", "--cfg", "job"]) == 2
    assert "--multirun and --cfg do not go together" in capsys.readouterr().err
    assert dispatch(["run", "--cfg", "hydra", "--resolve"]) == 2
    assert "use --cfg all --resolve" in capsys.readouterr().err


@pytest.mark.parametrize(
    "sweep, ranks",
    [
        ("lora.rank=1,4", [1, 4]),
        ("lora.rank=choice(2,8)", [2, 8]),
        ("lora.rank=range(1,4)", [1, 2, 3]),
        ("lora.rank=shuffle(range(1,3))", [1, 2]),
        ("lora=glob(*)", [4, 16]),
        ("lora=glob(*,exclude=pap*)", [16]),
        ("lora=paper,default", [4, 16]),
    ],
)
def test_every_kind_of_sweep(swept, sweep, ranks):
    assert sorted(job.config.lora.rank for job in swept(sweep)) == ranks


def test_studies_and_overrides_sweep_together(swept):
    found = swept("study=demo", "lora.rank=2", "seed=0,1", "debug=none", "hydra.launcher.n_jobs=1")  # in this process
    assert [(job.config.lora.rank, job.config.seed, job.config.trainer.max_steps) for job in found] == [(2, 0, 200), (2, 1, 200)]


@pytest.mark.parametrize("way", ["flag", "override"])
def test_a_study_of_the_users_own_is_found(told, tmp_path, way):
    (tmp_path / "mine" / "study").mkdir(parents=True)
    (tmp_path / "mine" / "study" / "deep.yaml").write_text("# @package _global_\nstudy:\n  name: deep\nlora:\n  rank: 99\n")
    where = ["--config-dir", str(tmp_path / "mine")] if way == "flag" else [f"hydra.searchpath=[file://{tmp_path / 'mine'}]"]
    shown = told("run", *where, "study=deep", "--cfg", "job")
    assert "name: deep" in shown and "rank: 99" in shown
    assert str(tmp_path / "mine") in told("run", *where, "--info", "searchpath")
    assert "name: demo" in told("run", *where, "study=demo", "--cfg", "job", "-p", "study")


def test_a_folder_for_a_page_that_is_not_there_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert dispatch(["report", "multirun", "--into", "F"]) == 2
    assert capsys.readouterr().err == "pathsynth: --into F: there is no such folder; make it first\n"


@pytest.mark.parametrize(("words", "times"), [(["lora.rank=2"], 1), (["-m", "lora.rank=2,4"], 3)])
def test_a_request_is_composed_no_more_often_than_it_has_to_be(words, times, tmp_path, monkeypatch):
    """By the command; of a sweep by Hydra, too, and once for all of its jobs."""
    composed, compose = [], ConfigLoaderImpl.load_configuration
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", lambda *a, **k: composed.append(a) or compose(*a, **k))
    assert dispatch(["run", *words, "tracking=none", "study.dry_run=true"]) == 0
    assert len(composed) == times
