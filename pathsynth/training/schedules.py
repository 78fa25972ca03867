"""Learning-rate schedules: one of these two, any class of ``torch.optim.lr_scheduler`` or ``timm.scheduler``, or one of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from timm.scheduler.scheduler import Scheduler as TimmScheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pathsynth.config.objects import build_object
from pathsynth.ledger.errors import RequestError
from pathsynth.training.steps import warmup_constant, warmup_cosine, warmup_restarts


@runtime_checkable
class Schedule(Protocol):
    """What sets the learning rates of an optimizer's groups, after each of its steps. Its state is part of a checkpoint."""

    def step(self, *args: Any, **kwargs: Any) -> Any:
        """Called after each step of the optimizer."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave."""
        ...


def cosine(optimizer: Optimizer, steps: int, warmup_steps: int = 0, restart_steps: int | None = None) -> LambdaLR:
    """A linear warm-up, then half a cosine down to 0 at ``steps``, or cosines of ``restart_steps``, twice as many, … steps."""
    if restart_steps:
        return LambdaLR(optimizer, lambda step: warmup_restarts(step, warmup_steps, restart_steps))
    return LambdaLR(optimizer, lambda step: warmup_cosine(step, warmup_steps, steps, floor=0.0))


def constant(optimizer: Optimizer, warmup_steps: int = 0) -> LambdaLR:
    """A linear warm-up, then the optimizer's own rates."""
    return LambdaLR(optimizer, lambda step: warmup_constant(step, warmup_steps))


def build_schedule(settings: Mapping[str, Any], optimizer: Optimizer, slowed: float = 1.0) -> Schedule:
    """The schedule that ``settings`` name.

    Args:
        settings: ``_target_`` and the class's arguments but its optimizer.
        optimizer: whose rates it sets.
        slowed: factor of every rate, after a training that diverged.

    Raises:
        RequestError: there is no such class, it refuses its arguments, or its rates cannot be slowed.
    """
    schedule = build_object("schedule", settings, Schedule, optimizer=optimizer)
    if slowed != 1.0:
        if not isinstance(schedule, LambdaLR):
            raise RequestError(f"schedule._target_={settings['_target_']} has rates of its own; set training.retries=0")
        schedule.lr_lambdas = [_times(slowed, factor) for factor in schedule.lr_lambdas]
    return schedule


def step_schedule(schedule: Any, step: int) -> bool:
    """Take a schedule that needs the ``step`` to that step; whether it was one. timm's count steps or epochs: here both are steps."""
    if not isinstance(schedule, TimmScheduler):
        return False
    schedule.step(step)
    schedule.step_update(step)
    return True


def _times(factor: float, rate: Callable[[int], float]) -> Callable[[int], float]:
    return lambda step: factor * rate(step)
