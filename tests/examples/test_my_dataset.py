"""examples/my_dataset.py: a class of the user's gives the data by one override; what it gives is the identity of the data."""

from __future__ import annotations

import pytest

from pathsynth.__main__ import dispatch
from pathsynth.data.custom_data import _read_once
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.records import read_result
from tests.examples.conftest import SMALL, changed, planned, run

OWN = "data._target_=my_dataset.MyDataset"


@pytest.fixture(autouse=True)
def read_anew():
    """A command reads a data set once; the tests of this module are commands of their own."""
    _read_once.cache_clear()


def test_the_composition_shows_the_class(beside, capsys):
    beside("my_dataset.py")
    assert dispatch(["run", OWN, "+data.noise=5", "--cfg", "job", "-p", "data"]) == 0
    shown = capsys.readouterr().out
    assert "_target_: my_dataset.MyDataset" in shown and "noise: 5" in shown and "name: own" in shown


@pytest.mark.parametrize(("option", "key"), [("data=own", "data._target_"), ("classifier@gate=own_gate", "gate._target_")])
def test_an_option_without_its_class_names_the_key(beside, option, key):
    with pytest.raises(RequestError, match=f"^{key} is missing; set it$"):
        planned(option)


@pytest.mark.slow
def test_another_pixel_makes_everything_anew_and_a_comment_nothing(beside):
    module = beside("my_dataset.py")
    before = planned(OWN)
    assert [stage.name for stage in before.stages] == ["decode", "cache", "gate", "judge", "finetune", "generate", "reference", "evaluate"]
    comment, pixel = ("# the same images each time", "# as before"), ("[230, 180, 200]", "[231, 180, 200]")
    for (old, new), unlike in ((comment, set()), (pixel, {stage.name for stage in before.stages})):
        source = module.read_text()
        assert old in source
        module.write_text(source.replace(old, new))
        _read_once.cache_clear()
        assert changed(before, planned(OWN)) == unlike


def test_a_wrong_argument_is_reported_in_one_line_and_nothing_is_written(beside, capfd):
    folder = beside("my_dataset.py").parent
    assert dispatch(["run", OWN, "+data.nosie=5"]) == 2
    (line,) = (line for line in capfd.readouterr().err.splitlines() if line.startswith("pathsynth run:"))
    assert "data: my_dataset.MyDataset refuses its arguments" in line and "nosie" in line and "it takes noise besides size" in line
    assert [path.name for path in folder.iterdir() if path.name != "__pycache__"] == ["my_dataset.py"]


def test_it_is_checked_as_a_folder_is_and_made_once(beside, capsys):
    module = beside("my_dataset.py")
    module.write_text(module.read_text() + "\nwith open('loaded.txt', 'a') as log:\n    log.write('once ')\n")
    assert dispatch(["check", OWN, "data.n_val=9"]) == 0
    shown = capsys.readouterr().out
    assert "cross" in shown and "sizes: 32×32 (117)" in shown
    assert (module.parent / "loaded.txt").read_text() == "once "


def test_its_prompts_are_checked_with_it(beside, capsys):
    beside("my_dataset.py")
    assert dispatch(["check", OWN, "data.prompts=no-such.yaml"]) == 2
    assert "no-such.yaml" in capsys.readouterr().err


@pytest.mark.slow
def test_a_data_module_is_checked_as_a_folder_is(beside, capsys):
    beside("my_data_module.py")
    assert dispatch(["check", "data._target_=my_data_module.Shapes", "+data.batch_size=8"]) == 0
    shown = capsys.readouterr().out
    assert "stripe" in shown and "sizes: 32×32 (96)" in shown


@pytest.mark.slow
def test_a_whole_run_learns_it_and_what_follows_needs_no_class(beside, small_base_folder):
    folder = beside("my_dataset.py").parent
    counts = ["data.n_train=60", "data.n_val=24", "data.n_test=12"]
    small = [word for word in SMALL if not word.startswith("data.")]
    status, told = run(folder, "run", f"base.path={small_base_folder}", *small, *counts, OWN, "+data.noise=5")
    assert status == 0, told
    (trial,) = (path.parent for path in folder.glob("multirun/runs/*/result.json"))
    result = read_result(trial / "result.json")
    assert result.find("macro_f1", "before filtering", "judge").n == 6
    assert {m.data for m in result.metrics} == {"MyDataset 32 px (60/24/12)"}
    assert {m.class_ for m in result.metrics if m.class_} == {"disc", "ring", "cross"}
    (folder / "my_dataset.py").rename(folder / "gone.py")  # nothing but the plan needs the class from here on
    assert run(folder, "export", str(trial), "my-set", "--ready")[0] == 0
    status, told = run(folder, "replay", str(next(trial.glob("*/*/*-00000-0.png"))))
    assert status == 0 and "same" in told, told
