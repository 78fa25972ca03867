"""Candidates depend on their own seeds, not on the company they are drawn in."""

from __future__ import annotations

from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from pathsynth.ledger.errors import StageError
from pathsynth.models.base import load_base
from pathsynth.sampling.draw import FIXED, CandidateDrawer, fixed_batches
from pathsynth.sampling.scheduler import DETERMINISTIC
from pathsynth.sampling.slots import Slot, Stream, attempt_at


@pytest.fixture(scope="module")
def base(small_base_folder):
    return load_base(str(small_base_folder), None, "b", 32, 28)


def attempts(*indices: int):
    return [attempt_at(Slot(Stream.EVAL, i % 3, i, f"an area with word {i % 3}"), 0, 0) for i in indices]


def test_images_have_the_data_sets_size_and_type(base):
    image = CandidateDrawer(base, 28, 2, 3.0)(attempts(0))[0]
    assert image.shape == (28, 28, 3) and image.dtype == np.uint8


def test_batch_and_order_change_nothing_but_rounding(base):
    drawer = CandidateDrawer(base, 28, 3, 3.0)
    together = drawer.latents(attempts(0, 1, 2, 3))
    turned = drawer.latents(attempts(3, 2, 1, 0)).flip(0)
    alone = torch.cat([drawer.latents(attempts(i)) for i in range(4)])
    assert torch.allclose(together, turned, atol=1e-4)
    assert torch.allclose(together, alone, atol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=0.1)


def test_guidance_and_prompt_steer(base):
    one, three = (CandidateDrawer(base, 28, 3, g).latents(attempts(0, 1)) for g in (1.0, 3.0))
    assert not torch.allclose(one, three, atol=1e-3)


def test_further_attempts_get_more_guidance_whatever_company_they_are_in(base):
    first = attempts(0, 1)
    third = [replace(attempt_at(a.slot, 2, 0), guidance=5.0) for a in first]
    rising = CandidateDrawer(base, 28, 3, 2.0, varies=True)
    mixed = rising.latents([*first, *third])
    assert torch.allclose(mixed[:2], CandidateDrawer(base, 28, 3, 2.0).latents(first), atol=1e-4)
    assert torch.allclose(mixed[2:], CandidateDrawer(base, 28, 3, 5.0).latents(third), atol=1e-4)
    assert not torch.allclose(mixed[2:], CandidateDrawer(base, 28, 3, 2.0).latents(third), atol=1e-3)


def test_rescaled_guidance_has_the_spread_of_the_unguided_prediction(base):
    none, much, back = (CandidateDrawer(base, 28, 1, g, guidance_rescale=r) for g, r in ((1.0, 0.0), (9.0, 0.0), (9.0, 1.0)))
    unguided, guided, rescaled = (drawer.latents(attempts(0, 1)).flatten(1) for drawer in (none, much, back))
    assert not torch.allclose(guided.std(dim=1), unguided.std(dim=1), rtol=1e-2)
    assert torch.allclose(rescaled.std(dim=1), unguided.std(dim=1), rtol=1e-4)
    assert not torch.allclose(rescaled, unguided, atol=1e-2)


def test_a_scheduler_may_be_named(base):
    own, other = (CandidateDrawer(base, 28, 3, 3.0, scheduler=s).latents(attempts(0, 1)) for s in (None, "DPMSolverMultistepScheduler"))
    kept = base.pipeline.scheduler
    assert not torch.allclose(own, other, atol=1e-3)
    base.pipeline.scheduler = DPMSolverMultistepScheduler.from_config(kept.config)
    expected = CandidateDrawer(base, 28, 3, 3.0).latents(attempts(0, 1))
    base.pipeline.scheduler = kept
    assert torch.equal(other, expected)


def test_numbers_that_are_not_finite_give_no_image(base):
    drawer = CandidateDrawer(base, 28, 2, 1.0)
    drawer._embeddings["an area with word 0"] = torch.full_like(base.embed([""]), float("nan"))
    images = drawer(attempts(0, 1))
    assert images[0] is None and images[1] is not None


def test_bfloat16_draws_nearly_the_same(base):
    whole, half = (CandidateDrawer(base, 28, 3, 3.0, half=h).latents(attempts(0, 1)) for h in (False, True))
    assert half.dtype == torch.float32
    assert not torch.equal(whole, half)
    assert (whole - half).abs().mean() < 0.02 * whole.std()


def test_batches_of_one_shape_give_the_same_bits_in_any_company(base):
    drawer = CandidateDrawer(base, 28, 2, 3.0, fixed=True)
    wanted = attempts(*range(19))
    together = drawer(wanted)
    turned = drawer(wanted[::-1])[::-1]
    alone = [drawer([attempt])[0] for attempt in wanted[:3]]
    assert all(np.array_equal(one, other) for one, other in zip(together, turned, strict=True))
    assert all(np.array_equal(one, other) for one, other in zip(together, alone, strict=False))


def test_fixed_batches_hold_every_item_once():
    batches = list(fixed_batches(range(2 * FIXED + 3)))
    assert [len(batch) for batch, _ in batches] == [FIXED] * 3
    assert [item for batch, n in batches for item in batch[:n]] == list(range(2 * FIXED + 3))
    assert list(fixed_batches([])) == []


GPU_FULL, CPU_FULL = torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")


@pytest.mark.parametrize("error", [GPU_FULL, CPU_FULL])
def test_out_of_memory_halves_the_batch_and_goes_on(base, monkeypatch, capsys, error):
    drawer, sizes, whole = CandidateDrawer(base, 28, 1, 1.0), [], CandidateDrawer.latents
    wanted = drawer(attempts(*range(7)))

    def scarce(self, some):
        sizes.append(len(some))
        if len(some) > 3:
            raise error
        return whole(self, some)

    monkeypatch.setattr(CandidateDrawer, "latents", scarce)
    images = drawer(attempts(*range(7)))
    assert sizes == [7, 3, 3, 1]
    assert all(np.abs(one.astype(int) - other).max() <= 1 for one, other in zip(images, wanted, strict=True))
    assert capsys.readouterr().out == "out of memory while drawing 7 images at once; continuing with 3\n"
    sizes.clear()
    drawer(attempts(*range(7)))
    assert sizes == [3, 3, 1]


def test_one_image_too_large_for_memory_is_reported_and_other_errors_are_not_taken_for_it(base, monkeypatch):
    drawer = CandidateDrawer(base, 28, 1, 1.0)
    for error, raised, told in [
        (GPU_FULL, StageError, "a single image"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), RuntimeError, "mat1"),
    ]:

        def fails(self, some, error=error):
            raise error

        monkeypatch.setattr(CandidateDrawer, "latents", fails)
        with pytest.raises(raised, match=told):
            drawer(attempts(0))


def revising(rejected, start=3):
    return replace(attempt_at(rejected.slot, rejected.number + 1, 0), starts_from=rejected, start=start)


@pytest.fixture
def with_scheduler(base, request):
    """The base with another scheduler of its own, on the same noise."""
    kept, (name, settings) = base.pipeline.scheduler, request.param
    base.pipeline.scheduler = getattr(diffusers, name).from_config(kept.config, **settings)
    yield base
    base.pipeline.scheduler = kept


SCHEDULERS = [*((name, {}) for name in DETERMINISTIC), ("PNDMScheduler", {"skip_prk_steps": True})]
IN_THE_MIDDLE = [(name, settings) for name, settings in SCHEDULERS if name not in ("LMSDiscreteScheduler", "PNDMScheduler")]


@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize("with_scheduler", SCHEDULERS, indirect=True, ids=str)
def test_a_candidate_that_was_looked_at_ends_as_if_it_had_not_been(with_scheduler, after):
    plain, looking = (CandidateDrawer(with_scheduler, 28, 6, 3.0, preview_step=n) for n in (None, after))
    wanted = attempts(0, 1, 2, 3)
    expected = plain(wanted)
    looking.preview(wanted[:2])
    looking.preview(wanted[2:])
    together = looking([wanted[3], wanted[0], wanted[2], wanted[1]])
    found = [together[i] for i in (1, 3, 2, 0)]
    assert all(np.abs(one.astype(int) - other).max() <= 1 for one, other in zip(found, expected, strict=True))


def test_what_the_look_shows_comes_near_to_the_image_as_the_steps_go_on(base):
    wanted = attempts(0, 1, 2)
    last = CandidateDrawer(base, 28, 8, 1.0)(wanted)

    def distance(after: int) -> float:
        shown = CandidateDrawer(base, 28, 8, 1.0, preview_step=after).preview(wanted)
        return float(np.mean([np.abs(s.astype(int) - i).mean() for s, i in zip(shown, last, strict=True)]))

    early, late = distance(1), distance(7)
    assert late < early and late < 8


@pytest.mark.parametrize("with_scheduler", IN_THE_MIDDLE, indirect=True, ids=str)
def test_a_revision_keeps_more_of_the_rejected_image_the_later_it_starts(with_scheduler):
    (first,) = attempts(0)

    def changed(start: int) -> float:
        drawer = CandidateDrawer(with_scheduler, 28, 8, 2.0, keeps=True)
        before, after = drawer.latents([first]), drawer.latents([revising(first, start)])
        return float((before - after).square().mean())

    assert 0 < changed(7) < changed(2)


@pytest.mark.slow
def test_a_revision_is_drawn_again_without_what_it_revises_at_hand(base):
    (first,) = attempts(0)
    drawer = CandidateDrawer(base, 28, 6, 2.0, keeps=True, fixed=True)
    second = revising(first)
    third = revising(second)
    drawn = [drawer([a])[0] for a in (first, second, third)]
    (again,) = CandidateDrawer(base, 28, 6, 2.0, keeps=True, fixed=True)([third])
    assert np.array_equal(again, drawn[2])
    assert not np.array_equal(drawn[1], drawn[2])


def test_a_mixed_call_takes_each_from_where_it_is(base):
    one, two, three = attempts(0, 1, 2)
    drawer = CandidateDrawer(base, 28, 6, 2.0, keeps=True, preview_step=2)
    drawer([one])
    drawer.preview([two])
    mixed = drawer([revising(one), three, two])
    fresh = CandidateDrawer(base, 28, 6, 2.0, keeps=True)
    expected = [fresh([a])[0] for a in (revising(one), three, two)]
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(mixed, expected, strict=True))


def test_who_watches_sees_the_way_changes_no_bit_and_can_end_it_after_any_evaluation(base):
    wanted, told = attempts(0, 1, 2), []
    plain = CandidateDrawer(base, 28, steps=4, guidance=2.0)(wanted)

    def watch(way):
        told.append((way.evaluations, way.total, [image.shape for image in way.images()]))

    watched = CandidateDrawer(base, 28, steps=4, guidance=2.0, watch=watch)(wanted)
    assert all((a == b).all() for a, b in zip(plain, watched, strict=True))
    assert told == [(n, 4, [(28, 28, 3)] * 3) for n in (1, 2, 3, 4)]

    def leave(way):
        told.append(way.evaluations)
        raise InterruptedError

    told.clear()
    with pytest.raises(InterruptedError):
        CandidateDrawer(base, 28, steps=4, guidance=2.0, watch=leave)(wanted)
    assert told == [1]
