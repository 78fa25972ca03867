"""The page of a study as `pathsynth ui` serves it: made when it is first requested, drawn under the server's policy."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser


def test_the_page_of_a_study_is_served_and_asks_no_other_host(browser: Any, make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    study = make_sweep(tmp_path / "multirun" / "rank", ranks=(1, 4), seeds=1)
    command = [sys.executable, "-m", "pathsynth", "ui", str(study), "--port", "0"]
    troubles: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            said = re.search(r"http://\S+/", process.stdout.readline())
            assert said
            page = browser.new_page()
            page.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
            page.on("request", lambda r: troubles.append(r.url) if not r.url.startswith((said[0], "data:", "blob:")) else None)
            page.goto(said[0])
            with page.expect_popup() as begun:
                page.click("text=Compare: the study's page")
            report = begun.value
            report.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
            report.on("request", lambda r: troubles.append(r.url) if not r.url.startswith((said[0], "data:", "blob:")) else None)
            report.wait_for_selector("html[data-ready=yes]", timeout=60_000, state="attached")
            assert report.locator("#board tbody tr").count() > 0 and (study / "report.html").is_file()
            trial = next(path.parent.name for path in study.glob("*/report.html"))
            assert report.goto(f"{said[0]}report/rank/{trial}/report.html").status == 200
            report.close()
            page.close()
        finally:
            process.terminate()
    assert troubles == []
