"""What decides which images are drawn: shared by the fine-tune's validations, early rejection and generation. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pathsynth.config import SamplingConfig
from pathsynth.config.groups import require_group
from pathsynth.sampling.scheduler import scheduler_of
from pathsynth.stages.fingerprints import decoded_in_tiles, scheduler_config
from pathsynth.stages.stage import PlanContext

USUAL_CLASSES = 9
"""Of an evaluation or a validation, whose settings count images a class and do not say how many classes there are."""

_USUAL_SAMPLING: Mapping[str, Any] = {
    "precision": "32-true",
    "deterministic": False,
    "margin": 0.0,
    "precision_target": None,
    "guidance_step": 0.0,
    "guidance_rescale": 0.0,
    "scheduler": None,
    "speculate": False,
    "calls": None,
    "seconds": None,
    "reject_copies": False,
    "revise": 0.0,
    "look_after": None,
    "rules": {},
    "retry": {},
}
"""As :attr:`~pathsynth.stages.stage.Stage.neutral`, of what ``generate`` and ``finetune`` both hold."""

_OF_THRESHOLD = ("look_loss", "look_n")
"""Of how early rejection's threshold is fitted; without one no result depends on them."""

OF_SLOTS = ("attempts", "batch_size", "calls", "seconds", "speculate", "guidance_step", "revise", "retry")
"""Of how slots are filled after their first attempts; early rejection's threshold is fitted on first attempts alone."""

_OF_ACCEPTANCE = ("threshold", "precision_target", "margin", "reject_copies", "rules")
"""Of what is accepted. A validation chooses the adapter's step by what the gate takes first attempts for, accepted or not."""

OF_FILLING = (*OF_SLOTS, *_OF_ACCEPTANCE, "look_after", "evaluations", *_OF_THRESHOLD)
"""Of a whole generation; no result of a validation depends on them."""


def sampling_settings(context: PlanContext) -> dict[str, Any]:
    """What decides which images are drawn; options that were added later count where they are not at their first value.

    So does what the program changes of the base's own scheduler, and how often the denoiser is asked, if not once a step.

    Raises:
        RequestError: the scheduler cannot do what the settings want.
    """
    sampling = require_group(context.config.sampling, "sampling")
    config = scheduler_config(context.base)
    scheduler = scheduler_of(sampling.scheduler, config.get("_class_name", ""), config)
    scheduler.check(sampling)
    settings = _hashed_form(sampling)
    usual = {name for name, value in _USUAL_SAMPLING.items() if settings[name] == value}
    usual |= set() if sampling.early_rejection.after_step else set(_OF_THRESHOLD)
    # which slots a limit leaves open, and what is tried ahead, depends on the batches
    usual |= set() if sampling.calls or sampling.seconds or sampling.speculate else {"batch_size"}
    settings = {name: value for name, value in settings.items() if name not in usual}
    if scheduler.changes:
        settings["scheduler_settings"] = dict(scheduler.changes)
    evaluations = sum(scheduler.evaluations(sampling.steps))
    if evaluations != sampling.steps:
        settings["evaluations"] = evaluations
    return {**settings, **tiles(context)}


def tiles(context: PlanContext) -> dict[str, Any]:
    """The tiles in which images are decoded, where they are not decoded whole."""
    canvas, size = require_group(context.config.base, "base").canvas, require_group(context.config.data, "data").size
    tile = decoded_in_tiles(context.base, canvas, size)
    return {"tile": tile} if tile else {}


def _hashed_form(sampling: SamplingConfig) -> dict[str, Any]:
    """The settings under the names that they had when the first results were made, so that these keep their identities."""
    settings = sampling.model_dump(mode="json")
    early, again = settings.pop("early_rejection"), settings.pop("image_to_image")
    return {**settings, "look_after": early["after_step"], "look_loss": early["max_lost"], "look_n": early["n"], "revise": again}


def denoiser_passes(settings: Mapping[str, Any]) -> int:
    """Passes of the denoiser for one image, from what :func:`sampling_settings` gave."""
    guided = settings["guidance"] > 1 or any(settings.get(key) for key in ("guidance_step", "retry", "guided"))
    return int(settings.get("evaluations", settings["steps"])) * (2 if guided else 1)


def first_attempts(context: PlanContext, without: Sequence[str]) -> dict[str, Any]:
    """What decides which images first attempts give."""
    settings = {key: value for key, value in sampling_settings(context).items() if key not in without}
    sampling = require_group(context.config.sampling, "sampling")
    # guidance that later attempts get has the denoiser run with and without the prompt for first ones, too
    return {**settings, "guided": True} if sampling.guidance == 1 and sampling.varies_guidance else settings
