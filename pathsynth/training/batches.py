"""The fine-tune's batches: pure functions of (seed, step) over the latent cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pathsynth.config import ObjectiveConfig
from pathsynth.ledger.seeds import derive_seed
from pathsynth.training.latent_cache import LatentCache
from pathsynth.training.steps import step_generator


class LatentBatch(NamedTuple):
    """What one training step learns from.

    ``latents`` and ``noise`` float (N, C, h, w); ``captions`` int64 (N,), rows of the cache's prompts, or float (N, T, D), their
    embeddings; ``timesteps`` int64 (N,).
    """

    latents: Tensor
    noise: Tensor
    captions: Tensor
    timesteps: Tensor


@dataclass(frozen=True)
class BatchPlan:
    """Batches as pure functions of (seed, step): sample order, orientation, caption, noise and timestep of every image."""

    cache: LatentCache
    objective: ObjectiveConfig
    batch_size: int
    seed: int
    timesteps: int

    def train(self, step: int) -> LatentBatch:
        """The batch of one (micro-)step; each epoch is a permutation of the training images."""
        cache, generator = self.cache, step_generator(self.seed, "finetune", step)
        rows = self._rows(step)
        turn = torch.randint(cache.latents.shape[1], (self.batch_size,), generator=generator)
        orientation = turn if self.objective.augment else torch.zeros_like(turn)
        captions = self._captions(rows, generator)
        latents = cache.train_latents(rows, orientation).float()
        return LatentBatch(latents, self._noise(latents.shape, generator), captions, self._times(generator))

    def val(self, step: int) -> LatentBatch:
        """Held-out images with the same noise and timesteps at every validation, captioned canonically."""
        cache, generator = self.cache, step_generator(0, "held-out", step)
        rows = torch.arange(step * self.batch_size, (step + 1) * self.batch_size) % len(cache.val_labels)
        captions = torch.tensor([c[0] for c in cache.captions])[cache.val_labels[rows]]
        latents = cache.val_latents[rows].float()
        return LatentBatch(latents, torch.randn(latents.shape, generator=generator), captions, self._times(generator))

    def _rows(self, step: int) -> Tensor:
        n = len(self.cache.labels)
        flat = torch.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = {int(e): self._permutation(int(e), n) for e in (flat // n).unique()}
        return torch.stack([epochs[int(f) // n][int(f) % n] for f in flat])

    def _permutation(self, epoch: int, n: int) -> Tensor:
        return torch.randperm(n, generator=torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch)))

    def _captions(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """A caption for each image, its own where it has one; a share is the empty prompt, which guidance guides away from."""
        draw = torch.rand(self.batch_size, generator=generator)
        dropped = torch.rand(self.batch_size, generator=generator) < self.objective.caption_dropout
        picked = self.cache.caption_table.rows[rows] if self.cache.caption_table else self._of_class(self.cache.labels[rows], draw)
        return torch.where(dropped, torch.zeros(self.batch_size, dtype=torch.int64), picked)

    def _of_class(self, labels: Tensor, draw: Tensor) -> Tensor:
        """A prompt of each image's class, int64 (N,); ``draw``, in [0, 1), chooses among paraphrases."""
        choices = [self.cache.captions[int(label)] for label in labels]
        if not self.objective.paraphrases:
            return torch.tensor([rows[0] for rows in choices])
        return torch.tensor([rows[int(d * len(rows))] for rows, d in zip(choices, draw, strict=True)])

    def _noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        noise = torch.randn(shape, generator=generator)
        shift = torch.randn((*shape[:2], 1, 1), generator=generator)
        return noise + self.objective.noise_offset * shift

    def _times(self, generator: torch.Generator) -> Tensor:
        return torch.randint(self.timesteps, (self.batch_size,), generator=generator)
