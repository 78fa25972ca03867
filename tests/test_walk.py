"""The walk of somebody who never saw the project: the commands of README and the tutorials, in their order, in empty folders.

They are carried out as they stand, but for their size: a training has two steps.
"""

from __future__ import annotations

import functools
import http.server
import json
import re
import shlex
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
PAGES = {"README": "README.md", **{path.stem: f"docs/tutorials/{path.name}" for path in ROOT.glob("docs/tutorials/*.md")}}
NOT_HERE = ("make", "export", "python", "pathsynth ui", "pathsynth run study=paper")
"""Setting up, servers, and what needs a GPU."""
SMALLEST = {"run": ["debug=fast_dev_run", "seed=0", "tracking=none", "training.threads=1"], "generate": ["n=1", "tracking=none"]}
"""In place of what a command says of these keys."""
AS_IT_STANDS = "pathsynth generate labels=all n=4 study.name=tissue"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
Run = Callable[..., subprocess.CompletedProcess[str]]


def lines_of(page: str) -> list[str]:
    """The lines of a page's blocks of commands, without comments."""
    blocks = BLOCK.findall((ROOT / PAGES[page]).read_text(encoding="utf-8"))
    return [re.sub(r"\s+# .*", "", line) for kind, block in blocks if not kind for line in block.splitlines()]


def commands_of(page: str) -> list[str]:
    """The commands that can be carried out here."""
    return [line for line in lines_of(page) if line.startswith("pathsynth ") and not line.startswith(NOT_HERE)]


def small(words: list[str]) -> list[str]:
    """The same command at its smallest, in the study that it names; of a sweep two values of the first key and one of each other."""
    more = SMALLEST.get(words[0], [])
    if words[0] == "run" and "debug=fast_dev_run" not in words:
        more = [*more, f"study.name={next((w.partition('=')[2] for w in words if re.match('study(.name)?=', w)), 'runs')}"]
    given = {word.partition("=")[0] for word in more}
    kept = [word for word in words if word.partition("=")[0] not in given and word != "--open"]
    swept = [word for word in kept if re.match(r"[\w.]+=[^,\[]+,", word)]
    values = {word: ",".join(word.split(",")[: 2 if word == swept[0] else 1]) for word in swept}
    return [*(values.get(word, word) for word in kept), *more]


def walk(page: str, folder: Path, run_command: Run, **places: str) -> dict[str, str]:
    """Carry out the commands of a page; what each printed. ``places`` stand for what the page names in brackets."""
    printed = {}
    for line in commands_of(page):
        words = shlex.split(re.sub(r"<([^>]*)>", lambda named: _filled(named[1], folder, places), line))[1:]
        printed[line] = run_command(folder, *(words if (page, line) == ("README", AS_IT_STANDS) else small(words))).stdout
    return printed


def _filled(name: str, folder: Path, places: dict[str, str]) -> str:
    if name == "trial":
        (trial,) = (path.parent.name for path in folder.glob("multirun/tissue-of-mine/*/result.json"))
        return trial
    return places[re.sub(r"\W", "_", name)]


def form(line: str) -> str:
    """A line without its numbers, names of folders and widths of columns."""
    return re.sub(r"\d[\d.]*", "0", re.sub(r"\s+", " ", re.sub(r"-[0-9a-f]{6}\b", "-id", line.rstrip())))


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A folder as `python -m http.server` serves it, on a free port."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


def look_on_a_phone(address: str) -> None:
    """The atlas at 390 px in Chromium, where that is installed: a tissue, and a question of the self-test answered."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.goto(f"{address}#tissue=mucus")
        page.wait_for_selector("img")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert "not for diagnosis" in page.inner_text("body")
        browser.close()


def test_from_readme_alone_to_images_a_compared_sweep_and_an_atlas(run_command, tmp_path):
    page_of_images = tmp_path / "tissue-folder"
    class_folders(page_of_images)
    printed = walk("README", tmp_path, run_command, folder_of_class_folders=str(page_of_images))

    (sheet,) = tmp_path.glob("multirun/tissue/*/sheet.png")
    images = list((sheet.parent / "images").rglob("*.png"))
    assert len(images) >= 30, "four of each of nine tissues, but for those that the gate never took"
    recorded = (ROOT / "tests" / "recorded" / "readme.txt").read_text(encoding="utf-8")
    last = [line.replace(f"{tmp_path}/", "") for line in printed[AS_IT_STANDS].splitlines() if line][-5:]
    assert [line for line in map(form, last) if line not in set(map(form, recorded.splitlines()))] == []

    trials = [json.loads(path.read_text()) for path in tmp_path.glob("multirun/demo/*/state.json")]
    assert [trial["state"] for trial in trials] == ["done", "done"]
    page = tmp_path / "multirun" / "demo" / "report.html"
    assert "lora.rank" in page.read_text(encoding="utf-8")
    assert printed["pathsynth report multirun/demo"].splitlines()[-1] == "report: multirun/demo/report.html"

    assert "python -m http.server 8000 --directory my-atlas" in lines_of("README")
    with served(tmp_path / "my-atlas") as address:
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert "atlas.js" in answer.read().decode()
        look_on_a_phone(address)


def test_the_tutorials_lead_to_what_they_promise(run_command, tmp_path):
    first = tmp_path / "first"
    first.mkdir()
    printed = {**walk("first_images", first, run_command), **walk("first_study", first, run_command)}
    assert (first / "multirun" / "demo" / "report.html").is_file()
    assert "demo" in printed["pathsynth status"] and len(list(first.glob("multirun/tissue/*/sheet.png"))) == 1
    own = tmp_path / "own"
    class_folders(own / "my-tissue")
    walk("own_tissue", own, run_command, my_tissue="my-tissue")
    assert (own / "my-atlas" / "index.html").is_file() and (own / "my-set" / "gate").is_dir()


def class_folders(folder: Path) -> None:
    """Two classes of two hundred images, as many as fast_dev_run takes; the name of each begins with that of its slide."""
    random = np.random.default_rng(0)
    for number, name in enumerate(("tumour", "stroma")):
        (folder / name).mkdir(parents=True)
        for i in range(200):
            pixels = random.integers(100 * number, 100 * number + 100, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"slide{i % 8}_{i:03d}.png")
