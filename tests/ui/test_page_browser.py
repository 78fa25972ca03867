"""The live page in a real browser, with a model that costs nothing: drawing, deciding, cancelling, visitors, downloads."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from pathsynth.commands.composition import composed
from pathsynth.config import from_hydra
from pathsynth.ledger.requests import VALIDATION
from pathsynth.stages.plan import plan
from pathsynth.studies.trials.manifest import Manifest, claim, manifest_of, write_manifest
from pathsynth.studies.trials.validating import finetune_work
from pathsynth.vocabulary.labels import COLORECTAL
from tests.chromium import faults_of_access

pytestmark = pytest.mark.browser
HOSTILE = '<img src=x onerror="window.broken=1"></script><script>window.broken=1</script>{{7*7}}${7*7}`'
PATIENCE = 20_000
STEP_SECONDS = "0.1"
DONE = """words => document.querySelector('.status').innerText === 'Done.'
    && document.querySelector('.command').innerText.split(' ').includes(words)"""


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a trial that runs and has a sheet, one that failed with hostile words, and one that waits; another that was stopped."""
    root = tmp_path_factory.mktemp("watched") / "multirun"
    running = write_trial(root, "rank=8-bbbbbb", state="running", stage="finetune", detail="steps", step=30, steps=90, rate=0.5)
    assert claim(running, 600, wait=False)
    write_trial(root, "rank=4-aaaaaa", state="failed", stage="gate", reason=HOSTILE)
    write_trial(root, "rank=1-cccccc")
    finetune_work(running, manifest_for(running, root, "lora.rank=8")).mkdir(parents=True)
    halted = write_trial(root, "rank=2-dddddd", "tried", state="interrupted", stage="gate")
    manifest_for(halted, root, "lora.rank=2", given=("lora.rank=0",))
    (halted / ".hydra").mkdir()
    (halted / ".hydra" / "hydra.yaml").write_text(f"hydra: {{runtime: {{cwd: {root.parent}}}}}")
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(running / "sheet.png")
    return root


def manifest_for(trial: Path, root: Path, *overrides: str, given: tuple[str, ...] = ()) -> Manifest:
    """Of a run by some overrides; as its command, others may be given."""
    config = from_hydra(composed("run", [*overrides, f"multirun={root}"]))
    manifest = Manifest(trial.name, config, plan(config), given or overrides)
    write_manifest(trial, manifest)
    return manifest


def write_trial(root: Path, name: str, study: str = "sweep", **state: Any) -> Path:
    folder = root / study / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    if state:
        (folder / "state.json").write_text(json.dumps(state))
    return folder


@contextmanager
def served(studies: Path, step_seconds: str) -> Iterator[tuple[str, int]]:
    """The page in a process of its own: its address, and the process's number."""
    command = [sys.executable, str(Path(__file__).parent / "serve_cheap.py"), str(studies), step_seconds]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = re.search(r"http://\S+/", process.stdout.readline())
        assert said
        try:
            yield said[0], process.pid
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def address(studies: Path) -> Iterator[str]:
    with served(studies, STEP_SECONDS) as (place, _):
        yield place


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Opens a page as a visitor of its own; an error, or a request to another host, fails the test."""
    troubles: list[str] = []
    contexts: list[Any] = []

    def go(path: str = "", width: int = 1280, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: troubles.append(str(e)))
        sockets = address.replace("http:", "ws:")
        page.on("request", lambda r: troubles.append(r.url) if not r.url.startswith((address, "data:", "blob:")) else None)
        page.on("websocket", lambda s: troubles.append(s.url) if not s.url.startswith(sockets) else None)
        page.goto(address + path)
        page.wait_for_selector(".status:visible, .panel:visible", timeout=PATIENCE)
        return page

    yield go
    for context in contexts:
        context.close()
    assert troubles == []


def describe(page: Any, text: str) -> None:
    page.fill("input[aria-label=Description]", text)


def draw(page: Any, text: str, n: int = 4, attempts: int = 4, seed: int = 0) -> None:
    """By typing and Enter alone."""
    for label, value in (("Images", n), ("Attempts", attempts), ("Seed", seed)):
        page.fill(f"input[aria-label={label}]", str(value))
    describe(page, text)
    page.keyboard.press("Enter")


def wait_for(page: Any, line: str) -> None:
    page.wait_for_function("line => document.querySelector('.status').innerText.includes(line)", arg=line, timeout=PATIENCE)


def counts(page: Any) -> tuple[int, int]:
    return page.locator(".tray .tile").count(), page.locator(".others .tile.rejected").count()


def test_a_typed_description_is_drawn_by_enter_and_decided_anew_by_the_threshold(visit: Any) -> None:
    page = visit()
    describe(page, "a field of unheard mucus")
    page.wait_for_selector(".note:text('words that are not known: unheard')", timeout=PATIENCE)
    describe(page, "a field of mucus")
    page.wait_for_selector("span.chip:text('mucus'), div.chip:text('mucus')", timeout=PATIENCE)
    draw(page, "a field of mucus")
    wait_for(page, "Done.")
    accepted, rejected = counts(page)
    assert accepted and rejected and page.inner_text(".counts").startswith(f"{accepted} of 4 accepted")
    assert "another class is more probable" in page.inner_text(".others")
    page.wait_for_function("[...document.querySelectorAll('.tile img')].every(i => i.naturalWidth === 8)", timeout=PATIENCE)
    command = page.inner_text(".command")
    assert command == (
        "pathsynth generate 'prompt=a field of mucus' label=mucus n=4 base=tiny sampling.attempts=4 sampling.threshold=0 "
        "sampling.margin=0 sampling.seed=0"
    )
    page.locator("[role=slider] [tabindex='0']").first.focus()
    for _ in range(10):
        page.keyboard.press("PageUp")
    page.wait_for_function("document.querySelectorAll('.tray .tile').length === 0", timeout=PATIENCE)
    assert "probability below 1" in page.inner_text(".others") and "sampling.threshold=1 " in page.inner_text(".command")
    assert "Judged again" in page.inner_text("main")
    for _ in range(10):
        page.keyboard.press("PageDown")
    page.wait_for_function("n => document.querySelectorAll('.tray .tile').length === n", arg=accepted, timeout=PATIENCE)
    assert counts(page) == (accepted, rejected)


def test_an_ambiguous_description_is_settled_by_a_choice_and_an_unknown_one_is_reported(visit: Any) -> None:
    page = visit()
    draw(page, "mucus beside debris")
    page.wait_for_selector("button.chip", timeout=PATIENCE)
    assert set(page.locator("button.chip").all_inner_texts()) == {"mucus", "debris"}
    page.wait_for_function("document.querySelector('.fault').innerText.includes('names several classes')", timeout=PATIENCE)
    page.locator("button.chip", has_text="debris").press("Enter")
    page.wait_for_selector("div.chip:text('debris')", timeout=PATIENCE)
    page.click("button:has-text('Draw')")
    wait_for(page, "Done.")
    assert "label=debris" in page.inner_text(".command")
    other = visit()
    draw(other, "adipoze")
    other.wait_for_function("document.querySelector('.fault').innerText.includes('nearest: adipose')", timeout=PATIENCE)


def test_cancel_frees_the_model_for_the_next_visitor_and_two_do_not_mix(visit: Any) -> None:
    first, second, third = visit(), visit(), visit()
    draw(first, "mucus", n=48, attempts=16)
    wait_for(first, "Drawing")
    draw(second, "debris", n=2)
    wait_for(second, "yours are next")
    draw(third, "lymphocytes", n=2)
    wait_for(third, "number 2 in the queue")
    first.click("button:has-text('Cancel')")
    wait_for(first, "Cancelled")
    wait_for(third, "Done.")
    wait_for(second, "Done.")
    for page, label in ((second, "debris"), (third, "lymphocytes")):
        names = page.locator(".tile img").evaluate_all("images => images.map(i => i.alt)")
        assert names and all(name.startswith(f"{label}-") for name in names)
    assert first.locator(".tile.waiting").count() == 0


def test_a_tab_that_is_loaded_again_has_its_tray_and_an_attempt_is_drawn_again(visit: Any) -> None:
    page = visit()
    draw(page, "mucus", seed=5)
    wait_for(page, "Done.")
    before = counts(page)
    page.reload()
    wait_for(page, "Done.")
    assert counts(page) == before and page.input_value("input[aria-label=Seed]") == "5"
    page.locator(".tile").first.press("Enter")
    page.wait_for_selector(".dialog dd:text('mucus')", timeout=PATIENCE)
    page.click("button:has-text('Draw it again')")
    page.wait_for_function("document.querySelector('.replayed').innerText === 'The same pixels.'", timeout=PATIENCE)
    page.keyboard.press("Escape")
    page.wait_for_selector(".dialog", state="hidden", timeout=PATIENCE)


def test_the_tray_is_downloaded_as_a_data_set(visit: Any, tmp_path: Path) -> None:
    page = visit()
    draw(page, "mucus")
    wait_for(page, "Done.")
    with page.expect_download() as begun:
        page.click("text=Download as a data set")
    begun.value.save_as(tmp_path / "set.zip")
    with zipfile.ZipFile(tmp_path / "set.zip") as archive:
        names = archive.namelist()
    assert {"attempts.parquet", "request.json", "images/metadata.jsonl", "images/README.md"} <= set(names)
    assert sum(name.endswith(".png") for name in names) == counts(page)[0]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_requests_of_eight_pages_none_lost_and_memory_flat(browser: Any, studies: Path) -> None:
    """Each page is a visitor of its own, and sends its next request when the last one is done."""
    slugs = COLORECTAL.slugs[:8]
    memory = []
    with served(studies, "0") as (place, pid):
        pages = [browser.new_context().new_page() for _ in slugs]
        for page, slug in zip(pages, slugs, strict=True):
            page.goto(place)
            page.wait_for_selector(".panel:visible", timeout=PATIENCE)
            page.fill("input[aria-label=Images]", "2")
            describe(page, slug)
        for number in range(25):
            for visitor, page in enumerate(pages):
                page.fill("input[aria-label=Seed]", str(100 * visitor + number))
                page.locator("input[aria-label=Description]").press("Enter")
            for visitor, (page, slug) in enumerate(zip(pages, slugs, strict=True)):
                page.wait_for_function(DONE, arg=f"sampling.seed={100 * visitor + number}", timeout=6 * PATIENCE)
                names = page.locator(".tile img").evaluate_all("images => images.map(i => i.alt)")
                assert len(names) >= 2 and all(name.startswith(f"{slug}-") for name in names)
            memory.append(psutil.Process(pid).memory_info().rss)
        for page in pages:
            page.context.close()
    assert len(memory) * len(pages) == 200
    assert memory[-1] - memory[9] < 20e6, "fifteen more rounds leave nothing behind"


def test_hostile_words_are_inert(visit: Any) -> None:
    page = visit()
    draw(page, f"mucus {HOSTILE}", n=1)
    wait_for(page, "Done.")
    page.locator(".tile").first.click()
    page.wait_for_selector(".dialog dd", timeout=PATIENCE)
    assert HOSTILE in page.inner_text(".dialog") and page.evaluate("window.broken") is None
    page.goto(page.url + "watch")
    page.wait_for_selector(".trials", timeout=PATIENCE)
    assert HOSTILE in page.inner_text(".trials") and page.evaluate("window.broken") is None
    assert page.locator("img[src=x]").count() == 0


def test_a_validation_is_asked_for_by_a_click(visit: Any, studies: Path) -> None:
    trial = studies / "sweep" / "rank=8-bbbbbb"
    page = visit("watch")
    page.click("button:has-text('Validate now')")
    page.wait_for_selector("text=sweep: asked 1 trial for a validation", timeout=PATIENCE)
    assert (finetune_work(trial, manifest_of(trial)) / VALIDATION).exists()


def test_a_study_that_was_stopped_goes_on_by_a_click_and_what_its_command_prints_is_shown(visit: Any) -> None:
    page = visit("watch")
    section = page.locator("section[aria-label='Study tried']")
    assert section.locator("button:has-text('Continue')").count() == 1
    section.locator("button:has-text('Continue')").press("Enter")
    page.wait_for_selector("text=tried: continuing 1 trial;", timeout=PATIENCE)
    printed = "[...document.querySelectorAll('pre')].some(p => p.innerText.includes('pathsynth run: lora.rank: input should be'))"
    page.wait_for_function(printed, timeout=3 * PATIENCE)
    assert "$ pathsynth run lora.rank=0" in section.locator("pre").inner_text()
    section.locator("button:has-text('Continue')").wait_for(timeout=PATIENCE)


def test_a_study_is_watched_and_asked_to_stop(visit: Any, studies: Path) -> None:
    page = visit("watch")
    row = " ".join(page.locator("tr", has_text="rank=8-bbbbbb").inner_text().split())
    assert row == "rank=8-bbbbbb running finetune 30 of 90 steps 0.5/s 2 min"
    assert "0 of 3 done, 1 running, 1 failed, 1 waiting" in page.inner_text("main")
    page.wait_for_function("document.querySelector('img.sheet').naturalWidth === 30", timeout=PATIENCE)
    state = studies / "sweep" / "rank=8-bbbbbb" / "state.json"
    page.locator("button:has-text('Stop')").focus()
    state.write_text(json.dumps({**json.loads(state.read_text()), "step": 60}))
    page.wait_for_selector("td:text('60 of 90 steps')", timeout=PATIENCE)
    assert page.evaluate("document.activeElement.innerText") == "Stop", "the keyboard's focus stays while numbers change"
    command = studies / "sweep" / ".jobs" / "now"
    (command / "outcomes").mkdir(parents=True)
    own = {"name": "", "folder": str(studies / "sweep" / "rank=8-bbbbbb"), "refused": "", "busy": False, "own": True}
    (command / "outcomes" / "0.json").write_text(json.dumps(own))
    page.click("button:has-text('Stop')")
    page.wait_for_selector("text=asked 1 command to stop", timeout=PATIENCE)
    assert (command / "stop").exists()
    state.write_text(json.dumps({"state": "done"}))
    page.wait_for_selector("text=1 of 3 done", timeout=PATIENCE)
    assert page.locator("button:has-text('Stop')").count() == 0


@pytest.mark.parametrize("path", ["", "watch"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_reads_it_in_light_and_dark_with_the_warning(visit: Any, path: str, scheme: str) -> None:
    page = visit(path, width=390, color_scheme=scheme)
    if not path:
        draw(page, "mucus " + "long" * 40)
        wait_for(page, "Done.")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator(".warning").is_visible() and page.inner_text(".warning") == "Synthetic, not for diagnosis"
    assert faults_of_access(page) == []
