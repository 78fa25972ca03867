"""The script of the study page that is committed is what its source builds; needs Node and what `make frontend` installs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import pathsynth.report

REPORT = Path(pathsynth.report.__file__).parent
FRONTEND = REPORT / "frontend"
pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (FRONTEND / "node_modules" / "esbuild").is_dir(),
    reason="Node or its packages are not installed: make frontend",
)


def npm(*words: str) -> None:
    done = subprocess.run(["npm", "run", "--silent", *words], cwd=FRONTEND, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_committed_script_is_that_of_the_source(tmp_path: Path) -> None:
    npm("build", "--", str(tmp_path / "study.js"))
    assert (tmp_path / "study.js").read_text() == (REPORT / "templates" / "study.js").read_text(), "run make frontend, and commit"


def test_types_and_units_of_the_source_hold() -> None:
    npm("types")
    npm("test")
