"""`report --watch`, and what a page puts beside itself when its images are too many."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from pathsynth.commands.report import make_report
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.lease import acquire
from pathsynth.report import study_view
from pathsynth.report.answer import NO_SCORE
from pathsynth.report.page import write_report
from pathsynth.studies.trials.state import lease_folder

REFRESH = 'http-equiv="refresh"'


@pytest.mark.slow
def test_the_page_is_written_anew_until_no_trial_runs(make_sweep: Callable[..., Path], tmp_path: Path, monkeypatch) -> None:
    folder = make_sweep(tmp_path / "rank")
    result, pages = sorted(folder.glob("*/result.json"))[0], []
    state = result.with_name("state.json")
    state.write_text(json.dumps({"state": "waiting", "identity": "x"}))
    result.rename(tmp_path / "result.json")

    class Pages:
        """An event nobody sets, that shows what a waiting watcher has written."""

        def is_set(self) -> bool:
            return False

        def wait(self, seconds: float) -> None:
            pages.append((folder / "report.html").read_text())
            if len(pages) == 2:
                (tmp_path / "result.json").rename(result)

    monkeypatch.setattr("pathsynth.commands.report.ctrl_c", lambda: nullcontext(Pages()))
    make_report([folder], watch=True)
    assert [REFRESH in page for page in pages] == [True, True]
    assert REFRESH not in (folder / "report.html").read_text()


@pytest.mark.slow
def test_ctrl_c_ends_the_watch_with_a_page_that_stays(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank", ranks=(1, 4), seeds=1, failed=0)
    sorted(folder.glob("*/result.json"))[0].unlink()
    sorted(folder.glob("*/state.json"))[0].write_text(json.dumps({"state": "waiting", "identity": "x"}))
    words = [sys.executable, "-m", "pathsynth", "report", str(folder), "--watch"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    page, deadline = folder / "report.html", time.monotonic() + 60
    while not (page.exists() and REFRESH in page.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, f"report: {page}" in output) == (0, True), output
    assert REFRESH not in page.read_text()


def test_a_study_of_which_nothing_is_finished_has_a_page_while_a_trial_runs(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank", ranks=(1,), seeds=2)
    _unfinished(folder, "interrupted")
    with pytest.raises(RequestError, match="holds no finished trial"):
        write_report(folder)
    _unfinished(folder, "running", stage="gate", detail="steps", step=30, steps=90, rate=0.5)
    acquire(lease_folder(sorted(folder.iterdir())[1]), seconds=86_400)
    page = write_report(folder).read_text()
    assert "gate: 30 of 90 steps, 0.5/s, 2 min left" in page and NO_SCORE in page
    with pytest.raises(RequestError, match="holds no finished trial"):
        write_report(sorted(folder.glob("rank*"))[1])


def _unfinished(folder: Path, state: str, **came: object) -> None:
    """Bring all trials but the first, which failed, into this state."""
    for trial in sorted(folder.glob("rank*"))[1:]:
        (trial / "result.json").unlink(missing_ok=True)
        (trial / "state.json").write_text(json.dumps({"state": state, **came}))


def test_what_cannot_be_watched_is_reported(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank")
    with pytest.raises(RequestError, match="leave out --format"):
        make_report([folder], "csv", watch=True)


@pytest.mark.slow
def test_images_that_are_too_many_lie_beside_the_page(make_sweep: Callable[..., Path], tmp_path: Path, monkeypatch) -> None:
    folder = make_sweep(tmp_path / "rank")
    assert "report_images/" not in write_report(folder).read_text()
    monkeypatch.setattr(study_view, "_INLINE_BYTES", 0)
    page = write_report(folder).read_text()
    beside = sorted((folder / "report_images").iterdir())
    assert beside and all(f"report_images/{path.name}" in page for path in beside)
    assert all(path.read_bytes()[8:12] == b"WEBP" for path in beside)
