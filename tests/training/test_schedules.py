"""Learning-rate schedules: the shipped ones, and any other that a configuration names."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from pathsynth.ledger.errors import RequestError
from pathsynth.training.schedules import build_schedule, step_schedule

COSINE = {"_target_": "pathsynth.training.schedules.cosine", "steps": 8, "warmup_steps": 2}
TIMM = {"_target_": "timm.scheduler.CosineLRScheduler", "t_initial": 6, "lr_min": 1e-3}


def rates(settings, steps: int = 6, slowed: float = 1.0) -> list[float]:
    """The rate of each step, as a fine-tune takes them; the optimizer's own is 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=1.0)
    schedule = build_schedule(settings, optimizer, slowed)
    seen = []
    for step in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if not step_schedule(schedule, step + 1):
            schedule.step()
    return seen


def test_the_shipped_ones_warm_up_and_follow_their_curve():
    assert rates(COSINE, 9) == pytest.approx([0.5, 1.0, *(0.5 * (1 + math.cos(math.pi * step / 6)) for step in range(7))])
    assert rates({**COSINE, "restart_steps": 2}, 8) == pytest.approx([0.5, 1, 1, 0.5, 1, 0.853553, 0.5, 0.146447], rel=1e-4)
    assert rates({"_target_": "pathsynth.training.schedules.constant", "warmup_steps": 2}, 4) == [0.5, 1, 1, 1]


def test_a_class_of_torch_is_asked_after_each_step():
    step = {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 2, "gamma": 0.5}
    assert rates(step) == [1, 1, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("in_epochs", [True, False])
def test_a_class_of_timm_counts_steps_whatever_it_calls_them(in_epochs):
    seen = rates({**TIMM, "t_in_epochs": in_epochs})
    assert seen == rates(TIMM)
    assert seen[0] == 1 and all(after < before for before, after in pairwise(seen))


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"_target_": "torch.optim.lr_scheduler.StepLR", "step_sise": 2}, "step_sise"),
        ({"_target_": "torch.optim.lr_scheduler.Gone"}, "Gone"),
        ({"_target_": "builtins.dict"}, "makes a dict, which is no Schedule"),
    ],
)
def test_a_wrong_one_is_reported_in_one_line(settings, told):
    with pytest.raises(RequestError, match=told) as caught:
        rates(settings)
    assert "\n" not in str(caught.value) and "schedule" in str(caught.value)


def test_after_a_divergence_every_rate_is_lower():
    assert rates(COSINE, 5)[2:] == [2 * rate for rate in rates(COSINE, 5, slowed=0.5)[2:]]
    with pytest.raises(RequestError, match=r"set training\.retries=0"):
        rates(TIMM, slowed=0.5)
