"""The regeneration callback in somebody else's LightningModule."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.loggers import CSVLogger

from pathsynth.ledger.errors import RequestError
from pathsynth.sampling.sampler import RejectionSampler
from pathsynth.training.regeneration import RegenerationCallback

PROMPTS = {"dark": "dark", "bright": "bright"}


class Grey(pl.LightningModule):
    """Draws grey squares, and learns which mean each prompt asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.means = torch.nn.Parameter(torch.full((2,), 0.5))
        self.modes: list[tuple[bool, bool]] = []

    def training_step(self, batch, index):
        return (self.means - torch.tensor([0.1, 0.9])).square().sum() + 0 * torch.rand(())

    def validation_step(self, batch, index):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def draw(self, prompts, seeds):
        self.modes.append((self.training, torch.is_grad_enabled()))
        noise = [torch.randn((), generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        levels = [self.means[int(prompt == "bright")] + 0.2 * z for prompt, z in zip(prompts, noise, strict=True)]
        return [np.full((8, 8, 3), int(255 * level.clamp(0.01, 1)), np.uint8) for level in levels]


def classify(images):
    bright = images.mean(axis=(1, 2, 3)) / 255
    return np.stack([1 - bright, bright], axis=1)


def trained(folder, callbacks, **settings) -> tuple[Grey, pl.Trainer]:
    module = Grey()
    quiet = {"enable_progress_bar": False, "enable_checkpointing": False, "enable_model_summary": False}
    logger = CSVLogger(str(folder), name="", version="log")
    made = [make(module) for make in callbacks]
    trainer = pl.Trainer(accelerator="cpu", logger=logger, callbacks=made, log_every_n_steps=1, **quiet, **settings)
    trainer.fit(module, [0] * 4, [0])
    return module, trainer


def regeneration(folder, **more):
    return lambda module: RegenerationCallback.from_sampler(
        RejectionSampler(module.draw, classify, ["dark", "bright"], attempts=3), PROMPTS, n=30, folder=folder, **more
    )


def test_any_module_is_validated_by_what_it_draws(tmp_path):
    best: list[int] = []
    module, trainer = trained(tmp_path, [regeneration(tmp_path / "kept", keep_best=best.append)], max_epochs=3)
    [callback] = [c for c in trainer.callbacks if isinstance(c, RegenerationCallback)]
    assert [row["step"] for row in callback.history] == [4, 8, 12], "the sanity check is no validation"
    scores = [row["val_macro_f1"] for row in callback.history]
    assert scores == sorted(scores) and scores[0] < scores[-1] == callback.best and best[-1] == 12
    assert all(row["val_slots_accepted"] + row["val_slots_exhausted"] == 60 for row in callback.history)
    assert set(module.modes) == {(False, False)}
    with (tmp_path / "log" / "metrics.csv").open(encoding="utf-8") as file:
        logged = [float(row["validation/macro_f1"]) for row in csv.DictReader(file) if row.get("validation/macro_f1")]
    assert logged == pytest.approx(scores)
    with (tmp_path / "kept" / "history.csv").open(encoding="utf-8") as file:
        assert [float(row["val_macro_f1"]) for row in csv.DictReader(file)] == pytest.approx(scores)
    assert trainer.callback_metrics["validation/macro_f1"].item() == pytest.approx(scores[-1])


def test_training_goes_as_without_it(tmp_path):
    states = []
    for callbacks in ([], [regeneration(tmp_path / "kept")]):
        torch.manual_seed(3)
        module, _ = trained(tmp_path / str(len(callbacks)), callbacks, max_epochs=2)
        states.append((module.means.tolist(), torch.rand(3).tolist()))
    assert states[0] == states[1]


def test_validations_that_come_too_soon_are_passed_over(tmp_path):
    _, trainer = trained(tmp_path, [regeneration(tmp_path / "kept", every_n_train_steps=6)], max_epochs=4)
    [callback] = [c for c in trainer.callbacks if isinstance(c, RegenerationCallback)]
    assert [row["step"] for row in callback.history] == [4, 12]


def test_other_callbacks_may_monitor_its_scores(tmp_path):
    def stop(module):
        return EarlyStopping("validation/accuracy", mode="max", stopping_threshold=0.95, patience=100)

    _, trainer = trained(tmp_path, [stop, regeneration(tmp_path / "kept")], max_epochs=20)
    assert trainer.current_epoch < 19


@pytest.mark.parametrize(
    "wrong, refusal",
    [
        ({"prompts": {"dark": "dark"}}, "the class bright has no prompt"),
        ({"n": 0}, "n is 0"),
        ({"every_n_train_steps": -1}, "every_n_train_steps is -1"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path, wrong, refusal):
    sampler = RejectionSampler(Grey().draw, classify, ["dark", "bright"])
    with pytest.raises(RequestError, match=refusal):
        RegenerationCallback.from_sampler(**{"sampler": sampler, "prompts": PROMPTS, "n": 2, "folder": tmp_path / "kept", **wrong})
    assert not (tmp_path / "kept").exists()
