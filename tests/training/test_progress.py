from __future__ import annotations

import time

import pytest
import pytorch_lightning as pl
import torch

from pathsynth.training.progress import Pace, sampling_progress, training_progress


def test_a_pace_is_told_every_two_seconds_at_most_and_measures_from_the_second_telling():
    told, at = [], [100.0]
    pace = Pace(lambda *words: told.append(words), clock=lambda: at[0])
    for seconds, done in [(0, 0), (1.9, 50), (2, 60), (3, 62), (4, 64), (7, 66), (8, 72)]:
        at[0] = 100.0 + seconds
        pace.note(done, 90)
    assert told == [(0, 90, None), (60, 90, None), (64, 90, 2.0), (66, 90, pytest.approx(1.2))]


class Line(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_index):
        return self.layer(batch[0]).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_training_tells_its_steps(monkeypatch):
    told, at = [], [0.0]

    def second() -> float:
        at[0] += 1.0
        return at[0]

    monkeypatch.setattr(time, "monotonic", second)
    monkeypatch.setattr(Pace.__init__, "__defaults__", (second,))
    trainer = pl.Trainer(
        max_steps=5,
        accelerator="cpu",
        callbacks=training_progress("finetune", lambda *words: told.append(words)),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Line(), torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(5, 1))))
    assert [words[:2] for words in told][:2] == [(1, 5), (2, 5)]
    assert told[2][2] > 0


def test_a_generation_tells_settled_slots():
    told = []
    with sampling_progress("generate", 2, lambda *words: told.append(words)) as shown:
        shown.count(settled=True)
        shown.count(settled=False)
    assert told == [(1, 2, None)]
