"""`report --open`: the page in the browser, or its path where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pathsynth.__main__ import dispatch


def report(folder: Path, **environment: str) -> str:
    words = [sys.executable, "-m", "pathsynth", "report", str(folder), "--open"]
    bare = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")}
    return subprocess.run(words, env={**bare, **environment}, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_the_page_is_opened(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    folder = make_trial(tmp_path / "a trial")
    report(folder, BROWSER=f"{browser} %s")
    assert (tmp_path / "opened").read_text().strip() == (folder / "report.html").as_uri()


@pytest.mark.slow
def test_without_a_browser_its_path_is_said(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_trial(tmp_path / "t")
    last = report(folder, BROWSER="false %s", PATH="").splitlines()[-1]
    assert last == f"no browser was found; open {folder / 'report.html'} in one"


def test_tables_are_not_opened(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["report", str(study), "--format", "csv", "--open"]) == 2
    assert "leave out --format" in capsys.readouterr().err and not (study / "report.csv").exists()
