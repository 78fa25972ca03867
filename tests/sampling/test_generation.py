"""A generation that is cut off anywhere continues to the set of an undisturbed one, and draws nothing twice but the cut batch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pathsynth.config import EarlyRejectionConfig, SamplingConfig
from pathsynth.models.base import load_base
from pathsynth.sampling.acceptance_rules import Verdict
from pathsynth.sampling.attempts import LINES, AttemptRow, read_attempts
from pathsynth.sampling.draw import CandidateDrawer, drawer
from pathsynth.sampling.generation import generate_set
from pathsynth.sampling.pictures import read_png
from pathsynth.sampling.retry import Retry
from pathsynth.sampling.scheduler import scheduler_of
from pathsynth.sampling.slots import Attempt, Strategy, Stream, slots_of
from pathsynth.vocabulary.prompts import colorectal_prompts

BOOK = colorectal_prompts()
OWN = scheduler_of(None, "DDIMScheduler", {"timestep_spacing": "trailing"})
SLOTS = slots_of(Stream.EVAL, {c.index: BOOK.canonical(c.index) for c in BOOK.space.classes}, 4)
SAMPLING = SamplingConfig(steps=2, guidance=2.0, batch_size=8, seed=5, attempts=3, threshold=0.0)


def gate(attempts: Sequence[Attempt], images: list[np.ndarray | None]) -> list[Verdict]:
    good = [a.seed % 5 < 2 for a in attempts]
    return [Verdict(g, a.slot.label if g else 0, 0.6, (0.6, 0.4), None if g else "no", False) for g, a in zip(good, attempts, strict=True)]


class Drawer:
    """Noise whose bits depend on the whole batch, as batched arithmetic's do; breaks at one of its calls."""

    def __init__(self, breaks_at: int | None = None) -> None:
        self.calls, self._breaks_at = 0, breaks_at

    def __call__(self, attempts: Sequence[Attempt]) -> list[np.ndarray | None]:
        if self.calls == self._breaks_at:
            raise KeyboardInterrupt
        self.calls += 1
        batch = sum(a.seed for a in attempts)
        return [np.random.default_rng([a.seed, batch]).integers(1, 256, (8, 8, 3), dtype=np.uint8) for a in attempts]


def generate(place: Path, draw: Drawer, batch_size: int = 8) -> list[AttemptRow]:
    (place / "set").mkdir(parents=True, exist_ok=True)
    sampling = SAMPLING.model_copy(update={"batch_size": batch_size})
    generate_set(place / "set", place / "work", SLOTS, draw, gate, sampling, OWN, BOOK.space, keep_rejected=True, on_attempt=lambda _: None)
    return list(read_attempts(place / "set"))


def pixels(place: Path, rows: list[AttemptRow]) -> bytes:
    return b"".join(read_png(place / "set" / r.image).tobytes() for r in rows if r.image)


@pytest.mark.parametrize("cut", [0, 1, 4, 8])
@pytest.mark.parametrize("lost", [0, 3, 40])
def test_a_cut_generation_ends_as_the_undisturbed_one(tmp_path, cut, lost):
    whole = Drawer()
    rows = generate(tmp_path / "whole", whole)
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "cut", Drawer(breaks_at=cut))
    assert not (tmp_path / "cut" / "set" / "attempts.parquet").exists()
    ledger = tmp_path / "cut" / "work" / LINES
    kept = ledger.read_bytes()
    ledger.write_bytes(kept[: max(0, len(kept) - lost)])
    rest = Drawer()
    again = generate(tmp_path / "cut", rest)
    assert again == rows
    assert pixels(tmp_path / "cut", again) == pixels(tmp_path / "whole", rows)
    assert rest.calls == whole.calls - cut + (1 if lost and cut else 0)
    assert not (tmp_path / "cut" / "set" / LINES).exists()


@pytest.mark.parametrize("left", ["nothing", "zeros", "half", "another"])
def test_an_image_that_a_power_cut_took_from_a_known_attempt_is_drawn_again(tmp_path, left):
    """The row is on the disk and the image's content is not, or not wholly."""
    rows = generate(tmp_path / "whole", Drawer())
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "cut", Drawer(breaks_at=3))
    one, other = sorted((tmp_path / "cut" / "work").rglob("*.png"))[:2]
    content = {"zeros": bytes(one.stat().st_size), "half": one.read_bytes()[:40], "another": other.read_bytes()}
    one.unlink()
    if left in content:
        one.write_bytes(content[left])
    again = generate(tmp_path / "cut", Drawer())
    assert again == rows
    assert pixels(tmp_path / "cut", again) == pixels(tmp_path / "whole", rows)


def test_a_line_that_a_power_cut_left_as_zeros_is_no_row(tmp_path):
    rows = generate(tmp_path / "whole", Drawer())
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "cut", Drawer(breaks_at=3))
    ledger = tmp_path / "cut" / "work" / LINES
    lines = ledger.read_bytes().splitlines(keepends=True)
    lines[1] = bytes(len(lines[1]) - 1) + b"\n"
    lines[3] = b"7\n"
    ledger.write_bytes(b"".join(lines))
    assert generate(tmp_path / "cut", Drawer()) == rows


def test_a_finished_generation_draws_nothing_again(tmp_path):
    rows = generate(tmp_path, Drawer())
    shutil.rmtree(tmp_path / "set")
    again = Drawer()
    assert generate(tmp_path, again) == rows
    assert again.calls == 0


@pytest.mark.parametrize("before, after", [(32, 4), (4, 32), (16, 8)])
def test_another_batch_size_after_a_cut_leaves_no_attempt_that_nobody_needed(tmp_path, before, after):
    def told(rows):
        return sorted((r.label, r.slot, r.attempt, r.seed, r.accepted, r.image) for r in rows)

    whole = generate(tmp_path / "whole", Drawer(), after)
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "cut", Drawer(breaks_at=2), before)
    again = generate(tmp_path / "cut", Drawer(), after)
    assert told(again) == told(whole)
    place = tmp_path / "cut" / "set"
    assert sorted(r.image for r in again) == sorted(str(p.relative_to(place)) for p in place.rglob("*.png"))


class Breaks:
    """A drawer that breaks at one of its batches, whatever is requested of it."""

    def __init__(self, real: CandidateDrawer, at: int | None) -> None:
        self._real, self._left = real, at

    def __call__(self, attempts: Sequence[Attempt]) -> list[np.ndarray | None]:
        return self._checked(self._real, attempts)

    def preview(self, attempts: Sequence[Attempt]) -> list[tuple[np.ndarray | None, Verdict] | None]:
        images = self._checked(self._real.preview, attempts)
        given_up = Verdict(False, 0, 0.1, (0.1, 0.9), "hopeless", False)
        return [(i, given_up) if a.seed % 7 == 0 else None for a, i in zip(attempts, images, strict=True)]

    def _checked(self, do, attempts: Sequence[Attempt]) -> list[np.ndarray | None]:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left = None if self._left is None else self._left - 1
        return do(attempts)


@pytest.fixture(scope="module")
def base(small_base_folder):
    return load_base(str(small_base_folder), None, "b", 32, 28)


EARLY = EarlyRejectionConfig(after_step=2)
LONG = SAMPLING.model_copy(update={"steps": 4, "image_to_image": 0.5, "early_rejection": EARLY, "deterministic": True})


def revise_and_give_up(place: Path, base, breaks_at: int | None) -> list[AttemptRow]:
    draw = Breaks(drawer(base, 28, LONG), breaks_at)
    (place / "set").mkdir(parents=True, exist_ok=True)
    slots = slots_of(Stream.GENERATE, {c.index: BOOK.canonical(c.index) for c in BOOK.space.classes}, 3)
    generate_set(place / "set", place / "work", slots, draw, gate, LONG, OWN, BOOK.space, True, lambda _: None, draw.preview)
    return list(read_attempts(place / "set"))


@pytest.mark.parametrize("cut", [6, *(pytest.param(cut, marks=pytest.mark.slow) for cut in (1, 4, 9))])
def test_a_cut_generation_that_revises_and_gives_up_ends_with_the_same_bits(tmp_path, base, cut):
    rows = revise_and_give_up(tmp_path / "whole", base, None)
    assert {Strategy.IMAGE_TO_IMAGE, Strategy.FRESH} == {r.strategy for r in rows} and {None, 2} == {r.stopped_at for r in rows}
    assert all(r.denoiser_calls == (4 if r.strategy == "image_to_image" or r.stopped_at else 8) for r in rows)
    assert all((r.image is None) == (r.stopped_at is not None) for r in rows)
    with pytest.raises(KeyboardInterrupt):
        revise_and_give_up(tmp_path / "cut", base, cut)
    again = revise_and_give_up(tmp_path / "cut", base, None)
    assert again == rows
    assert pixels(tmp_path / "cut", again) == pixels(tmp_path / "whole", rows)


class Rewording:
    """A strategy of one's own: other words at the second attempt, more guidance at the third, the rejected image at the fourth."""

    def retry(self, slot, number, rejection):
        assert rejection.image is not None
        return (Retry(prompt=f"{slot.prompt}, again"), Retry(more_guidance=1.5), Retry(again=0.5))[number - 1]


@pytest.mark.slow
def test_a_cut_generation_with_a_strategy_of_ones_own_ends_with_the_same_rows_and_bits(tmp_path, base):
    own = {"steps": 2, "attempts": 4, "deterministic": True, "retry": {"_target_": f"{__name__}.Rewording"}}
    sampling = SAMPLING.model_copy(update=own)

    def generated(place: Path, breaks_at: int | None) -> list[AttemptRow]:
        draw = Breaks(drawer(base, 28, sampling), breaks_at)
        (place / "set").mkdir(parents=True, exist_ok=True)
        generate_set(place / "set", place / "work", SLOTS[:9], draw, gate, sampling, OWN, BOOK.space, True, lambda _: None)
        return list(read_attempts(place / "set"))

    rows = generated(tmp_path / "whole", None)
    told = {r.attempt: (r.strategy, r.guidance, r.start, r.denoiser_calls, r.prompt.endswith(", again")) for r in rows}
    assert told == {
        0: ("fresh", 2.0, 0, 4, False), 1: ("prompt", 2.0, 0, 4, True), 2: ("guidance", 3.5, 0, 4, False),
        3: ("image_to_image", 2.0, 1, 2, False),
    }
    with pytest.raises(KeyboardInterrupt):
        generated(tmp_path / "cut", 3)
    known = [json.loads(line) for line in (tmp_path / "cut" / "work" / LINES).read_text().splitlines()]
    again = generated(tmp_path / "cut", None)
    assert again == rows and pixels(tmp_path / "cut", again) == pixels(tmp_path / "whole", rows)
    lines = (tmp_path / "cut" / "work" / LINES).read_text().splitlines()
    assert {row["strategy"] for row in known} >= {"fresh", "prompt"}
    assert len(lines) == len(rows), "what was known is not drawn into the log again"
