"""Validation and generation go through one sampler: the same slots and settings give the same accepted seeds."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping

from pathsynth.config import SamplingConfig
from pathsynth.sampling.acceptance_rules import Verdict
from pathsynth.sampling.attempts import read_attempts
from pathsynth.sampling.generation import generate_set
from pathsynth.sampling.scheduler import scheduler_of
from pathsynth.sampling.slots import Attempt, Stream, slots_of
from pathsynth.tracking.metric_names import VALIDATION, monitored_names
from pathsynth.training.regeneration import RegenerationCallback, ValidationParts
from pathsynth.vocabulary.prompts import colorectal_prompts

BOOK = colorectal_prompts()
OWN = scheduler_of(None, "DDIMScheduler", {})


class Idle(pl.LightningModule):
    """Trains one number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, index):
        return self.weight.sum()

    def validation_step(self, batch, index):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SeedGate:
    """Accepts two seeds in five, and remembers which."""

    def __init__(self) -> None:
        self.accepted: list[tuple[int, int, int, int]] = []

    def __call__(self, attempts: Sequence[Attempt], images: list[np.ndarray | None]) -> list[Verdict]:
        return [self._verdict(a) for a in attempts]

    def _verdict(self, attempt: Attempt) -> Verdict:
        good = attempt.seed % 5 < 2
        if good:
            self.accepted.append((attempt.slot.label, attempt.slot.index, attempt.number, attempt.seed))
        label = attempt.slot.label if good else (attempt.slot.label + 1) % 9
        return Verdict(good, label, 0.6, (0.6,), None if good else "another class is more probable", False)


def noise(attempts: Sequence[Attempt]) -> list[np.ndarray | None]:
    return [np.random.default_rng(a.seed).integers(1, 256, (32, 32, 3), dtype=np.uint8) for a in attempts]


@pytest.mark.parametrize("batch_size", [4, 64])
def test_callback_and_generate_accept_the_same_seeds(tmp_path, batch_size):
    sampling = SamplingConfig(steps=2, guidance=2.0, batch_size=batch_size, seed=5, attempts=4, threshold=0.0)
    slots = slots_of(Stream.VAL, {c.index: BOOK.canonical(c.index) for c in BOOK.space.classes}, 5)
    in_validation, in_generation = SeedGate(), SeedGate()
    place = tmp_path / "validation"
    parts = ValidationParts(lambda n: slots, noise, in_validation, sampling, OWN, BOOK.space, place, lambda step: None)
    callback = RegenerationCallback(parts, every=0, n=5)
    alone = {"global_rank": 0, "world_size": 1, "is_global_zero": True, "sanity_checking": False}
    trainer = SimpleNamespace(global_step=1, loggers=[], callback_metrics={}, progress_bar_metrics={}, **alone)
    callback.on_validation_epoch_end(trainer, None)
    (tmp_path / "set").mkdir()
    places = (tmp_path / "set", tmp_path / "work")
    generate_set(*places, slots, noise, in_generation, sampling, OWN, BOOK.space, keep_rejected=False, on_attempt=lambda _: None)
    rows = [r for r in read_attempts(tmp_path / "set") if r.accepted]
    assert len(rows) > 30
    assert sorted(in_validation.accepted) == sorted((r.label, r.slot, r.attempt, r.seed) for r in rows)
    assert sorted(in_validation.accepted) == sorted(in_generation.accepted)


def test_a_callback_may_monitor_what_the_validation_shows_under_the_same_name(tmp_path):
    sampling = SamplingConfig(steps=2, guidance=2.0, batch_size=64, seed=5, attempts=1, threshold=0.0)
    slots = slots_of(Stream.VAL, {c.index: BOOK.canonical(c.index) for c in BOOK.space.classes}, 2)
    parts = ValidationParts(lambda n: slots, noise, SeedGate(), sampling, OWN, BOOK.space, tmp_path, lambda step: None)
    regeneration = RegenerationCallback(parts, every=0, n=2)
    stop = EarlyStopping("validation/macro_f1", mode="max", patience=2)
    quiet = {"enable_progress_bar": False, "enable_checkpointing": False, "enable_model_summary": False, "logger": False}
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=40,
        val_check_interval=4,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=[stop, regeneration],
        default_root_dir=str(tmp_path),
        **quiet,
    )
    trainer.fit(Idle(), [0] * 8, [0])
    assert trainer.global_step == 12  # the same slots give the same score: the first, and two without a better one
    assert stop.best_score.item() == pytest.approx(regeneration.best)
    scores = [name for name in monitored_names(BOOK.space.slugs, validates=True) if name.startswith(VALIDATION)]
    assert sorted(scores) == sorted(name for name in trainer.callback_metrics if name.startswith(VALIDATION))
