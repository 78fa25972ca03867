"""Learning-rate factors."""

from __future__ import annotations

import pytest
import torch

from pathsynth.training.steps import warmup_restarts


@pytest.mark.parametrize("warmup", [0, 5])
def test_restarts_are_those_of_torch_after_the_warm_up(warmup):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10, T_mult=2)
    for step in range(80):
        assert warmup_restarts(step + warmup, warmup, 10) == pytest.approx(schedule.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        schedule.step()


def test_the_warm_up_rises_to_one():
    assert [warmup_restarts(step, 4, 10) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
