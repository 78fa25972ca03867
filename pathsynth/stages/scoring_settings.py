"""The settings by which the stages reference, panel and evaluate score images."""

from __future__ import annotations

from pathsynth.config import RunConfig
from pathsynth.config.groups import require_group
from pathsynth.evaluation.scoring import ScoringSettings
from pathsynth.stages.classifier import panel_of, required_classifier


def scoring_settings(config: RunConfig) -> ScoringSettings:
    """The settings of a trial that is evaluated.

    Raises:
        RequestError: the request has no gate, judge or group evaluate.
    """
    return ScoringSettings(
        evaluate=require_group(config.evaluate, "evaluate"),
        gate=required_classifier("gate", config.gate),
        judge=required_classifier("judge", config.judge),
        judges=panel_of(config),
        seed=config.seed,
        trial=config.model_dump(mode="json", exclude={"multirun"}),
    )
