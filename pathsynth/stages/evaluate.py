"""What the images are worth: scored by gate and judge, compared with real ones, and written as ``result.json`` beside contact sheets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pathsynth.config.custom_classes import class_digests, targets
from pathsynth.config.groups import require_group
from pathsynth.ledger.records import JUDGED_FILE
from pathsynth.stages.classifier import panel_of
from pathsynth.stages.scoring_settings import scoring_settings
from pathsynth.stages.stage import BuildContext, Effort, PlanContext, Stage

PROTOCOL = 7
"""Of the evaluation: raise it with any change of what is measured, or how. 2: coverage. 3: other distances, near copies.
4: colour alone, common errors, distances by class. 5: accepted images for a thousand calls, reliability,
what the autoencoder leaves. 6: rejected first attempts, nearest training images. 7: intervals of coverage, precision, recall,
density, near copies, macro scores, common errors and accepted images for a thousand calls; classifiers are scored on half of val."""

NEUTRAL: dict[str, Any] = {"protocol": 1, "prompts": "canonical", "metrics": {}, "classes": {}}


def settings(context: PlanContext) -> dict[str, Any]:
    """How images are scored: the group evaluate without its judges, the protocol, and the source of the user's own metrics."""
    evaluate = require_group(context.config.evaluate, "evaluate")
    scored = evaluate.model_dump(mode="json", exclude={"judges"})  # they are parents
    return {**scored, "protocol": PROTOCOL, "classes": class_digests(targets(evaluate.metrics))}


def parents(context: PlanContext) -> dict[str, str]:
    """The data, the images, and every classifier that scores them."""
    scorers = ("judge", "gate", *panel_of(context.config))
    return {"data": context.data.identity, **{name: context.identities[name] for name in ("generate", *scorers)}}


def build(context: BuildContext, folder: Path) -> None:
    """Write ``result.json`` and the contact sheets to ``folder``."""
    from pathsynth.evaluation.image_sheets import ImageSet, write_sheets
    from pathsynth.evaluation.panel_scores import panel_evaluation
    from pathsynth.evaluation.trial_scores import write_evaluation

    images = ImageSet.read(context.built["generate"])
    scoring = scoring_settings(context.config)
    write_sheets(folder / "grids", images, context.data, scoring.evaluate.split)
    panel = panel_evaluation(images, context.built, context.data, scoring)
    write_evaluation(folder, images, context.data, scoring, context.identity, context.built, panel)


def log(context: BuildContext, folder: Path) -> None:
    """The result: numbers, confusion matrices, sheets."""
    from pathsynth.evaluation.trial_scores import log_result

    log_result(context.loggers, folder, context.data.space)


STAGE = Stage(
    "evaluate",
    settings,
    parents,
    build,
    neutral=NEUTRAL,
    effort=Effort(lambda settings: float(settings["n"])),
    shown=("grids", JUDGED_FILE, "result.json"),
    log=log,
)
