"""The scheduler that images are sampled with: whose it is, what its steps cost, and what cannot be done with it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pathsynth.config import SamplingConfig
from pathsynth.ledger.errors import RequestError

SPACING = "timestep_spacing"
_TRAILING = "trailing"
_DEFAULTED = "_use_default_values"
"""Where diffusers notes which settings a configuration leaves to the class; another class gives them other values."""

DETERMINISTIC = (
    "DDIMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
"""Schedulers that draw no noise of their own on the way: an image then depends on its seed alone."""

_FROM_THE_START = ("LMSDiscreteScheduler", "PNDMScheduler")
"""Schedulers whose first step is a special one wherever they are started, or whose coefficients count on the steps before."""
_SECOND_ORDER = ("HeunDiscreteScheduler", "KDPM2DiscreteScheduler")
_RUNGE_KUTTA = 3
"""Steps that PNDM takes by Runge and Kutta's method, of four evaluations each, unless its configuration skips them."""


@dataclass(frozen=True)
class Scheduler:
    """A diffusers class by its ``name``, and ``config``, the settings that the base's own scheduler states.

    ``changes`` are settings that the class gets in place of those; none where it is the base's own (``from_base``).
    """

    name: str
    config: Mapping[str, Any]
    changes: Mapping[str, Any]
    from_base: bool

    @property
    def spacing(self) -> str | None:
        """How timesteps are spread (Lin et al., arXiv 2305.08891, table 2); None: as the class does where nothing is stated."""
        return self.changes.get(SPACING) or self.config.get(SPACING)

    @property
    def starts_at_noise(self) -> bool:
        """Whether it cannot start in the middle of the steps, from an image."""
        return self.name in _FROM_THE_START

    def evaluations(self, steps: int) -> tuple[int, ...]:
        """How often each step asks for the denoiser's prediction.

        PNDM takes its first step twice (Liu et al., arXiv 2202.09778, as diffusers implements it), or its first three by Runge and
        Kutta's method; schedulers of second order ask twice a step, except for the last.
        """
        if self.name == "PNDMScheduler" and not self.config.get("skip_prk_steps"):
            return (4,) * _RUNGE_KUTTA + (1,) * (steps - _RUNGE_KUTTA)
        if self.name == "PNDMScheduler" and steps > 1:
            return (2,) + (1,) * (steps - 1)
        if self.name in _SECOND_ORDER:
            return (2,) * (steps - 1) + (1,)
        return (1,) * steps

    def check(self, sampling: SamplingConfig) -> None:
        """Refuse what cannot be right.

        Raises:
            RequestError: an image would depend on more than its seed; the scheduler needs more steps; or it cannot start in the middle.
        """
        whose = f"the base's own scheduler, {self.name}," if self.from_base else f"sampling.scheduler={self.name}"
        if self.name and self.name not in DETERMINISTIC:
            raise RequestError(f"{whose} is none of those whose images depend on their seed alone; set sampling.scheduler=DDIMScheduler")
        if self.name.startswith("DPMSolver") and str(self.config.get("algorithm_type", "")).startswith("sde-"):
            reason = f"draws noise of its own on the way (the base's algorithm_type is {self.config['algorithm_type']})"
            raise RequestError(f"{whose} {reason}; set sampling.scheduler=UniPCMultistepScheduler")
        if self.name == "PNDMScheduler" and not self.config.get("skip_prk_steps") and sampling.steps <= _RUNGE_KUTTA:
            least = _RUNGE_KUTTA + 1
            raise RequestError(f"{whose} needs {least} steps, not sampling.steps={sampling.steps}; raise it, or name a sampling.scheduler")
        if sampling.image_to_image and self.starts_at_noise:
            raise RequestError(
                f"sampling.image_to_image={sampling.image_to_image} starts in the middle of the steps, and {whose} needs the steps before; "
                "set sampling.scheduler=DDIMScheduler, or sampling.image_to_image=0"
            )


def scheduler_of(name: str | None, shipped: str, config: Mapping[str, Any]) -> Scheduler:
    """The scheduler that ``sampling.scheduler`` names; None: the base's own, ``shipped``.

    One that takes the place of the base's own samples at trailing timesteps, so that it starts from the last training timestep, the only
    one at which latents were nearly pure noise (Lin et al., arXiv 2305.08891, section 3.3). DDIM does not clip latents, which lie
    beyond ±1, unless the base says so.

    Args:
        name: a diffusers class, or None.
        shipped: the class of the base's own scheduler; "" where it is not known.
        config: its configuration, as in ``scheduler_config.json`` or as the loaded one has it.
    """
    stated = {key: value for key, value in config.items() if key not in config.get(_DEFAULTED, ())}
    if name is None:
        return Scheduler(shipped, config, {}, from_base=True)
    wanted: dict[str, Any] = {SPACING: _TRAILING}
    if name == "DDIMScheduler":
        wanted["clip_sample"] = stated.get("clip_sample", False)
    return Scheduler(name, stated, {key: value for key, value in wanted.items() if stated.get(key) != value}, from_base=False)


def format_changes(scheduler: Scheduler) -> str | None:
    """A line that says at which other timesteps than the base states it is sampled; None where there are none."""
    if SPACING not in scheduler.changes:
        return None
    stated = scheduler.config.get(SPACING, "not stated")
    return (
        f"sampling: {scheduler.name} at {scheduler.spacing} timesteps, from the last training timestep on "
        f"(the spacing of the base's own scheduler: {stated})"
    )
