"""The threshold of early rejection: which candidates are rejected after some of the denoising steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pathsynth.config import RunConfig
from pathsynth.config.custom_classes import class_digests, targets
from pathsynth.config.groups import require_group
from pathsynth.sampling.slots import Stream, attempt_at, slots_of
from pathsynth.stages.sampling_settings import OF_SLOTS, first_attempts
from pathsynth.stages.stage import BuildContext, PlanContext, Stage

NEUTRAL: dict[str, Any] = {"classes": {}}


def wanted(config: RunConfig) -> bool:
    """Whether the configuration samples with early rejection."""
    return config.sampling is not None and bool(config.sampling.early_rejection.after_step)


def settings(context: PlanContext) -> dict[str, Any]:
    """What decides first attempts, and the source of the user's own acceptance rules."""
    sampling = require_group(context.config.sampling, "sampling")
    return {**first_attempts(context, OF_SLOTS), "classes": class_digests(targets(sampling.rules))}


def parents(context: PlanContext) -> dict[str, str]:
    """Adapter and gate."""
    return {name: context.identities[name] for name in ("finetune", "gate")}


def build(context: BuildContext, folder: Path) -> None:
    """Decide, on slots of their own, which candidates are rejected early."""
    from pathsynth.models.lora import load_adapter, unload_adapter
    from pathsynth.sampling.draw import drawer
    from pathsynth.sampling.early_rejection import calibrate, fit_threshold, write_threshold

    sampling, data = require_group(context.config.sampling, "sampling"), context.data
    after = require_group(sampling.early_rejection.after_step, "sampling.early_rejection.after_step")
    prompts = {c.index: data.prompts.canonical(c.index) for c in data.space.classes}
    attempts = [attempt_at(slot, 0, sampling.seed) for slot in slots_of(Stream.CALIBRATE, prompts, sampling.early_rejection.n)]
    load_adapter(context.folder_of("finetune") / "adapter", context.base)
    shown = context.counted("early_rejection", len(attempts), "candidates")
    draw = drawer(context.base, data.size, sampling, watch=lambda batch: shown.denoise(batch.evaluations, batch.total))
    candidates = calibrate(attempts, draw, context.gate, sampling.batch_size, lambda: shown.count(True))
    unload_adapter(context.base)
    write_threshold(folder, fit_threshold(candidates, sampling.early_rejection.max_lost, after, sampling.steps))


STAGE = Stage("early_rejection", settings, parents, build, neutral=NEUTRAL, shown=("early_rejection.json",), wanted=wanted)
