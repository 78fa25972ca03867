"""Drawing candidates: batches of attempts through the base and its adapter, each from its own seed."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import diffusers
import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from torch import Tensor

from pathsynth.config import SamplingConfig
from pathsynth.data.tensors import crop_to, to_uint8
from pathsynth.ledger.errors import StageError
from pathsynth.models.base import Base
from pathsynth.sampling.denoising import Denoising, Watch
from pathsynth.sampling.scheduler import Scheduler, format_changes, scheduler_of
from pathsynth.sampling.slots import Attempt
from pathsynth.sampling.trajectory import Paused, Trajectory

FIXED = 16
"""Candidates in a batch of fixed shape; the last bits of an image depend on the shape of its batch."""

_KEPT = 1024
"""The most latents kept in memory for attempts that start from them; others are drawn again when needed."""

_Item = TypeVar("_Item")
_Images = Callable[[Sequence[Attempt]], list[np.ndarray | None]]


def fixed_batches(items: Sequence[_Item]) -> Iterator[tuple[list[_Item], int]]:
    """``items`` in lists of exactly :data:`FIXED`, the last one filled up by repeats, each with how many of it count."""
    for start in range(0, len(items), FIXED):
        batch = list(items[start : start + FIXED])
        yield batch + batch[-1:] * (FIXED - len(batch)), len(batch)


class CandidateDrawer:
    """Turns attempts into images with classifier-free guidance.

    Args:
        base: the base, an adapter loaded or attached.
        image_size: pixels of the data set; images of the base are cropped to it.
        steps: denoising steps.
        guidance: guidance scale (1: none; the UNet then runs once a step instead of twice).
        varies: whether attempts may have a guidance of their own; the UNet then runs twice a step at any scale.
        guidance_rescale: share, 0 to 1, of the way back to the spread of the unguided prediction.
        scheduler: a diffusers class that takes the place of the base's own, as :func:`scheduler_of` says; None: the base's own.
        half: the UNet computes in bfloat16 where that is safe; the scheduler and the decoder stay in float32.
        fixed: batches are cut and padded to :data:`FIXED` candidates, so that an image has the same bits in any company.
        keeps: whether latents stay in memory, for later attempts that start from them.
        preview_step: the step after which :meth:`preview` shows what becomes of a candidate.
        watch: called with each batch on its way.
    """

    def __init__(
        self,
        base: Base,
        image_size: int,
        steps: int,
        guidance: float,
        half: bool = False,
        fixed: bool = False,
        varies: bool = False,
        guidance_rescale: float = 0.0,
        scheduler: str | None = None,
        keeps: bool = False,
        preview_step: int | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._base, self._image_size, self._steps = base, image_size, steps
        self._guidance, self._varies, self._guidance_rescale = guidance, varies, guidance_rescale
        self.scheduler = base_scheduler(base, scheduler)
        self._ends = list(itertools.accumulate(self.scheduler.evaluations(steps), initial=0))
        self._half, self._fixed = half, fixed
        self._keeps, self._preview_step, self._watch = keeps, preview_step, watch
        self._embeddings: dict[str, Tensor] = {}
        self._most: int | None = None
        self._waiting: dict[Attempt, Paused] = {}
        self._drawn: dict[Attempt, Tensor] = {}

    def __call__(self, attempts: Sequence[Attempt]) -> list[np.ndarray | None]:
        """One uint8 image (H, W, 3) an attempt; None where the arithmetic left the finite numbers.

        Attempts that were previewed continue from there. The image that one starts from is drawn again if it is no longer in memory.
        """
        return self._in_batches(attempts, lambda batch: self._images(self.latents(batch)))

    def preview(self, attempts: Sequence[Attempt]) -> list[np.ndarray | None]:
        """The predicted images, as above, after ``preview_step`` steps; a later call continues from there."""
        return self._in_batches(attempts, self._previewed)

    def _in_batches(self, attempts: Sequence[Attempt], draw: _Images) -> list[np.ndarray | None]:
        """Draw batches in which all are at the same step."""
        drawn: dict[Attempt, np.ndarray | None] = {}
        for alike in self._by_step(attempts):
            if self._fixed:
                images = [image for batch, n in fixed_batches(alike) for image in draw(batch)[:n]]
            else:
                images = self._in_parts(alike, draw)
            drawn.update(zip(alike, images, strict=True))
        return [drawn[attempt] for attempt in attempts]

    def _by_step(self, attempts: Sequence[Attempt]) -> Iterable[list[Attempt]]:
        groups: dict[tuple[bool, int | None], list[Attempt]] = {}
        for attempt in attempts:
            start = attempt.start if attempt.starts_from else None
            groups.setdefault((attempt in self._waiting, start), []).append(attempt)
        return groups.values()

    def _in_parts(self, attempts: Sequence[Attempt], draw: _Images) -> list[np.ndarray | None]:
        """Draw as many at once as memory holds; a size that failed is not tried again."""
        most = self._most or len(attempts)
        if len(attempts) > most:
            return [image for i in range(0, len(attempts), most) for image in self._in_parts(attempts[i : i + most], draw)]
        try:
            return draw(attempts)
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            if len(attempts) == 1:
                raise StageError("out of memory while drawing a single image; choose a smaller base or canvas") from error
        self._most = len(attempts) // 2
        print(f"out of memory while drawing {len(attempts)} images at once; continuing with {self._most}", flush=True)
        return self._in_parts(attempts, draw)

    def _previewed(self, attempts: Sequence[Attempt]) -> list[np.ndarray | None]:
        assert self._preview_step is not None
        way = self._advanced(attempts, self._preview_step)
        _keep(self._waiting, dict(zip(attempts, way.paused(), strict=True)))
        assert way.predicted is not None
        return self._images(way.predicted)

    def _images(self, latents: Tensor) -> list[np.ndarray | None]:
        images = self._base.decode(latents)
        finite = torch.isfinite(images).flatten(1).all(dim=1).tolist()
        pixels = to_uint8(crop_to(torch.nan_to_num(images).cpu(), self._image_size))
        return [image if ok else None for image, ok in zip(pixels, finite, strict=True)]

    def latents(self, attempts: Sequence[Attempt]) -> Tensor:
        """Denoised latents (N, C, h, w) of unit variance, of attempts that are all at the same step."""
        done = self._advanced(attempts, self._steps).latents
        if self._keeps:
            _keep(self._drawn, dict(zip(attempts, done, strict=True)))
        return done

    @torch.no_grad()
    def _advanced(self, attempts: Sequence[Attempt], stop: int) -> Trajectory:
        """Attempts that are all at the same step, taken to another."""
        if self._base.learns_text:
            self._embeddings.clear()
        way = self._start(attempts)
        unet, device = self._base.unet, self._base.unet.device
        text = torch.cat([self._embed(a.prompt) for a in attempts])
        guided = self._guidance > 1 or self._varies
        scale = self._scale(attempts, way.latents)
        if guided:
            text = torch.cat([self._embed("").expand(len(attempts), -1, -1), text])

        def predict(latents: Tensor, t: Tensor) -> Tensor:
            doubled = torch.cat([latents, latents]) if guided else latents
            with torch.autocast(device.type, torch.bfloat16, enabled=self._half):
                predicted = unet(doubled, t, encoder_hidden_states=text).sample.float()
            if not guided:
                return predicted
            free, conditioned = predicted.chunk(2)
            steered = free + scale * (conditioned - free)
            return rescale_noise_cfg(steered, conditioned, self._guidance_rescale) if self._guidance_rescale else steered

        def show(evaluations: int, predicted: Callable[[], Tensor]) -> None:
            assert self._watch
            self._watch(Denoising(attempts, evaluations, self._ends[-1], lambda: self._images(predicted())))

        way.advance(predict, self._ends[stop], show if self._watch else None)
        return way

    def _start(self, attempts: Sequence[Attempt]) -> Trajectory:
        """The state that attempts start from: their preview, a rejected image, or noise."""
        if attempts[0] in self._waiting:
            assert self._preview_step is not None
            paused = {a: self._waiting.pop(a) for a in set(attempts)}
            return Trajectory.resumed([paused[a] for a in attempts], self._ends[self._preview_step])
        device = self._base.unet.device
        scheduler = new_scheduler(self._base, self.scheduler)
        scheduler.set_timesteps(self._steps, device=device)
        assert len(scheduler.timesteps) == self._ends[-1], "the planned calls are those that the scheduler makes"
        noise = torch.stack([self._noise(a.seed) for a in attempts]).to(device)
        rejected = [a.starts_from for a in attempts if a.starts_from]
        if not rejected:
            return Trajectory.from_noise(scheduler, noise)
        return Trajectory.from_image(scheduler, self._clean(rejected), noise, self._ends[attempts[0].start])

    def _clean(self, attempts: Sequence[Attempt]) -> Tensor:
        """Latents (N, C, h, w) of attempts that were rejected."""
        lost = [a for a in dict.fromkeys(attempts) if a not in self._drawn]
        ready = {a: self._drawn[a] for a in attempts if a not in lost}
        for alike in self._by_step(lost):
            batches = fixed_batches(alike) if self._fixed else [(alike, len(alike))]
            for batch, n in batches:
                ready.update(zip(batch[:n], self.latents(batch), strict=False))
        return torch.stack([ready[a] for a in attempts])

    def _scale(self, attempts: Sequence[Attempt], like: Tensor) -> Tensor | float:
        """The guidance scale: one for all, or float (N, 1, 1, 1)."""
        if not self._varies:
            return self._guidance
        scales = [self._guidance if a.guidance is None else a.guidance for a in attempts]
        return torch.tensor(scales).to(like).view(-1, 1, 1, 1)

    def _noise(self, seed: int) -> Tensor:
        return torch.randn(self._base.latent_shape, generator=torch.Generator().manual_seed(seed))

    def _embed(self, prompt: str) -> Tensor:
        """(1, T, D), computed once a prompt while the text encoder does not change."""
        if prompt not in self._embeddings:
            self._embeddings[prompt] = self._base.embed([prompt])
        return self._embeddings[prompt]


def base_scheduler(base: Base, name: str | None) -> Scheduler:
    """The scheduler to sample a loaded base with; ``name`` as ``sampling.scheduler``."""
    return scheduler_of(name, type(base.scheduler).__name__, base.scheduler.config)


def new_scheduler(base: Base, scheduler: Scheduler) -> Any:
    """A diffusers scheduler on the base's noise schedule, at its beginning."""
    kind = type(base.scheduler) if scheduler.from_base else getattr(diffusers, scheduler.name)
    return kind.from_config(base.scheduler.config, **scheduler.changes)


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether an error is that of a GPU's memory or of the CPU's allocator."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _keep(cache: dict[Attempt, _Item], more: Mapping[Attempt, _Item]) -> None:
    """Add to the cache, and drop its oldest items beyond the bound."""
    for attempt, item in more.items():
        cache.pop(attempt, None)
        cache[attempt] = item
    for attempt in list(cache)[: max(0, len(cache) - max(_KEPT, len(more)))]:
        del cache[attempt]


@functools.cache
def _print_once(line: str) -> None:
    """Print a line the first time."""
    print(line, flush=True)


def drawer(base: Base, image_size: int, sampling: SamplingConfig, watch: Watch | None = None) -> CandidateDrawer:
    """A drawer by the settings of sampling; it prints once if its timesteps differ from those of the base.

    ``watch``: as of :class:`CandidateDrawer`.
    """
    if line := format_changes(base_scheduler(base, sampling.scheduler)):
        _print_once(line)
    return CandidateDrawer(
        base,
        image_size,
        sampling.steps,
        sampling.guidance,
        half=sampling.half,
        fixed=sampling.deterministic,
        varies=sampling.varies_guidance,
        guidance_rescale=sampling.guidance_rescale,
        scheduler=sampling.scheduler,
        keeps=bool(sampling.image_to_image or sampling.retry),
        preview_step=sampling.early_rejection.after_step,
        watch=watch,
    )
