"""Drawing candidates: batches of attempts through the base and its adapter, each from its own seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from pathsynth.config import SamplingConfig
from pathsynth.data.tensors import crop_to, to_uint8
from pathsynth.ledger.errors import StageError
from pathsynth.models.base import Base
from pathsynth.sampling.slots import Attempt

FIXED = 16
"""Candidates in a batch of fixed shape; the last bits of an image depend on the shape of its batch."""

_Item = TypeVar("_Item")


def fixed_batches(items: Sequence[_Item]) -> Iterator[tuple[list[_Item], int]]:
    """``items`` in lists of exactly :data:`FIXED`, the last one filled up by repeats, each with how many of it count."""
    for start in range(0, len(items), FIXED):
        batch = list(items[start : start + FIXED])
        yield batch + batch[-1:] * (FIXED - len(batch)), len(batch)


class CandidateDrawer:
    """Turns attempts into images with classifier-free guidance and the base's own scheduler.

    Args:
        base: the base, an adapter loaded or attached.
        image_size: pixels of the data set; what the base draws is cropped to it.
        steps: denoising steps.
        guidance: guidance scale (1: none; the UNet then runs once a step instead of twice).
        guidance_step: added to the scale for each attempt at the slot before.
        half: the UNet computes in bfloat16 where that is safe; the scheduler and the decoder stay in float32.
        fixed: batches are cut and padded to :data:`FIXED` candidates, so that an image has the same bits in any company.
    """

    def __init__(
        self,
        base: Base,
        image_size: int,
        steps: int,
        guidance: float,
        half: bool = False,
        fixed: bool = False,
        guidance_step: float = 0.0,
    ) -> None:
        self._base, self._image_size, self._steps = base, image_size, steps
        self._guidance, self._guidance_step = guidance, guidance_step
        self._half, self._fixed = half, fixed
        self._embeddings: dict[str, Tensor] = {}
        self._most: int | None = None

    def __call__(self, attempts: Sequence[Attempt]) -> list[np.ndarray | None]:
        """One uint8 image (H, W, 3) an attempt; None where the arithmetic left the finite numbers."""
        if self._fixed:
            return [image for batch, n in fixed_batches(attempts) for image in self._drawn(batch)[:n]]
        return self._in_parts(attempts)

    def _in_parts(self, attempts: Sequence[Attempt]) -> list[np.ndarray | None]:
        """Draw as many at once as memory holds: what was too much once is not tried again."""
        most = self._most or len(attempts)
        if len(attempts) > most:
            return [image for i in range(0, len(attempts), most) for image in self._in_parts(attempts[i : i + most])]
        try:
            return self._drawn(attempts)
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            if len(attempts) == 1:
                raise StageError("out of memory while drawing a single image; choose a smaller base or canvas") from error
        self._most = len(attempts) // 2
        print(f"out of memory while drawing {len(attempts)} images at once; going on with {self._most}", flush=True)
        return self._in_parts(attempts)

    def _drawn(self, attempts: Sequence[Attempt]) -> list[np.ndarray | None]:
        images = self._base.decode(self.latents(attempts))
        finite = torch.isfinite(images).flatten(1).all(dim=1).tolist()
        pixels = to_uint8(crop_to(torch.nan_to_num(images).cpu(), self._image_size))
        return [image if ok else None for image, ok in zip(pixels, finite, strict=True)]

    @torch.no_grad()
    def latents(self, attempts: Sequence[Attempt]) -> Tensor:
        """Denoised latents (N, C, h, w) of unit variance."""
        if self._base.learns_text:
            self._embeddings.clear()
        unet, device = self._base.unet, self._base.unet.device
        scheduler = type(self._base.scheduler).from_config(self._base.scheduler.config)
        scheduler.set_timesteps(self._steps, device=device)
        x = torch.stack([self._noise(a.seed) for a in attempts]).to(device) * scheduler.init_noise_sigma
        text = torch.cat([self._embed(a.slot.prompt) for a in attempts])
        guided = self._guidance > 1 or self._guidance_step > 0
        scale = self._scale(attempts, x)
        if guided:
            text = torch.cat([self._embed("").expand(len(attempts), -1, -1), text])
        for t in scheduler.timesteps:
            doubled = torch.cat([x, x]) if guided else x
            with torch.autocast(device.type, torch.bfloat16, enabled=self._half):
                predicted = unet(scheduler.scale_model_input(doubled, t), t, encoder_hidden_states=text).sample.float()
            if guided:
                free, conditioned = predicted.chunk(2)
                predicted = free + scale * (conditioned - free)
            x = scheduler.step(predicted, t, x, return_dict=False)[0]
        return x

    def _scale(self, attempts: Sequence[Attempt], like: Tensor) -> Tensor | float:
        """The guidance scale: one for all, or float (N, 1, 1, 1)."""
        if not self._guidance_step:
            return self._guidance
        return torch.tensor([self._guidance + a.number * self._guidance_step for a in attempts]).to(like).view(-1, 1, 1, 1)

    def _noise(self, seed: int) -> Tensor:
        return torch.randn(self._base.latent_shape, generator=torch.Generator().manual_seed(seed))

    def _embed(self, prompt: str) -> Tensor:
        """(1, T, D), computed once a prompt while the text encoder does not change."""
        if prompt not in self._embeddings:
            self._embeddings[prompt] = self._base.embed([prompt])
        return self._embeddings[prompt]


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether an error is that of a GPU's memory or of the CPU's allocator."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def drawer(base: Base, image_size: int, sampling: SamplingConfig) -> CandidateDrawer:
    """What draws as the settings of sampling say."""
    guidance, step = sampling.guidance, sampling.guidance_step
    return CandidateDrawer(base, image_size, sampling.steps, guidance, sampling.half, sampling.deterministic, step)
