"""What a panel's judges score on real images, and how the errors of every two classifiers correlate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pathsynth.config.groups import require_group
from pathsynth.stages.classifier import panel_of
from pathsynth.stages.evaluate import PROTOCOL
from pathsynth.stages.scoring_settings import scoring_settings
from pathsynth.stages.stage import BuildContext, PlanContext, Stage


def settings(context: PlanContext) -> dict[str, Any]:
    """The split of real images that is scored, and the protocol."""
    return {"split": require_group(context.config.evaluate, "evaluate").split, "protocol": PROTOCOL}


def parents(context: PlanContext) -> dict[str, str]:
    """The data, the gate, the judge and the panel's judges."""
    classifiers = {name: context.identities[name] for name in ("gate", "judge", *panel_of(context.config))}
    return {"data": context.data.identity, **classifiers}


def build(context: BuildContext, folder: Path) -> None:
    """Write the scores of each classifier and the correlations of their errors to ``folder``."""
    from pathsynth.evaluation.panel_scores import write_panel_scores

    write_panel_scores(folder, context.built, context.data, scoring_settings(context.config))


STAGE = Stage("panel", settings, parents, build, wanted=lambda config: bool(panel_of(config)), derived=True)
