from __future__ import annotations

import errno
import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from safetensors import SafetensorError

from pathsynth.studies.execution.trial import _disk_refuses, _Reporter
from pathsynth.studies.trials.manifest import claim
from pathsynth.studies.trials.state import DONE, RUNNING, TrialState, read_state
from pathsynth.terminal.stage_display import Count, StageDisplay


@pytest.fixture
def lease(tmp_path):
    with claim(tmp_path / "trial", 60, wait=False) as lease:
        yield lease


def told(folder: Path) -> dict:
    return json.loads((folder / "state.json").read_text())


def test_a_count_reaches_the_state_and_goes_with_its_stage(tmp_path, monkeypatch, lease):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    report = _Reporter(tmp_path, lease, TrialState(RUNNING, "x"))
    report.progress("finetune", "steps", 30, 90, 0.5)
    assert [told(tmp_path)[key] for key in ("stage", "detail", "step", "steps", "rate", "threads")] == ["finetune", "steps", 30, 90, 0.5, 3]
    report.progress("generate", "building")
    assert [told(tmp_path)[key] for key in ("stage", "step", "steps", "rate")] == ["generate", None, None, None]
    report.progress("generate", "slots", 4, 9, None)
    assert report.end(DONE, "", 0) == 0
    assert (read_state(tmp_path).step, read_state(tmp_path).threads) == (None, 3)


def test_the_state_says_which_stage_is_at_work_and_what_the_display_shows_of_it(tmp_path, lease):
    display = StageDisplay(7, Console(file=io.StringIO()), elsewhere=True)
    report = _Reporter(tmp_path, lease, TrialState(RUNNING, "x", stages=7), display)
    report.progress("gate", "reused")
    report.progress("finetune", "building")
    display.count(Count(30, 90, "steps", ("loss 0.45", "f1 0.3")))
    report.progress("finetune", "steps", 30, 90, 0.5)
    assert [told(tmp_path)[key] for key in ("stage_number", "stages", "notes")] == [2, 7, "loss 0.45 · f1 0.3"]
    report.progress("generate", "building")
    assert [told(tmp_path)[key] for key in ("stage_number", "notes")] == [3, ""]


def test_a_count_that_cannot_be_reported_does_not_fail_the_trial(tmp_path, lease):
    report = _Reporter(tmp_path / "gone", lease, TrialState(RUNNING, "x"))
    report.progress("finetune", "steps", 30, 90, 0.5)
    assert report.state.step == 30


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EROFS, "Read-only file system"), True),
        (caused(RuntimeError("wrapped"), OSError(errno.EDQUOT, "Disk quota exceeded")), True),
        (SafetensorError("I/O error: No space left on device (os error 28)"), True),
        (SafetensorError("I/O error: No such file or directory (os error 2)"), False),
        (OSError(errno.ENOENT, "No such file or directory"), False),
        (ValueError("28"), False),
    ],
)
def test_a_disk_that_refuses_is_distinct_from_a_fault_of_the_trial(error, refused):
    assert _disk_refuses(error) == refused
