"""Settings as earlier versions wrote them into manifests and results, in today's keys. What people type is refused, not translated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_REGENERATION = "pathsynth.training.regeneration.RegenerationCallback"
_MODULE = "pathsynth.training.lora_module.LoraFinetuning"
_TRAINER = "pytorch_lightning.Trainer"
TRAINING_KEYS = (
    *("batch_size", "warmup_steps", "ema_decay", "threads", "checkpoint_every", "keep_checkpoints", "gradient_checkpointing"),
    *("channels_last", "compile", "explosion", "retries", "retry_factor"),
)
"""Keys of the group ``training`` that once stood among Lightning's, in ``trainer``."""
_EARLY_REJECTION = {"look_after": "after_step", "look_loss": "max_lost", "look_n": "n"}


def current_form(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a trial under the keys of this version; those of this version, and what is damaged, stay as they are."""
    values = _with_trackers(_with_early_rejection(_with_regeneration(dict(values))))
    if not isinstance(values.get("trainer"), Mapping):
        return values
    if values.get("optimizer"):  # an adapter is trained
        values = {"finetune": {"_target_": _MODULE}, **_with_schedule(values)}
    return _with_training(values)


def _with_regeneration(values: dict[str, Any]) -> dict[str, Any]:
    """The group ``validation`` became the callback ``regeneration``."""
    validation, callbacks = values.get("validation"), values.get("callbacks") or {}
    if not (isinstance(validation, Mapping) and isinstance(callbacks, Mapping)):
        return values
    others = {key: value for key, value in values.items() if key != "validation"}
    return {**others, "callbacks": {**callbacks, "regeneration": {"_target_": _REGENERATION, **validation}}}


def _with_early_rejection(values: dict[str, Any]) -> dict[str, Any]:
    """Keys of ``sampling`` became a group in it, and ``revise`` got the name of what it does."""
    sampling = values.get("sampling")
    if not isinstance(sampling, Mapping) or not {*_EARLY_REJECTION, "revise"} & set(sampling):
        return values
    others = {key: value for key, value in sampling.items() if key not in _EARLY_REJECTION}
    if "revise" in others:
        others["image_to_image"] = others.pop("revise")
    early = {name: sampling[key] for key, name in _EARLY_REJECTION.items() if key in sampling}
    return {**values, "sampling": {**others, "early_rejection": early} if early else others}


def _with_trackers(values: dict[str, Any]) -> dict[str, Any]:
    """``tracking.name`` chose among W&B, a Lightning logger and nothing."""
    tracking = values.get("tracking")
    if not isinstance(tracking, Mapping) or "trackers" in tracking or "_target_" in tracking or "name" not in tracking:
        return values
    others = {key: value for key, value in tracking.items() if key != "name"}
    return {**values, "tracking": {**others, "trackers": {"wandb": True} if tracking["name"] == "wandb" else {}}}


def _with_schedule(values: dict[str, Any]) -> dict[str, Any]:
    """Keys of ``trainer`` became the group ``schedule``, and the Trainer got a class."""
    if "schedule" in values or not {"max_steps", "warmup_steps"} <= set(values["trainer"]):
        return values
    trainer = {"_target_": _TRAINER, **values["trainer"]}
    name, restart_steps = trainer.pop("schedule", "cosine"), trainer.pop("restart_steps", None)
    schedule = {"_target_": f"pathsynth.training.schedules.{name}", "warmup_steps": trainer["warmup_steps"]}
    if name == "cosine":
        schedule |= {"steps": trainer["max_steps"], "restart_steps": restart_steps}
    return {**values, "trainer": trainer, "schedule": schedule}


def _with_training(values: dict[str, Any]) -> dict[str, Any]:
    """What is not Lightning's left ``trainer`` for the group ``training``; ``accumulate`` got Lightning's name."""
    if "training" in values:
        return values
    trainer = {key: value for key, value in values["trainer"].items() if key not in (*TRAINING_KEYS, "accumulate")}
    if "accumulate" in values["trainer"]:
        trainer["accumulate_grad_batches"] = values["trainer"]["accumulate"]
    training = {key: values["trainer"][key] for key in TRAINING_KEYS if key in values["trainer"]}
    return {**values, "trainer": trainer, "training": training}
