"""A study that was stopped continues from the live page, to its end; and a validation is requested in a terminal."""

from __future__ import annotations

import os
import time

import pytest

from pathsynth.ui.continuing import Continuations
from pathsynth.ui.watching import study_named


@pytest.mark.slow
def test_the_page_goes_on_with_what_failed_by_the_same_command(pathsynth, monkeypatch):
    pathsynth.told = {"2": {"finetune": "kill"}}
    assert pathsynth.run("-m", "lora.rank=1,2").code == 1
    refused = pathsynth("validate", str(pathsynth.trial("rank=2")))
    assert (refused.code, refused.err.count("\n")) == (2, 1) and "rank=2" in refused.err and "is failed;" in refused.err
    monkeypatch.setenv("PYTHONPATH", str(pathsynth.folder / "stand_in"), prepend=os.pathsep)
    monkeypatch.setenv("STAND_IN", "{}")
    continuations = Continuations()
    study = study_named(pathsynth.folder / "multirun", "runs")
    assert continuations.begin(study) == 1
    deadline = time.monotonic() + 120
    while continuations.running(study.folder):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (pathsynth.state("rank=1")["state"], pathsynth.state("rank=2")["state"]) == ("done", "done")
    assert "lora.rank=2" in continuations.output(study.folder).splitlines()[0]
