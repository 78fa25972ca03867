"""What all trials with the same classifiers are compared with: real images in the judge's features, and the classifiers' own scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pathsynth.config.groups import require_group
from pathsynth.stages.evaluate import PROTOCOL
from pathsynth.stages.sampling_settings import tiles
from pathsynth.stages.scoring_settings import scoring_settings
from pathsynth.stages.stage import BuildContext, PlanContext, Stage

NEUTRAL: dict[str, Any] = {"canvas": None}


def settings(context: PlanContext) -> dict[str, Any]:
    """How real images are scored: the group evaluate without prompts, own metrics and panel, the canvas, tiles, and the protocol."""
    compared = require_group(context.config.evaluate, "evaluate").model_dump(mode="json", exclude={"prompts", "metrics", "judges"})
    return {**compared, "canvas": require_group(context.config.base, "base").canvas, "protocol": PROTOCOL, **tiles(context)}


def parents(context: PlanContext) -> dict[str, str]:
    """The data, the base, the judge and the gate."""
    classifiers = {name: context.identities[name] for name in ("judge", "gate")}
    return {"data": context.data.identity, "base": context.base.identity, **classifiers}


def build(context: BuildContext, folder: Path) -> None:
    """Write the judge's features of real images and the scores of both classifiers to ``folder``."""
    from pathsynth.evaluation.classifier_scores import write_reference

    write_reference(folder, context.built["gate"], context.built["judge"], context.data, context.base, scoring_settings(context.config))


STAGE = Stage("reference", settings, parents, build, neutral=NEUTRAL, derived=True)
