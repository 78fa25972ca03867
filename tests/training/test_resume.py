from __future__ import annotations

from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch

from pathsynth.ledger import interruption
from pathsynth.ledger.interruption import Interrupted
from pathsynth.training.resume import ResumePoints


def test_a_request_whose_answer_was_lost_is_found_at_the_next_step_and_the_point_is_kept(tmp_path, monkeypatch):
    module = pl.LightningModule()
    module.weight = torch.nn.Parameter(torch.ones(1))
    saved = []
    trainer = SimpleNamespace(global_step=0, world_size=1, is_global_zero=True, save_checkpoint=saved.append)
    points = ResumePoints(tmp_path, every=100)
    points.on_train_batch_start(trainer, module, None, 0)
    points.on_train_batch_end()
    assert saved == []
    monkeypatch.setattr(interruption, "_request", interruption._Request())
    points._saved = 7
    trainer.global_step = 7
    points.on_train_batch_start(trainer, module, None, 1)
    interruption.note()  # the signal came within the step, or Python dropped what its handler raised
    trainer.global_step = 8
    interruption.check()  # by what shows progress, at the end of the step
    points.on_train_batch_end()
    interruption.check()
    with pytest.raises(Interrupted):
        points.on_train_batch_start(trainer, module, None, 2)
    assert saved == [tmp_path / "step-00000008.ckpt"]
    with pytest.raises(Interrupted):
        points.on_validation_start(trainer, module)
