"""The shipped studies: every job of each passes the check that comes before a multirun, and the loop runs at its smallest."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pathsynth.__main__ import dispatch
from pathsynth.config.shipped import studies_folder
from pathsynth.models.image_classifier import PretrainedWeights

JOBS = {
    "demo": 2,
    "pathmnist": 1,
    "rank_lr_steps": 54,
    "optimizer": 45,
    "targets": 9,
    "captions": 6,
    "sampling": 18,
    "retries": 6,
    "pathmnist_grid": 96,
    "paper": 1,
    "paper_grid": 54,
    "fast": 1,
    "best": 1,
    "own_tissue": 1,
}
OF_CLASSIFIERS = ("gate", "panel")
"""Studies of the command classify."""
SEARCHES = ("tune",)
"""Studies without a grid."""
ONE_SEED = ("demo", "pathmnist", "sampling", "retries", "paper", "fast", "best", "own_tissue")
PATHMNIST = ("pathmnist", "pathmnist_grid", "paper", "paper_grid")


def pathmnist(folder: Path) -> Path:
    """Files of the two sizes that studies name, and a folder of two classes, with noise for images."""
    draw = np.random.default_rng(0)
    for size, name in ((28, "pathmnist.npz"), (224, "pathmnist_224.npz")):
        arrays = {}
        for split, n in (("train", 99), ("val", 40), ("test", 20)):
            arrays[f"{split}_images"] = draw.integers(256, size=(n, size, size, 3), dtype=np.uint8)
            arrays[f"{split}_labels"] = (np.arange(n) % 9).astype(np.uint8)[:, None]
        np.savez(folder / name, **arrays)
    for label, number in itertools.product(("mucosa", "tumour"), range(30)):
        path = folder / "own_tissue" / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(256, size=(20, 20, 3), dtype=np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return pathmnist(tmp_path_factory.mktemp("data"))


@pytest.fixture
def weights(monkeypatch) -> None:
    """The hub, which tells of the classifiers' weights; nothing is fetched from it."""
    monkeypatch.setattr("pathsynth.stages.classifier.pretrained_source", lambda name: PretrainedWeights(f"timm/{name}", "a commit"))


def given(study: str, base: Path, data: Path) -> list[str]:
    """What the study needs and this test has: a base in a folder, and small files."""
    own = {study: [f"data.root={data}", "data.allow_subset=true"] for study in PATHMNIST} | {"own_tissue": [f"data.root={data}/own_tissue"]}
    return [f"study={study}", f"base.path={base}", *own.get(study, [])]


def test_every_study_is_tested_and_recorded():
    files = {path.stem for path in (studies_folder() / "study").glob("*.yaml")}
    assert files == {*JOBS, *OF_CLASSIFIERS, *SEARCHES}
    index = (studies_folder() / "README.md").read_text(encoding="utf-8")
    for study in files:
        page = (studies_folder() / f"{study}.md").read_text(encoding="utf-8")
        assert f"| [{study}]({study}.md) |" in index
        assert f"study={study}" in page or "make demo" in page
        assert "**Question.**" in page and "**Answer.**" in page


@pytest.mark.parametrize("study", [pytest.param(study, marks=pytest.mark.slow if jobs > 20 else ()) for study, jobs in JOBS.items()])
def test_every_job_of_a_study_passes_the_check_of_a_multirun(study, data, linked_base, swept, weights):
    checked = swept(*given(study, linked_base, data))
    assert len(checked) == JOBS[study]
    assert len({c.plan.identity for c in checked}) == JOBS[study]
    assert all(c.config.study.name == study and c.config.study.question.endswith((".", "?", ")")) for c in checked)
    assert len({c.config.sampling.seed for c in checked}) == 1, "the same slots everywhere"
    assert len({c.config.seed for c in checked}) == (1 if study in ONE_SEED else 3)
    if len({c.config.seed for c in checked}) > 1:
        per_seed = {seed: sum(c.config.seed == seed for c in checked) for seed in (0, 1, 2)}
        assert set(per_seed.values()) == {len(checked) // 3}, "the same training seeds for every configuration"


def test_the_study_of_the_gate_trains_each_recipe_with_three_seeds(data, swept):
    checked = swept("study=gate", f"data.root={data}", "data.allow_subset=true", command="classify")
    swept_over = [(c.config.classifier.optimizer, c.config.classifier.seed) for c in checked]
    assert swept_over == [(name, s) for name in ("muon", "adamw") for s in (1, 2, 3)]
    recipes = {c.config.classifier.model_copy(update={"optimizer": "adamw", "seed": 0}) for c in checked}
    assert [(recipe.architecture, recipe.part, recipe.test) for recipe in recipes] == [("resnet18", "all", True)]


def test_the_judges_of_a_panel_see_what_the_gate_has_not_and_are_of_families_and_seeds_of_their_own(data, swept):
    checked = swept("study=panel", f"data.root={data}", "data.allow_subset=true", command="classify")
    judges = [c.config.classifier for c in checked]
    assert {(judge.part, judge.epochs, judge.test) for judge in judges} == {("b", 60, True)}
    assert len({judge.architecture for judge in judges} | {"resnet18", "cs3darknet_s"}) == 7
    assert len({judge.seed for judge in judges} | {1, 2}) == 7


def test_the_search_chooses_from_what_the_grid_varies(tmp_path, monkeypatch, capsys, linked_base):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    assert dispatch(["run", "study=tune", f"base.path={linked_base}", "study.dry_run=true"]) == 0
    space = "lora.rank (1, 4, 16), optimizer.lr (0.001 to 0.03, log), trainer.max_steps (300, 600)"
    assert f"tune: search over {space}; 18 trials at most" in capsys.readouterr().out


def test_the_paper_without_its_images_says_which_file_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    assert dispatch(["run", "study=paper", f"data.root={tmp_path}"]) == 2
    assert f"no pathmnist_224.npz in {tmp_path}; put the MedMNIST file there" in capsys.readouterr().err


SMALLEST = {
    "demo": [],
    "pathmnist": [],
    "rank_lr_steps": ["seed=0", "lora.rank=1", "optimizer.lr=2e-3", "trainer.max_steps=1,2"],
    "tune": ["hydra.sweeper.n_trials=2", "trainer.max_steps=1,2"],
    "optimizer": ["seed=0", "lora.rank=1,2", "optimizer.lr=1e-2"],
    "targets": ["seed=0"],
    "captions": ["seed=0"],
    "sampling": ["sampling.guidance=1,2", "sampling.steps=2"],
    "fast": [],
    "best": [],
    "own_tissue": ["data.n_train=0", "data.n_val=0", "data.n_test=0"],
    "pathmnist_grid": ["seed=0", "lora.rank=1", "optimizer.lr=6e-3", "trainer.max_steps=1"],
    "paper": ["gate.pretrained=false", "judge.pretrained=false", "data.n_train=45"],
    "paper_grid": [
        *("gate.pretrained=false", "judge.pretrained=false", "data.n_train=45"),
        *("seed=0", "lora.rank=4", "optimizer.lr=5e-5", "trainer.max_steps=1"),
    ],
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """One folder, so that trials share gate and judge where their settings are the same."""
    return tmp_path_factory.mktemp("studies")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("study", SMALLEST)
def test_a_study_runs_to_its_end_at_its_smallest(study, workplace, small_base_folder, data):
    words = [*given(study, small_base_folder, data), "debug=fast_dev_run", f"study.name={study}", "tracking=none", *SMALLEST[study]]
    command = [sys.executable, "-m", "pathsynth", "run", *words]
    ended = subprocess.run(command, cwd=workplace, capture_output=True, text=True, env={**os.environ, "WANDB_MODE": "offline"})
    assert ended.returncode == 0, ended.stdout + ended.stderr
    trials = [path.parent for path in (workplace / "multirun" / study).glob("*/manifest.json")]
    assert trials and all((trial / "result.json").is_file() for trial in trials)
    sizes = {json.loads((trial / "manifest.json").read_text())["config"]["data"]["size"] for trial in trials}
    assert sizes == {224 if study.startswith("paper") else {"pathmnist": 28, "own_tissue": 64}.get(study, 32)}
