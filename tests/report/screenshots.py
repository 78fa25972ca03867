"""`make screenshots FOLDER=multirun/<study>`: the page of a study at desktop and phone width, as README and docs show it."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from pathsynth.report.page import write_report

WIDTHS = {"desktop": (1440, 900), "phone": (390, 844)}
TABS = ("settings", "images", "training")
COLOURS = 256
"""So many tell a screenshot from its original for no reader, at half of the size."""


def save(picture: bytes, path: Path) -> None:
    with Image.open(io.BytesIO(picture)) as opened:
        opened.convert("RGB").quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)


def main(study: Path, into: Path) -> None:
    page_file = write_report(study).absolute()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (width, height) in WIDTHS.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
            page.goto(page_file.as_uri())
            page.wait_for_selector("html[data-ready=yes]", state="attached")
            save(page.screenshot(), into / f"dashboard_{name}.png")
            for tab in TABS if name == "desktop" else ():
                page.click(f"#tab-{tab}")
                page.mouse.move(0, 0)  # nothing that it points at stands out
                page.wait_for_load_state("networkidle")
                save(page.locator("#panel").screenshot(), into / f"dashboard_{tab}.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path("docs"))
