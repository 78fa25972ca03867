"""A request is checked before anything of it is written: its settings, plan, words and images. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from pathsynth.config import RunConfig, StudyConfig, from_hydra
from pathsynth.config.hydra_node import hydra_node_of
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.stages.plan import Plan, planned_images
from pathsynth.studies.planning.capacity import BYTES_A_PIXEL, BYTES_AN_IMAGE
from pathsynth.studies.planning.image_check import check_images
from pathsynth.studies.planning.preflight import planned
from pathsynth.studies.planning.prompt_check import word_notes
from pathsynth.studies.planning.workers import trials_at_once
from pathsynth.studies.trials.state import DONE, FAILED, TrialState
from pathsynth.tracking.mlflow_sender import require_mlflow

_OF_TRAINING = ("gate", "lora", "optimizer", "schedule", "finetune", "objective", "trainer", "training", "callbacks", "seed")


@dataclass(frozen=True)
class Checked:
    """A request that can run."""

    config: RunConfig
    plan: Plan
    notes: tuple[str, ...] = ()
    """Lines on what will be done with the request's words and images, where that may surprise."""


def check(config: DictConfig, overrides: Iterable[str]) -> Checked:
    """Check a configuration composed with ``overrides``, without its ``hydra`` node or with it.

    Nothing is written but the note that images were found good.

    Raises:
        RequestError, UnknownLabelError: the request is wrong.
    """
    with hydra_node_of(config):
        settings = from_hydra(without_hydra(config))
        _refuse_inline(settings)
    if settings.tracking.mlflow:
        require_mlflow()
    _refuse_idle(settings, overrides)
    try:
        plan = planned(settings)
    except RequestError as error:
        if settings.debug and settings.debug.name != "none" and "data.n_" in str(error):
            raise RequestError(f"{error} (debug={settings.debug.name} asks for so many)") from error
        raise
    _refuse_untrained(settings, plan)
    return Checked(settings, plan, tuple(dict.fromkeys((*word_notes(settings, plan), *check_images(settings, plan)))))


def without_hydra(config: DictConfig) -> DictConfig:
    """A composed configuration without Hydra's own node, and with the times that ``${now:…}`` has had in it."""
    settings = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    OmegaConf.copy_cache(from_config=config, to_config=settings)
    return settings


def _refuse_inline(config: RunConfig) -> None:
    """Refuse to run trials in one process that need several.

    Raises:
        RequestError: ``study.isolation=inline`` beside several trials at once, or a fine-tune on several devices.
    """
    if config.study.isolation != "inline":
        return
    line = "study.isolation=inline runs one trial at a time in the command's own process"
    if (config.trainer.devices or 1) > 1:
        raise RequestError(f"{line}, and trainer.devices={config.trainer.devices} needs one for each; set trainer.devices=1")
    if HydraConfig.initialized() and trials_at_once(HydraConfig.get()) > 1:
        raise RequestError(f"{line}, and the launcher starts several; set hydra/launcher=basic")


def _refuse_idle(config: RunConfig, overrides: Iterable[str]) -> None:
    """Refuse settings of training where nothing is trained.

    Raises:
        RequestError: an override sets a group of the training, or how many images it takes, and the data is a ready set.
    """
    if config.data is None or config.data.name != "ready":
        return
    for override in overrides:
        group = re.split(r"[.@=]", override.lstrip("+~"))[0]
        key = override.lstrip("+~").partition("=")[0]
        if (group in _OF_TRAINING and "threads" not in override and key != "gate._target_") or override.lstrip("+~").startswith("data.n_"):
            remedy = "leave it out, or choose other data, as in data=phantom"
            raise RequestError(f"{override} has no effect: data=ready trains nothing; {remedy}")


def _refuse_untrained(config: RunConfig, plan: Plan) -> None:
    """Refuse to evaluate an adapter that has not been trained: ``evaluate`` scores, and only ``run`` trains what it scores.

    Raises:
        RequestError: the store has no adapter of these settings.
    """
    if config.command != "evaluate":
        return
    (adapter,) = (stage for stage in plan.stages if stage.name == "finetune")
    if StageStore(Path(config.multirun) / STAGES).find("finetune", adapter.identity) is None:
        remedy = "train it: pathsynth run, or finetune, with them"
        raise RequestError(f"{config.multirun} has no adapter of these settings to evaluate; {remedy}")


def standing(before: TrialState, identity: str, study: StudyConfig) -> str:
    """Why a trial that was begun before is not carried out (again); empty if it is."""
    if before.identity != identity or study.force:
        return ""
    if before.state == DONE:
        return "done already"
    if before.state == FAILED and before.tries > study.retry_failed:
        return f"has failed {before.tries} times and is left; study.force=true tries again"
    return ""


def bytes_needed(config: RunConfig, plan: Plan) -> float:
    """What a trial's images may take on the disk, at most."""
    size = config.data.size if config.data else 0
    return planned_images(config, plan) * (BYTES_AN_IMAGE + BYTES_A_PIXEL * size * size)
