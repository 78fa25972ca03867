"""Names and lineage of a trial's runs and artifacts in a tracker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pathsynth.config import AnyClassifier, RunConfig
from pathsynth.ledger.nesting import flat
from pathsynth.stages.plan import Plan, known_stage
from pathsynth.stages.stage import Artifact, StagePlan
from pathsynth.studies.trials.redaction import shareable_value
from pathsynth.tracking.loggers import GLOBAL_STEP, VALIDATION_STEP, RunMetadata
from pathsynth.tracking.media import ArtifactMetadata

_JOB_TYPES = {"run": "evaluate"}
"""Of commands whose runs are of another's kind: both end with the same numbers."""
_TAG_LENGTH = 64


def trial_metadata(config: RunConfig, plan: Plan, name: str) -> RunMetadata:
    """The run of a trial: its own identity, its folder's name, every setting, and the identity of each of its stages."""
    settings = config.model_dump(mode="json", exclude={"multirun", "tracking"}, exclude_none=True)
    stages = {stage.name: stage.identity for stage in plan.stages}
    columns = flat(shareable_value({**settings, "identity": plan.identity, "stage": stages}))
    return RunMetadata(
        identity=plan.identity,
        name=name,
        group=config.study.name,
        job_type=_JOB_TYPES.get(config.command, config.command),
        tags=_tags(columns.get(key) for key in ("command", "data.name", "base.name", "lora.targets")),
        config=columns,
        curves={"finetune/*": GLOBAL_STEP, "epoch": GLOBAL_STEP, "validation/*": VALIDATION_STEP},
        best={"validation/macro_f1": VALIDATION_STEP},
    )


def classifier_metadata(config: RunConfig, stage: StagePlan, classifier: AnyClassifier) -> RunMetadata:
    """The run of a gate, a judge or another classifier, under its stage's identity; its settings have no group before them."""
    title = classifier.title
    data = config.data.model_dump(mode="json", exclude_none=True) if config.data else {}
    columns = flat(shareable_value({**stage.settings, "data": data, "identity": stage.identity}))
    return RunMetadata(
        identity=stage.identity,
        name=f"{stage.name} {title} {stage.identity[:6]}",
        group=config.study.name,
        job_type=stage.name,
        tags=_tags((config.command, columns.get("data.name"), title)),
        config=columns,
        curves={f"{title}/*": GLOBAL_STEP, "epoch": GLOBAL_STEP},
        best={f"{title}/macro_f1": GLOBAL_STEP},
    )


def artifact_metadata(stage: StagePlan, folder: Path) -> ArtifactMetadata | None:
    """The artifact that a finished stage leaves; None: it leaves none."""
    artifact = _artifact(stage.name)
    if artifact is None:
        return None
    sources = artifact_names(stage.parents)
    lineage: dict[str, Any] = {"settings": shareable_value(stage.settings), "parents": stage.parents, "made_from": sources}
    return ArtifactMetadata(artifact.kind, f"{artifact.name}-{stage.identity}", folder, artifact.files, lineage)


def artifact_names(identities: Mapping[str, str]) -> list[str]:
    """The artifacts' names of those stages (stage → identity) that have one."""
    return [f"{artifact.name}-{identity}" for name, identity in identities.items() if (artifact := _artifact(name))]


def _artifact(name: str) -> Artifact | None:
    stage = known_stage(name)
    return stage.artifact if stage else None


def _tags(words: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word[:_TAG_LENGTH] for word in words if word))
