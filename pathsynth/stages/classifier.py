"""A classifier of real images: the gate, the judge or one on its own; and its scores on the test split, a stage of their own.

What the stages are called is their role's name: several judges are several roles.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pathsynth.config import AnyClassifier, CustomClassifierConfig, RunConfig
from pathsynth.config.custom_classes import class_digests, targets
from pathsynth.config.groups import missing_group
from pathsynth.ledger.records import CONFUSION_FILE, PANEL_JUDGE
from pathsynth.stages.fingerprints import pretrained_source
from pathsynth.stages.stage import Artifact, BuildContext, Effort, Stage, no_summary

CLASSIFIERS = ("gate", "judge", "classifier")
"""Roles that every configuration may have; the judges of a panel have names of their own."""


def trains_classifier(stage: str) -> bool:
    """Whether a stage of this name trains a classifier. Such stages have a run of their own in a tracker, for trials share them."""
    return stage in CLASSIFIERS or is_panel_judge(stage)


def is_panel_judge(stage: str) -> bool:
    """Whether a stage of this name trains a judge of a panel; ``judge_test`` scores the judge and trains none."""
    return stage.startswith(PANEL_JUDGE) and stage != "judge_test"


def panel_of(config: RunConfig) -> dict[str, AnyClassifier]:
    """The settings of a panel's judges, by their names as stages and scorers; empty without a panel."""
    judges = config.evaluate.judges if config.evaluate else {}
    return {f"{PANEL_JUDGE}{name}": judge for name, judge in judges.items()}


PROTOCOL = 2
"""Of a classifier's training: raise it with any change of what is chosen or scored on which images. 2: epoch and temperature are chosen
on one half of val, and the scores are of the other."""

NEUTRAL = {
    "pretrained": False,
    "optimizer": "adamw",
    "augment_noise": False,
    "width": 1.0,
    "ema_decay": 0.0,
    "tta_d4": False,
    "members": 1,
    "protocol": 1,
}

_SCORES = "scores.json"
_FILES = ("classifier.safetensors", "classifier.json", _SCORES)


def classifier_stage(role: str, config: AnyClassifier | None, shown: bool = False) -> Stage:
    """The training of a role's classifier with its own ``config``; planning fails without one. ``shown``: the trial's folder gets it."""
    return Stage(
        role,
        lambda context: _settings(role, config),
        lambda context: {"data": context.data.identity},
        lambda context, folder: _train(context, folder, role, config),
        neutral=NEUTRAL,
        effort=Effort(lambda settings: float(settings["epochs"]), _architecture, long=True),
        shown=(*_FILES, CONFUSION_FILE) if shown else (),
        artifact=Artifact("classifier", role, _FILES),
        summary=_format_scores if shown else no_summary,
    )


def score_stage(role: str, config: AnyClassifier | None, shown: bool = False) -> Stage:
    """A classifier's scores on the test split: a separate result, so that it is the same whether or not it is requested."""
    return Stage(
        f"{role}_test",
        lambda context: {},
        lambda context: {"data": context.data.identity, "classifier": context.identities[role]},
        lambda context, folder: _score(context, folder, role, config),
        wanted=lambda _: config is not None and config.test,
        shown=(_SCORES, CONFUSION_FILE) if shown else (),
        summary=_format_scores if shown else no_summary,
    )


def _architecture(settings: Mapping[str, Any]) -> str | None:
    return settings.get("architecture") or settings.get("module", {}).get("_target_")


def _format_scores(context: BuildContext, folder: Path) -> str:
    from pathsynth.evaluation.classifier_scores import format_scores

    return format_scores(folder / _SCORES)


def required_classifier(role: str, config: AnyClassifier | None) -> AnyClassifier:
    """The settings of a role's classifier.

    Raises:
        RequestError: the request has none.
    """
    if config is None:
        raise missing_group(role)
    return config


def _settings(role: str, config: AnyClassifier | None) -> dict[str, Any]:
    required = required_classifier(role, config)
    settings = {**required.model_dump(mode="json", exclude={"test"}), "protocol": PROTOCOL}
    if isinstance(required, CustomClassifierConfig):
        settings["classes"] = class_digests(targets(required.module))
    if required.pretrained:
        settings["weights"] = pretrained_source(required.architecture).to_json()
    return settings


def _train(context: BuildContext, folder: Path, role: str, config: AnyClassifier | None) -> None:
    from pathsynth.evaluation.classifier_scores import log_classifier
    from pathsynth.tracking.loggers import close
    from pathsynth.training.train_classifier import train_classifier

    required = required_classifier(role, config)
    runs = context.classifier_runs(role, required)
    revision = context.stage(role).settings.get("weights", {}).get("revision")
    try:
        scores = train_classifier(required, context.data, folder, context.shown(role), runs, work=context.work(role), revision=revision)
    except BaseException:
        close(runs, failed=True)
        raise
    log_classifier(runs, scores, role, context.data, required.seed)
    context.keep_open(role, runs)


def _score(context: BuildContext, folder: Path, role: str, config: AnyClassifier | None) -> None:
    """The run of the classifier continues with its scores on the test split."""
    from pathsynth.evaluation.classifier_scores import log_classifier, write_test_scores
    from pathsynth.tracking.loggers import close

    required = required_classifier(role, config)
    scores = write_test_scores(folder, context.built[role], context.data, required)
    runs = context.classifier_runs(role, required)
    log_classifier(runs, [scores], role, context.data, required.seed)
    close(runs)
