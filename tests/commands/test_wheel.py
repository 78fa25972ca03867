"""The built wheel, installed elsewhere and used outside the clone, carries its configurations, studies, templates and base."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

CLONE = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)], cwd=CLONE, check=True, capture_output=True
    )
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder of programs of a new environment; the dependencies are this environment's, but not the clone."""
    place = tmp_path_factory.mktemp("elsewhere") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = (place / "lib").glob("python*/site-packages")
    # paths named in a .pth file of that folder (the clone is one) are not followed
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "bin"


@pytest.fixture(autouse=True)
def _nothing_else_on_the_path(monkeypatch):
    """Modules come from the new environment alone."""
    monkeypatch.delenv("PYTHONPATH", raising=False)


def pathsynth(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(installed / "pathsynth"), *arguments], cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_the_wheel_holds_what_is_no_code(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for needed in (
        "pathsynth/conf/run.yaml",
        "pathsynth/experiments/study/demo.yaml",
        "pathsynth/assets/tiny/model_index.json",
        "pathsynth/assets/tiny/unet/diffusion_pytorch_model.safetensors",
        "pathsynth/report/glossary.yaml",
        "pathsynth/report/templates/trial.html",
        "pathsynth/assets/completion/bash",
        "pathsynth/py.typed",
        "hydra_plugins/pathsynth/sweeper.py",
    ):
        assert needed in names
    assert "hydra_plugins/__init__.py" not in names
    assert not [name for name in names if name.startswith(("tests/", "multirun/", "conf/"))]


@pytest.mark.slow
def test_it_runs_outside_the_clone(installed, tmp_path):
    assert "Examples: pathsynth run study=demo" in pathsynth(installed, tmp_path, "--help").stdout
    composed = pathsynth(installed, tmp_path, "run", "study=demo", "--cfg", "job")
    assert composed.returncode == 0, composed.stderr
    assert "name: demo" in composed.stdout
    paths = pathsynth(installed, tmp_path, "run", "--info", "searchpath").stdout
    assert str(installed.parent) in paths
    assert str(CLONE / "conf") not in paths
    assert list(tmp_path.iterdir()) == []


def test_it_finds_its_base(installed, tmp_path):
    program = (
        "from pathsynth.config import BaseConfig; from pathsynth.stages.fingerprints import base_source; "
        "print(base_source(BaseConfig(name='tiny')).path_or_hub)"
    )
    ended = subprocess.run([str(installed / "python"), "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert Path(ended.stdout.strip()).is_relative_to(installed.parent), ended.stderr


@pytest.mark.slow
def test_first_images_take_one_command_without_a_clone(installed, tmp_path):
    ended = pathsynth(installed, tmp_path, "generate", "labels=mucus", "n=2", "tracking=none", "study.name=first")
    assert ended.returncode == 0, ended.stderr
    (trial,) = (path.parent for path in tmp_path.glob("multirun/first/*/manifest.json"))
    assert len(list((trial / "images").rglob("mucus-*.png"))) == 2 and (trial / "sheet.png").is_file()
    assert "judge" in ended.stdout
