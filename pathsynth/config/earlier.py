"""Settings as earlier versions wrote them into manifests and results, in today's keys. What people type is not translated, but refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pathsynth.config.schema import REGENERATION, ValidationConfig


def current_form(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a manifest under the keys of this version; those of this version come back as they are."""
    return _with_schedule(_with_regeneration(dict(values)))


def _with_regeneration(values: dict[str, Any]) -> dict[str, Any]:
    """The group ``validation`` became the callback ``regeneration``."""
    validation = values.pop("validation", None)
    if validation is None:
        return values
    return {**values, "callbacks": {**values.get("callbacks", {}), REGENERATION: {**ValidationConfig().callback, **validation}}}


def _with_schedule(values: dict[str, Any]) -> dict[str, Any]:
    """Keys of ``trainer`` became the group ``schedule``, of commands that train an adapter."""
    if "schedule" in values or not values.get("optimizer") or not {"max_steps", "warmup_steps"} <= set(values.get("trainer", ())):
        return values
    trainer = dict(values["trainer"])
    name, restart_steps = trainer.pop("schedule", "cosine"), trainer.pop("restart_steps", None)
    schedule = {"_target_": f"pathsynth.training.schedules.{name}", "warmup_steps": trainer["warmup_steps"]}
    if name == "cosine":
        schedule |= {"steps": trainer["max_steps"], "restart_steps": restart_steps}
    return {**values, "trainer": trainer, "schedule": schedule}
