"""How large the page of a study is, and how soon it can be used.

    python -m benchmarks.dashboard --out FILE.json [--trials 200] [--repeats 5] [--before PAGE.html]

One trial is carried out at its smallest with a hundred images a class, and copied with other settings and seeds until the study has so
many; the copies share their files. The page is opened from disk in Chromium (Debian's package), in turn with those of studies of ten and
of a thousand trials (these with ten images a class, for the page shows four of each), and with one that another version of the program
made of as many (``--before``). ``usable``: leaderboard, query, tabs and images answer; ``drawn``: its first picture is on the screen;
``answered``: seconds from a key in the query to the rows it leaves. Ratios: the large study's times over those of the others.
``load_before``: how busy the machine was already.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from benchmarks.finished import SMALLEST
from benchmarks.machine import machine, summary
from benchmarks.repeated import repeated
from pathsynth.ledger.atomic import write_json
from pathsynth.report.collect import collect_trials
from pathsynth.report.page import write_merged

_FEW, _MANY = 10, 1000
_RANKS = (1, 2, 4, 8, 16)
_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
_MOMENTS = ("usable", "drawn", "answered")
_TIMES = """async () => {
  const frame = () => new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve, 0)));
  await frame();
  const usable = performance.getEntriesByName('usable')[0].startTime, drawn = performance.now(), box = document.getElementById('query');
  if (!box) return {usable, drawn};
  box.value = 'rank>4';
  box.dispatchEvent(new Event('input'));
  await frame();
  return {usable, drawn, answered: performance.now() - drawn};
}"""


def measure(folder: Path, trials: int, repeats: int, before: Path | None = None) -> dict[str, Any]:
    """All figures, as they go into the file; ``before``: a page of as many trials that another version made.

    Raises:
        subprocess.CalledProcessError: the trial failed.
    """
    trial, lighter = _one_trial(folder / "trial", 100), _one_trial(folder / "lighter", 10)
    sizes = {"large": trials, "small": _FEW, "largest": _MANY}
    pages = {name: _page(_study(lighter if name == "largest" else trial, folder / name, n)) for name, n in sizes.items()} | (
        {"before": before} if before else {}
    )
    busy = os.getloadavg()[0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for page in pages.values():
            _seconds(browser, page)  # the first time reads it from the disk
        seconds = [{name: _seconds(browser, page) for name, page in pages.items()} for _ in range(repeats)]
        browser.close()
    others = [name for name in pages if name != "large"]
    return {
        "ratios": {
            f"{moment}_large_over_{name}": _ratio(seconds, name, moment)
            for name in others
            for moment in _MOMENTS
            if moment in seconds[0][name]
        },
        "seconds": {name: {moment: [s[name][moment] for s in seconds] for moment in seconds[0][name]} for name in pages},
        "megabytes": {name: round(page.stat().st_size / 1e6, 2) for name, page in pages.items()},
        "megabytes_beside": {name: round(sum(_beside(page)) / 1e6, 2) for name, page in pages.items()},
        "trials": sizes,
        "load_before": round(busy, 2),
        "machine": machine(),
    }


def _ratio(seconds: Sequence[dict[str, dict[str, float]]], other: str, moment: str) -> dict[str, Any]:
    return summary([s["large"][moment] / s[other][moment] for s in seconds])


def _one_trial(folder: Path, images: int) -> Path:
    folder.mkdir()
    words = [w for w in SMALLEST if not w.startswith("evaluate.n=")]
    command = [sys.executable, "-m", "pathsynth", "run", *words, f"evaluate.n={images}"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return next((folder / "multirun" / "runs").glob("*/result.json")).parent


def _study(trial: Path, folder: Path, trials: int) -> Path:
    """A study of copies, which differ in rank, learning rate and seed by name."""
    for i in range(trials):
        settings = {"lora.rank": _RANKS[i % 5], "optimizer.lr": _RATES[i // 5 % 5], "seed": i // 25}
        copy = folder / f"trial-{i:03d}"
        shutil.copytree(trial, copy, copy_function=os.link)
        for name, key in (("manifest.json", "config"), ("result.json", "settings")):
            record = json.loads((copy / name).read_text())
            for setting, value in settings.items():
                group, _, inner = setting.rpartition(".")
                (record[key][group] if group else record[key])[inner] = value
            record |= {"identity": f"{i:012x}"}
            (copy / name).unlink()  # it is the other trials', too
            write_json(copy / name, record)
    return folder


def _page(study: Path) -> Path:
    """The study's page alone: those of its trials are not opened."""
    return write_merged(collect_trials(study), study)


def _seconds(browser: Browser, page: Path) -> dict[str, float]:
    """Seconds from the start of loading until the page can be used and is drawn, and for an answer to a query."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.goto(page.absolute().as_uri())
    opened.wait_for_selector("html[data-ready=yes]", state="attached", timeout=60_000)
    found = opened.evaluate(_TIMES)
    opened.close()
    return {moment: round(milliseconds / 1000, 3) for moment, milliseconds in found.items()}


def _beside(page: Path) -> Iterator[int]:
    yield from (f.stat().st_size for f in (page.parent / "report_images").glob("*"))


if __name__ == "__main__":
    repeated(__doc__, measure, trials=200, before="a page of as many trials that another version of the program made")
