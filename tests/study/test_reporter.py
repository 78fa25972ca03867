from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pathsynth.study import trial
from pathsynth.study.claim import claim
from pathsynth.study.state import DONE, INTERRUPTED, RUNNING, TrialState, read_state
from pathsynth.study.trial import _Reporter


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """A reporter's end makes its process deaf to signals; this one, and what it starts, must not be."""
    former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


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


def test_a_count_that_cannot_be_told_does_not_fail_the_trial(tmp_path, lease):
    report = _Reporter(tmp_path / "gone", lease, TrialState(RUNNING, "x"))
    report.progress("finetune", "steps", 30, 90, 0.5)
    assert report.state.step == 30


def test_output_that_nobody_reads_any_more_interrupts_the_trial_and_does_not_fail_it(tmp_path, monkeypatch, lease):
    def write(*_) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(trial, "_build", write)
    monkeypatch.setattr(trial, "_log_to", lambda path: None)
    assert trial._carry_out(tmp_path, SimpleNamespace(plan=SimpleNamespace(identity="x")), lease) == 130
    assert [told(tmp_path)[key] for key in ("state", "tries")] == [INTERRUPTED, 0]
