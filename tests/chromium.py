"""What tests in a real browser share: the browser, and axe-core's word on a page. The fixture of it is ``browser`` in ``conftest.py``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_AXE = Path(__file__).parents[1] / "pathsynth" / "report" / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
_RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")


@contextmanager
def chromium() -> Iterator[Any]:
    """Debian's Chromium; without it the test is skipped, for no package index has it."""
    from playwright.sync_api import sync_playwright  # here, for most tests need no browser

    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Debian's chromium is not installed")
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


def faults_of_access(page: Any, where: str = "document") -> list[Any]:
    """What axe-core finds against WCAG 2.1 A and AA in a page, or in the part of it that the script ``where`` names."""
    if not _AXE.is_file():
        pytest.skip("axe-core is not installed: npm ci in pathsynth/report/frontend")
    page.evaluate(_AXE.read_text(encoding="utf-8"))
    found = page.evaluate(f"axe.run({where}, {{preload: false, runOnly: {list(_RULES)}}})")
    return [(v["id"], [n["target"] for n in v["nodes"]][:3], v["nodes"][0]["failureSummary"]) for v in found["violations"]]
