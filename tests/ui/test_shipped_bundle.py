"""The page's engine with the shipped bundle: what it draws is what the command line draws, bit for bit."""

from __future__ import annotations

import io
import shlex
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import ImageFolder

from pathsynth.commands.ui import bundle_config
from pathsynth.sampling.attempts import read_attempts
from pathsynth.sampling.pictures import read_png
from pathsynth.ui.decisions import pixels_of
from pathsynth.ui.draw_request import DrawRequest
from pathsynth.ui.engine import Engine, JobState, key_of
from pathsynth.ui.model import load_model
from tests.forked import forked_output

pytestmark = pytest.mark.slow
PATIENCE = 120
MUSCLE = DrawRequest("a histopathological image of an area with smooth muscle", "smooth-muscle", n=4, attempts=2, threshold=0.9, seed=11)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    config, overrides = bundle_config(None, ["sampling.batch_size=3"])
    made = Engine(load_model(config), overrides=overrides)
    yield made
    made.close()


def test_what_the_page_draws_is_what_its_command_draws(engine: Engine, tmp_path: Path):
    """Images, verdicts and ledger; and what is downloaded reads as a data set."""
    name = engine.open_session()
    engine.submit(name, MUSCLE)
    seen = engine.wait(name, PATIENCE)
    assert seen.state is JobState.DONE, seen.reason
    with zipfile.ZipFile(io.BytesIO(engine.archive(name))) as archive:
        archive.extractall(tmp_path / "page")
    words = shlex.split(MUSCLE.command(engine.overrides))
    forked_output(tmp_path, *words[1:], "tracking=none", "study.name=cli")
    (table,) = (tmp_path / "multirun" / "cli").glob("*/attempts.parquet")
    mine, theirs = (list(read_attempts(folder)) for folder in (tmp_path / "page", table.parent))
    assert mine == theirs and any(r.accepted for r in mine) and any(not r.accepted for r in mine)
    for row in (r for r in mine if r.image):
        assert (read_png(tmp_path / "page" / str(row.image)) == read_png(table.parent / str(row.image))).all()
    assert len(ImageFolder(str(tmp_path / "page" / "images"))) == sum(r.accepted for r in mine)
    engine.replay(name, key_of(seen.drawn[-1].attempt))
    replayed = engine.wait(name, PATIENCE).replay
    assert replayed and replayed.same and replayed.differing == 0


def test_what_the_text_encoder_does_not_read_is_said_as_on_the_command_line(engine: Engine):
    assert engine.model.notes("mucus") == []
    (line,) = engine.model.notes("mucus with quokka")
    assert "splits: quokka" in line
    assert "cuts off the end" in engine.model.notes("mucus " * 60)[0]


def test_cancelling_frees_the_model_within_one_step(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    """Counted in evaluations of the denoiser, as its watcher is called."""
    name, other = engine.open_session(), engine.open_session()
    steps: list[int] = []
    watch = engine._watch

    def counted(job, way) -> None:
        steps.append(way.evaluations)
        if len(steps) == 2:
            engine.cancel(name)
        watch(job, way)

    monkeypatch.setattr(engine, "_watch", counted)
    engine.submit(name, MUSCLE)
    assert engine.wait(name, PATIENCE).state is JobState.CANCELLED and steps == [1, 2]
    monkeypatch.undo()
    engine.submit(other, MUSCLE)
    assert engine.wait(other, PATIENCE).state is JobState.DONE


def test_a_preview_comes_near_to_the_image(engine: Engine):
    name = engine.open_session()
    engine.submit(name, DrawRequest(MUSCLE.prompt, "smooth-muscle", n=1, attempts=1, seed=3))
    preview, end = None, time.monotonic() + PATIENCE
    while not (told := engine.snapshot(name)).state.over and time.monotonic() < end:
        preview = engine.image(name, (0, 0)) if told.progress and told.progress.evaluations == 9 else preview
        time.sleep(0.01)
    (drawn,) = engine.wait(name, PATIENCE).drawn
    assert preview and drawn.png
    assert np.abs(pixels_of(preview).astype(int) - pixels_of(drawn.png)).mean() < 12
