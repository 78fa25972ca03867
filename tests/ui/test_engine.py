"""The engine of the live page, with a model that costs nothing: queue, places, cancelling, visitors, expiry, memory."""

from __future__ import annotations

import io
import shlex
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator

import pytest
from cheap_model import SETTINGS, STEPS, CheapModel, grey, probabilities

from pathsynth.commands.quoting import quote_free_text
from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.sampling.acceptance_rules import Candidate, judged_by
from pathsynth.sampling.attempts import read_attempts
from pathsynth.sampling.rejection import sample_until_accepted
from pathsynth.ui.decisions import pixels_of
from pathsynth.ui.draw_request import DrawRequest, Limits, check_request, resolve
from pathsynth.ui.engine import Engine, JobState, key_of
from pathsynth.vocabulary.labels import COLORECTAL, UnknownLabelError

MUCUS = DrawRequest("an area of mucus", "mucus", n=6, attempts=4)
DEBRIS = DrawRequest("debris", "debris", n=5, attempts=3, seed=7)
PATIENCE = 20


@pytest.fixture
def model() -> CheapModel:
    return CheapModel()


@pytest.fixture
def engine(model: CheapModel) -> Iterator[Engine]:
    made = Engine(model)
    yield made
    model.gate.set()
    made.close()


def eventually(what: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.002)


def by_the_sampler(request: DrawRequest, model: CheapModel) -> list[tuple[int, int, int, bool]]:
    """What the sampler's own loop gives: slot, attempt, seed and whether it was accepted."""
    sampling = request.sampling(SETTINGS)
    draw, judge = model.drawer(sampling, lambda way: None), model.judge(sampling)
    stream = sample_until_accepted(request.slots(COLORECTAL), draw, judge, request.attempts, sampling.batch_size, request.seed)
    return [(j.attempt.slot.index, j.attempt.number, j.attempt.seed, j.verdict.accepted) for j in stream]


def test_a_request_gives_the_attempts_of_the_sampler_with_their_images(engine: Engine, model: CheapModel):
    name = engine.open_session()
    engine.submit(name, MUCUS)
    seen = engine.wait(name, PATIENCE)
    assert seen.state is JobState.DONE
    made = [(d.attempt.slot.index, d.attempt.number, d.attempt.seed, v.accepted) for d, v in zip(seen.drawn, seen.verdicts, strict=True)]
    assert made == by_the_sampler(MUCUS, model) and len(made) > MUCUS.n
    assert all((pixels_of(engine.image(name, key_of(d.attempt)) or b"") == grey(d.attempt.seed)).all() for d in seen.drawn)
    assert seen.tally.accepted + seen.tally.exhausted == MUCUS.n and seen.tally.open == 0


def test_two_visitors_do_not_mix_and_a_third_is_reported_its_place(engine: Engine, model: CheapModel):
    model.gate.clear()
    one, two, three = (engine.open_session() for _ in range(3))
    engine.submit(one, MUCUS)
    eventually(lambda: engine.snapshot(one).state is JobState.DRAWING)
    assert engine.submit(two, DEBRIS) == 1 and engine.submit(three, MUCUS) == 2
    assert [engine.snapshot(name).place for name in (one, two, three)] == [0, 1, 2]
    with pytest.raises(RequestError, match="not finished"):
        engine.submit(two, MUCUS)
    engine.cancel(two)
    assert engine.snapshot(two).state is JobState.CANCELLED and engine.snapshot(three).place == 1
    engine.submit(two, DEBRIS)
    model.gate.set()
    first, second, third = (engine.wait(name, PATIENCE) for name in (one, two, three))
    assert {d.attempt.prompt for d in first.drawn} == {MUCUS.prompt} and {d.attempt.prompt for d in second.drawn} == {DEBRIS.prompt}
    assert [d.attempt for d in first.drawn] == [d.attempt for d in third.drawn]
    shown = engine.image(two, key_of(second.drawn[0].attempt))
    assert shown and shown == second.drawn[0].png and shown != engine.image(one, key_of(second.drawn[0].attempt))


def test_a_full_queue_and_too_many_visitors_are_refused_in_one_line(model: CheapModel):
    engine = Engine(model, Limits(waiting=2, sessions=4))
    try:
        model.gate.clear()
        names = [engine.open_session() for _ in range(4)]
        engine.submit(names[0], MUCUS)
        eventually(lambda: engine.snapshot(names[0]).state is JobState.DRAWING)
        engine.submit(names[1], MUCUS)
        engine.submit(names[2], MUCUS)
        with pytest.raises(RequestError, match="2 requests wait already; try again in a minute"):
            engine.submit(names[3], MUCUS)
        assert engine.snapshot(names[3]).request is None
        with pytest.raises(RequestError, match="4 visitors are here already"):
            engine.open_session()
    finally:
        model.gate.set()
        engine.close()


def test_cancelling_frees_the_model_within_one_step_and_keeps_what_was_judged(engine: Engine, model: CheapModel):
    model.gate.clear()
    name, other = engine.open_session(), engine.open_session()
    engine.submit(name, MUCUS)
    eventually(lambda: model.steps == 1)
    engine.cancel(name)
    model.gate.set()
    seen = engine.wait(name, PATIENCE)
    assert seen.state is JobState.CANCELLED and model.steps <= 2 < STEPS and seen.progress is None
    engine.submit(other, DEBRIS)
    assert engine.wait(other, PATIENCE).state is JobState.DONE


def test_progress_and_previews_are_shown_while_a_batch_is_denoised(engine: Engine, model: CheapModel):
    model.gate.clear()
    name = engine.open_session()
    engine.submit(name, MUCUS)
    eventually(lambda: engine.snapshot(name).progress)
    progress = engine.snapshot(name).progress
    assert progress and (progress.evaluations, progress.total) == (1, STEPS) and len(progress.attempts) == MUCUS.n
    assert engine.image(name, key_of(progress.attempts[0])) is None
    model.gate.let_through(2)
    eventually(lambda: (p := engine.snapshot(name).progress) and p.evaluations == 3)
    preview = engine.image(name, key_of(progress.attempts[1]))
    assert preview and (pixels_of(preview) == grey(progress.attempts[1].seed)).all()
    assert engine.image(engine.open_session(), key_of(progress.attempts[1])) is None
    model.gate.set()
    assert engine.wait(name, PATIENCE).progress is None


@pytest.mark.parametrize("threshold, margin", [(0.3, 0.0), (0.7, 0.0), (0.95, 0.0), (0.0, 0.6), (0.0, 0.0)])
def test_moved_limits_decide_as_the_sampler_would_without_drawing(engine: Engine, model: CheapModel, threshold: float, margin: float):
    name = engine.open_session()
    engine.submit(name, DrawRequest("mucus", "mucus", n=12, attempts=5, threshold=0.6))
    drawn = engine.wait(name, PATIENCE).drawn
    steps = model.steps
    engine.move_limits(name, threshold, margin)
    seen = engine.snapshot(name)
    assert model.steps == steps and seen.redecided and seen.drawn == drawn
    wanted = DrawRequest("mucus", "mucus", n=12, attempts=5, threshold=threshold, margin=margin)
    verdicts = {(d.attempt.slot.index, d.attempt.number): v for d, v in zip(seen.drawn, seen.verdicts, strict=True)}
    for slot, number, _, accepted in by_the_sampler(wanted, model):
        if (slot, number) in verdicts:  # the others were never drawn
            assert verdicts[slot, number].accepted is accepted
    rules = model.rules(wanted.sampling(SETTINGS))
    for d, verdict in zip(seen.drawn, seen.verdicts, strict=True):
        own = judged_by(rules, Candidate(probabilities(d.attempt)), d.attempt.slot.label)
        assert verdict == own or verdict.reason == "an earlier attempt was accepted"
    assert sum((seen.tally.accepted, seen.tally.exhausted, seen.tally.open)) == 12


def test_a_replay_draws_the_same_batch_again_and_compares_the_pixels(engine: Engine, model: CheapModel):
    name = engine.open_session()
    engine.submit(name, MUCUS)
    drawn = engine.wait(name, PATIENCE).drawn
    engine.replay(name, key_of(drawn[-1].attempt))
    seen = engine.wait(name, PATIENCE)
    assert seen.replay and seen.replay.attempt == drawn[-1].attempt and seen.replay.same and seen.replay.differing == 0
    assert seen.drawn == drawn
    stranger = engine.open_session()
    with pytest.raises(RequestError, match="no longer there"):
        engine.replay(stranger, key_of(drawn[0].attempt))


def test_the_download_is_the_folder_that_generation_leaves(engine: Engine, tmp_path):
    name = engine.open_session()
    with pytest.raises(RequestError, match="not finished"):
        engine.archive(name)
    engine.submit(name, MUCUS)
    seen = engine.wait(name, PATIENCE)
    engine.move_limits(name, 0.5, 0.0)
    seen = engine.snapshot(name)
    with zipfile.ZipFile(io.BytesIO(engine.archive(name))) as archive:
        archive.extractall(tmp_path)
    rows = list(read_attempts(tmp_path))
    assert [(r.slot, r.attempt, r.accepted, r.reason) for r in rows] == [
        (d.attempt.slot.index, d.attempt.number, v.accepted, v.reason) for d, v in zip(seen.drawn, seen.verdicts, strict=True)
    ]
    images = sorted(path.name for path in (tmp_path / "images" / "mucus").glob("*.png"))
    assert images == sorted(f"{r.name}.png" for r in rows if r.accepted) and images
    assert "not for diagnosis" in (tmp_path / "images" / "README.md").read_text()
    engine.move_limits(name, 1.0, 1.0)
    with pytest.raises(RequestError, match="no image is accepted"):
        engine.archive(name)


def test_a_failure_is_reported_to_its_visitor_and_the_next_is_drawn(engine: Engine, model: CheapModel):
    name = engine.open_session()
    for fault, line in ((StageError("out of memory"), "out of memory"), (ZeroDivisionError("x"), "ZeroDivisionError: x")):
        model.fault = fault
        engine.submit(name, MUCUS)
        seen = engine.wait(name, PATIENCE)
        assert seen.state is JobState.FAILED and seen.reason == line
    model.fault = None
    engine.submit(name, MUCUS)
    assert engine.wait(name, PATIENCE).state is JobState.DONE


def test_who_is_silent_is_cancelled_and_then_forgotten(model: CheapModel):
    now = [0.0]
    engine = Engine(model, Limits(absent_seconds=60, idle_seconds=1800), clock=lambda: now[0])
    try:
        model.gate.clear()
        gone, here = engine.open_session(), engine.open_session()
        engine.submit(gone, MUCUS)
        eventually(lambda: engine.snapshot(gone).state is JobState.DRAWING)
        now[0] = 61
        engine.snapshot(here)
        model.gate.set()
        engine.submit(here, DEBRIS)
        assert engine.wait(here, PATIENCE).state is JobState.DONE
        with_gone = model.steps
        engine.submit(here, DEBRIS)
        engine.wait(here, PATIENCE)
        assert with_gone - (model.steps - with_gone) <= 2 < STEPS, "what the absent visitor had begun was left"
        now[0] = 1801
        engine.snapshot(here)
        assert not engine.has_session(gone) and engine.has_session(here)
        with pytest.raises(RequestError, match="load it again"):
            engine.snapshot(gone)
    finally:
        engine.close()


@pytest.mark.slow
def test_two_hundred_requests_of_eight_visitors_none_lost_and_memory_flat(engine: Engine):
    """Each visitor's images take a bound; what came before is forgotten with the next request."""
    ended: list[tuple[str, int]] = []
    kept: list[int] = []

    def visit(number: int, requests: int) -> None:
        name = engine.open_session()
        for i in range(requests):
            request = DrawRequest(f"mucus of {number}", "mucus", n=3, attempts=2, seed=100 * number + i)
            engine.submit(name, request)
            seen = engine.wait(name, 60)
            right = seen.state is JobState.DONE and {d.attempt.prompt for d in seen.drawn} == {request.prompt}
            ended.append((request.prompt, len(seen.drawn)) if right else ("lost", 0))

    def round_of(requests: int) -> None:
        visitors = [threading.Thread(target=visit, args=(n, requests)) for n in range(8)]
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.join()
        kept.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        round_of(5)
        round_of(20)
    finally:
        tracemalloc.stop()
    assert len(ended) == 200 and all(3 <= drawn <= 6 for _, drawn in ended)
    assert kept[1] - kept[0] < 1_000_000, "four times the requests leave no more behind than their sessions"


def test_images_beyond_the_bound_are_forgotten_rejected_ones_first(model: CheapModel):
    engine = Engine(model, Limits(kept_bytes=4000))
    try:
        name = engine.open_session()
        engine.submit(name, DrawRequest("mucus", "mucus", n=20, attempts=6, threshold=0.5))
        seen = engine.wait(name, PATIENCE)
        kept = [d for d in seen.drawn if d.png]
        assert sum(len(d.png or b"") for d in kept) <= 4000
        assert kept and all(d.verdict.accepted for d in kept) and len(seen.drawn) > len(kept)
    finally:
        engine.close()


def test_a_text_resolves_as_on_the_command_line():
    assert resolve("a field of mucus", COLORECTAL).label == COLORECTAL.by_slug("mucus")
    several = resolve("mucus beside debris", COLORECTAL)
    assert {c.slug for c in several.candidates} == {"mucus", "debris"} and "several classes" in several.line
    unknown = resolve("adipoze", COLORECTAL)
    assert unknown.label is None and "nearest: adipose" in unknown.line and unknown.candidates == ()
    assert resolve("  ", COLORECTAL).line == ""


@pytest.mark.parametrize(
    "change, line",
    [
        ({"prompt": " \n"}, "empty"),
        ({"prompt": "x" * 501}, "501 letters"),
        ({"n": 49}, "images is 49"),
        ({"attempts": 0}, "attempts is 0"),
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"margin": float("nan")}, "margin is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"label": "moon"}, "no class called 'moon'"),
    ],
)
def test_wrong_requests_are_refused_before_they_wait(change: dict[str, object], line: str):
    with pytest.raises((RequestError, UnknownLabelError), match=line):
        check_request(DrawRequest(**{"prompt": "mucus", "label": "mucus", **change}), COLORECTAL, Limits())


PROMPTS = ["mucus", "it's mucus; rm -rf $HOME `x`", '"mucus"', "'mucus'", "mucus ${seed} \\", "a=b, [c] {d} mucus"]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_command_asks_for_the_very_text(prompt: str):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    words = shlex.split(DrawRequest(prompt, "mucus", n=2, threshold=0.25, seed=3).command(["base=sd15"]))
    assert words[:2] == ["pathsynth", "generate"] and {"label=mucus", "n=2", "sampling.threshold=0.25", "base=sd15"} <= set(words)
    (override,) = OverridesParser.create().parse_overrides(quote_free_text(words[2:3], multirun=False))
    assert override.value().replace("\\${", "${") == prompt.replace("\\${", "${")
