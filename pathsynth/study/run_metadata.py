"""What a trial's runs and artifacts are called in a tracker, and what they tell of how they came about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pathsynth.config import AnyClassifier, RunConfig
from pathsynth.study.plan import CLASSIFIERS, Plan, StagePlan, stage_kind
from pathsynth.study.redaction import shareable_value
from pathsynth.training.loggers import GLOBAL_STEP, VALIDATION_STEP, RunCard, flat
from pathsynth.training.media import ArtifactCard

_JOB_TYPES = {"run": "evaluate"}
"""Of commands whose runs are of another's kind: both end with the same numbers."""
_KEPT: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    **{name: ("classifier", name, ("classifier.safetensors", "classifier.json", "scores.json")) for name in CLASSIFIERS},
    "finetune": ("adapter", "adapter", ("adapter", "history.csv")),
    "generate": ("images", "images", ("images", "rejected", "attempts.parquet")),
}
_TAG_LENGTH = 64


def trial_card(config: RunConfig, plan: Plan, name: str) -> RunCard:
    """The run of a trial: its own identity, its folder's name, every setting, and the identity of each of its stages."""
    settings = config.model_dump(mode="json", exclude={"multirun", "tracking"}, exclude_none=True)
    stages = {stage.name: stage.identity for stage in plan.stages}
    columns = flat(shareable_value({**settings, "identity": plan.identity, "stage": stages}))
    return RunCard(
        identity=plan.identity,
        name=name,
        group=config.study.name,
        job_type=_JOB_TYPES.get(config.command, config.command),
        tags=_tags(columns.get(key) for key in ("command", "data.name", "base.name", "lora.targets")),
        config=columns,
        curves={"finetune/*": GLOBAL_STEP, "epoch": GLOBAL_STEP, "validation/*": VALIDATION_STEP},
        best={"validation/macro_f1": VALIDATION_STEP},
    )


def classifier_card(config: RunConfig, stage: StagePlan, classifier: AnyClassifier) -> RunCard:
    """The run of a gate, a judge or another classifier, under its stage's identity; its settings have no group before them."""
    title = classifier.title
    data = config.data.model_dump(mode="json", exclude_none=True) if config.data else {}
    columns = flat(shareable_value({**stage.settings, "data": data, "identity": stage.identity}))
    return RunCard(
        identity=stage.identity,
        name=f"{stage.name} {title} {stage.identity[:6]}",
        group=config.study.name,
        job_type=stage.name,
        tags=_tags((config.command, columns.get("data.name"), title)),
        config=columns,
        curves={f"{title}/*": GLOBAL_STEP, "epoch": GLOBAL_STEP},
        best={f"{title}/macro_f1": GLOBAL_STEP},
    )


def artifact_card(stage: StagePlan, folder: Path) -> ArtifactCard | None:
    """What of a finished stage is kept as an artifact; None: nothing."""
    if stage_kind(stage.name) not in _KEPT:
        return None
    kind, _, files = _KEPT[stage_kind(stage.name)]
    made_from = artifact_names(stage.parents)
    lineage: dict[str, Any] = {"settings": shareable_value(stage.settings), "parents": stage.parents, "made_from": made_from}
    return ArtifactCard(kind, _artifact_name(stage.name, stage.identity), folder, files, lineage)


def artifact_names(identities: Mapping[str, str]) -> list[str]:
    """The artifacts' names of those stages (stage → identity) that have one."""
    return [_artifact_name(stage, identity) for stage, identity in identities.items() if stage_kind(stage) in _KEPT]


def _artifact_name(stage: str, identity: str) -> str:
    return f"{_KEPT[stage_kind(stage)][1]}-{identity}"


def _tags(words: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word[:_TAG_LENGTH] for word in words if word))
