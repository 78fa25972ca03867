"""`make screenshots FOLDER=multirun/<study>`: the page of a study at desktop and phone width, as README shows it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from pathsynth.report.page import write_report

WIDTHS = {"desktop": (1440, 900), "phone": (390, 844)}
TABS = ("settings", "images")


def main(study: Path, into: Path) -> None:
    page_file = write_report(study).absolute()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (width, height) in WIDTHS.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(page_file.as_uri())
            page.wait_for_selector("html[data-ready=yes]", state="attached")
            page.screenshot(path=into / f"dashboard_{name}.png")
            for tab in TABS if name == "desktop" else ():
                page.click(f"#tab-{tab}")
                page.locator("#panel").screenshot(path=into / f"dashboard_{tab}.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path("docs"))
