"""What a scheduler costs and where it may start: every call of the denoiser is in the ledger, and what cannot be right is refused."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from torch import Tensor

from pathsynth.config import EarlyRejectionConfig, SamplingConfig
from pathsynth.ledger.errors import RequestError
from pathsynth.models.base import load_base
from pathsynth.sampling import draw
from pathsynth.sampling.acceptance_rules import Verdict
from pathsynth.sampling.attempts import read_attempts
from pathsynth.sampling.draw import base_scheduler, drawer, new_scheduler
from pathsynth.sampling.generation import generate_set
from pathsynth.sampling.rejection import Hopeless
from pathsynth.sampling.scheduler import DETERMINISTIC, format_changes, scheduler_of
from pathsynth.sampling.slots import Attempt, Stream, slots_of
from pathsynth.sampling.trajectory import Trajectory
from pathsynth.vocabulary.prompts import colorectal_prompts

BOOK = colorectal_prompts()
NAMED = ("DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler", "UniPCMultistepScheduler")
LEADING = {
    "_class_name": "PNDMScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
"""As Stable Diffusion 1.5's."""


def sampling(**settings) -> SamplingConfig:
    return SamplingConfig(**{"steps": 4, "guidance": 2.0, "batch_size": 1, "seed": 5, "attempts": 2, "threshold": 0.0, **settings})


@pytest.fixture
def base(small_base_folder):
    base = load_base(str(small_base_folder), None, "b", 32, 28)
    base.pipeline.scheduler = diffusers.PNDMScheduler.from_config(LEADING)
    return base


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_the_planned_evaluations_are_the_schedulers_timesteps(name, skips):
    made = getattr(diffusers, name).from_config({**LEADING, "skip_prk_steps": skips})
    for steps in range(1 if skips or name != "PNDMScheduler" else 4, 31):
        made.set_timesteps(steps)
        planned = scheduler_of(None, name, made.config).evaluations(steps)
        assert (len(planned), sum(planned)) == (steps, len(made.timesteps))


def test_pndm_asks_once_more_than_it_has_steps():
    assert sum(scheduler_of(None, "PNDMScheduler", LEADING).evaluations(30)) == 31


class Counting:
    """Draws one attempt at a time, and counts the latents that the UNet is given for each."""

    def __init__(self, base, settings: SamplingConfig) -> None:
        self._draw, self._rows, self.calls = drawer(base, 28, settings), 0, dict[Attempt, int]()
        self.scheduler, forward = self._draw.scheduler, base.unet.forward

        def counted(latents: Tensor, *words, **named):
            self._rows += len(latents)
            return forward(latents, *words, **named)

        base.unet.forward = counted

    def __call__(self, attempts: Sequence[Attempt]) -> list[np.ndarray | None]:
        return self._counted(self._draw, attempts)

    def preview(self, attempts: Sequence[Attempt]) -> list[Hopeless | None]:
        images = self._counted(self._draw.preview, attempts)
        given_up = Verdict(False, 0, 0.1, (0.1, 0.9), "hopeless", False)
        return [(image, given_up) if a.seed % 3 == 0 else None for a, image in zip(attempts, images, strict=True)]

    def _counted(self, do, attempts: Sequence[Attempt]) -> list[np.ndarray | None]:
        (attempt,), self._rows = attempts, 0
        images = do(attempts)
        self.calls[attempt] = self.calls.get(attempt, 0) + self._rows
        return images


def judge(attempts: Sequence[Attempt], images: list[np.ndarray | None]) -> list[Verdict]:
    return [Verdict(a.seed % 5 == 0, a.slot.label, 0.6, (0.6,), None if a.seed % 5 == 0 else "no", False) for a in attempts]


EARLY = {step: {"early_rejection": EarlyRejectionConfig(after_step=step)} for step in (1, 2)}
WAYS: list[tuple[float, dict[str, Any]]] = [(1.0, {}), (3.0, {}), (1.0, EARLY[1]), (3.0, EARLY[2] | {"image_to_image": 0.5})]
CASES = [(name, *way) for name in (None, "Heun", *NAMED) for way in WAYS if name or "image_to_image" not in way[1]]


@pytest.mark.parametrize("name, guidance, way", CASES, ids=str)
def test_the_ledgers_calls_are_those_that_the_unet_was_called(tmp_path: Path, base, name, guidance, way):
    if name == "Heun":
        base.pipeline.scheduler, name = diffusers.HeunDiscreteScheduler.from_config(LEADING), None
    settings = sampling(scheduler=name, guidance=guidance, **way)
    counting, slots = Counting(base, settings), slots_of(Stream.GENERATE, {0: BOOK.canonical(0), 1: BOOK.canonical(1)}, 2)
    reject_early = counting.preview if settings.early_rejection.after_step else None
    places = (tmp_path / "set", tmp_path / "work")
    places[0].mkdir()
    own = (counting, judge, settings, counting.scheduler, BOOK.space, False)
    generate_set(*places, slots, *own, lambda _: None, reject_early)
    rows = list(read_attempts(tmp_path / "set"))
    assert {r.as_attempt(): r.denoiser_calls for r in rows} == counting.calls
    assert any(r.stopped_at for r in rows) == ("early_rejection" in way)
    assert any(r.strategy == "image_to_image" for r in rows) == ("image_to_image" in way)
    assert {(r.scheduler, r.timestep_spacing) for r in rows} == {(counting.scheduler.name, "trailing" if name else "leading")}


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("stated", ["leading", "linspace", None])
def test_one_that_replaces_the_bases_own_starts_from_the_last_training_timestep(base, name, stated):
    config = {key: value for key, value in LEADING.items() if key != "timestep_spacing"}
    base.pipeline.scheduler = diffusers.PNDMScheduler.from_config({**config, "timestep_spacing": stated} if stated else config)
    for steps in range(1, 31):
        made = new_scheduler(base, base_scheduler(base, name))
        made.set_timesteps(steps)
        assert (int(made.timesteps[0]), len(made.timesteps)) == (999, steps)
        latents = torch.ones(1, 1, 2, 2) * made.init_noise_sigma
        for t in made.timesteps:
            latents = made.step(made.scale_model_input(latents, t) / 2, t, latents, return_dict=False)[0]
        assert torch.isfinite(latents).all()
    assert format_changes(base_scheduler(base, name)) is not None


def test_the_bases_own_keeps_its_spacing(base):
    own = base_scheduler(base, None)
    made = new_scheduler(base, own)
    made.set_timesteps(10)
    assert (own.spacing, int(made.timesteps[0]), format_changes(own)) == ("leading", 901, None)


def test_what_the_base_states_already_is_no_change():
    trailing = {**LEADING, "timestep_spacing": "trailing", "clip_sample": True}
    assert all(not scheduler_of(name, "PNDMScheduler", trailing).changes for name in NAMED)


def test_ddim_does_not_clip_latents_where_the_base_does_not_say_so(base):
    assert new_scheduler(base, base_scheduler(base, "DDIMScheduler")).config.clip_sample is False
    base.pipeline.scheduler = diffusers.DDIMScheduler()  # clips by its own default, which is for pixels
    assert new_scheduler(base, base_scheduler(base, "DDIMScheduler")).config.clip_sample is False


def test_other_timesteps_are_reported_once(base, capsys):
    draw._print_once.cache_clear()
    for _ in range(2):
        drawer(base, 28, sampling(scheduler="UniPCMultistepScheduler"))
        drawer(base, 28, sampling())
    told = "sampling: UniPCMultistepScheduler at trailing timesteps, from the last training timestep on"
    assert capsys.readouterr().out == f"{told} (the spacing of the base's own scheduler: leading)\n"


def distance(name: str, start: int, steps: int = 30) -> float:
    """How far normally distributed latents end, with the exact denoiser, from where the exact flow from the ``start``-th step takes them.

    Root mean square. The flow between normal distributions is linear; see Karras et al., arXiv 2206.00364, appendix B.
    """
    mean, spread, generator = 0.3, 0.5, torch.Generator().manual_seed(0)
    base_like = diffusers.PNDMScheduler.from_config(LEADING).config
    made = getattr(diffusers, name).from_config(base_like, clip_sample=False)
    made.set_timesteps(steps)
    ends = list(itertools.accumulate(scheduler_of(None, name, made.config).evaluations(steps), initial=0))
    clean, noise = mean + spread * torch.randn(64, 1, 4, 4, generator=generator), torch.randn(64, 1, 4, 4, generator=generator)
    way = Trajectory.from_image(made, clean, noise, ends[start]) if start else Trajectory.from_noise(made, noise)
    seen: list[tuple[Tensor, Tensor]] = []

    def predict(latents: Tensor, t: Tensor) -> Tensor:
        low = int(t)
        logs, share = made.alphas_cumprod.log(), float(t) - low
        signal = torch.lerp(logs[low], logs[min(low + 1, 999)], share).exp()
        seen.append((latents, signal))
        return (1 - signal).sqrt() * (latents - signal.sqrt() * mean) / (signal * spread**2 + 1 - signal)

    way.advance(predict, ends[-1])
    latents, signal = seen[0]
    exact = mean + spread * (latents - signal.sqrt() * mean) / (signal * spread**2 + 1 - signal).sqrt()
    return float((way.latents - exact).square().mean().sqrt())


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_those_that_may_revise_are_as_exact_from_the_middle_as_from_the_start_and_the_others_are_refused(name):
    from_the_start, from_the_middle = distance(name, 0), max(distance(name, start) for start in (10, 20, 25))
    exact = from_the_middle < 2 * from_the_start + 0.01
    settings = sampling(image_to_image=0.5)
    if exact:
        scheduler_of(None, name, LEADING).check(settings)
    else:
        with pytest.raises(RequestError, match=r"sampling\.image_to_image=0\.5 starts in the middle.*or sampling\.image_to_image=0$"):
            scheduler_of(None, name, LEADING).check(settings)
    assert exact == (name not in ("LMSDiscreteScheduler", "PNDMScheduler"))


@pytest.mark.parametrize(
    "name, own, config, settings, words",
    [
        (None, "EulerAncestralDiscreteScheduler", {}, {}, "the base's own scheduler, EulerAncestralDiscreteScheduler, is none of those"),
        (None, "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, {}, "draws noise of its own on the way"),
        ("DPMSolverMultistepScheduler", "", {"algorithm_type": "sde-dpmsolver++"}, {}, "set sampling.scheduler=UniPCMultistepScheduler"),
        (None, "PNDMScheduler", {}, {"steps": 3}, "needs 4 steps, not sampling.steps=3"),
    ],
)
def test_what_cannot_be_right_is_refused_in_a_line(name, own, config, settings, words):
    with pytest.raises(RequestError) as caught:
        scheduler_of(name, own, config).check(sampling(**settings))
    assert words in str(caught.value) and "\n" not in str(caught.value)
    scheduler_of("UniPCMultistepScheduler", own, config).check(sampling(**settings))
