"""The plan of a trial: its stages in order, each under the identity of what determines its result. No torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pathsynth.config import CustomClassifierConfig, DataConfig, RunConfig
from pathsynth.config.groups import require_group
from pathsynth.data.catalogue import ready_set
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.identity import digest
from pathsynth.stages import cache, decode, early_rejection, evaluate, finetune, generate, panel, pretrain, reference
from pathsynth.stages.classifier import classifier_stage, panel_of, score_stage, trains_classifier
from pathsynth.stages.fingerprints import BaseSource, base_source, data_source
from pathsynth.stages.stage import PlanContext, Stage, StagePlan, hashed_name

_SCORING = ("run", "evaluate")
_DRAWING = (*_SCORING, "generate")
_TRAINING = (*_DRAWING, "finetune")
"""Commands whose trials score, draw and have an adapter trained."""

_ON_A_BUNDLE = ("early_rejection", "generate")
"""Stages of a trial that draws from a pretrained bundle."""

_SOURCES = {"data", "base"}
"""Parents that are no stages."""


def listed_stages(config: RunConfig) -> tuple[tuple[Stage, Collection[str]], ...]:
    """Every stage, in the order in which they can be built, with the commands that need it. A new stage gets its line here."""
    return (
        (pretrain.STAGE, ("pretrain",)),
        (decode.STAGE, ("classify", *_TRAINING)),
        (cache.STAGE, _TRAINING),
        (classifier_stage("gate", config.gate), _TRAINING),
        (classifier_stage("judge", config.judge), _SCORING),
        *((classifier_stage(role, judge), _SCORING) for role, judge in panel_of(config).items()),
        (classifier_stage("classifier", config.classifier, shown=True), ("classify",)),
        (score_stage("gate", config.gate), _TRAINING),
        (score_stage("judge", config.judge), _SCORING),
        (score_stage("classifier", config.classifier, shown=True), ("classify",)),
        (finetune.STAGE, _TRAINING),
        (early_rejection.STAGE, _DRAWING),
        (generate.STAGE, _DRAWING),
        (reference.STAGE, _SCORING),
        (panel.STAGE, _SCORING),
        (evaluate.STAGE, _SCORING),
    )


_SINGLE = (pretrain, decode, cache, finetune, early_rejection, generate, reference, panel, evaluate)
"""Files that make one stage; the others make one for each classifier."""


def known_stage(name: str) -> Stage | None:
    """What is known of the stages of a name without a configuration: how much work they are, what they load and what a tracker keeps.

    None: this version has no stage of that name, as with the data among a stage's parents.
    """
    if trains_classifier(name):
        return classifier_stage(name, None)
    if trains_classifier(name.removesuffix("_test")):
        return score_stage(name.removesuffix("_test"), None)
    return next((module.STAGE for module in _SINGLE if module.STAGE.name == name), None)


@dataclass(frozen=True)
class Plan:
    """The stages of a trial in the order in which they can be built.

    ``base`` is None where no base is used; ``settings`` are the trial's own, as ``result.json`` and trackers show them.
    """

    identity: str
    stages: tuple[StagePlan, ...]
    base: BaseSource | None
    settings: dict[str, Any]

    def only(self, names: Collection[str]) -> Plan:
        """The plan with those of its stages alone, still under its identity."""
        return replace(self, stages=tuple(stage for stage in self.stages if stage.name in names))

    def to_json(self) -> dict[str, Any]:
        """The plan as it stands in the manifest; :meth:`from_json` reads it."""
        stages = [{"name": s.name, "identity": s.identity, "settings": s.settings, "parents": s.parents} for s in self.stages]
        return {"identity": self.identity, "base": self.base and self.base.to_json(), "stages": stages, "settings": self.settings}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Plan:
        """The plan that :meth:`to_json` wrote."""
        base = BaseSource(**record["base"]) if record["base"] else None
        return cls(record["identity"], tuple(StagePlan(**s) for s in record["stages"]), base, record["settings"])


def plan(config: RunConfig) -> Plan:
    """The stages that the configured command needs.

    Raises:
        RequestError: data or base are missing or damaged, or two settings do not go together.
        UnknownLabelError: a prompt or label of the request fits no class, or several.
    """
    data = data_source(config.data) if config.data else None
    context = PlanContext(config, data, base_source(config.base) if config.base else None)
    needed = [stage for stage, commands in listed_stages(config) if config.command in commands and stage.wanted(config)]
    if config.data and config.data.name == "ready" and config.command in _TRAINING:
        context.identities.update(_bundle_identities(context, config.data))
        needed = [stage for stage in needed if stage.name in _ON_A_BUNDLE]
    stages = []
    for stage in needed:
        stages.append(stage.plan(context))
        context.identities[stage.name] = stages[-1].identity
    results = {hashed_name(s.name): context.identities[s.name] for s in needed if not s.derived}
    identity = digest({"command": config.command, "stages": results})
    return Plan(identity, tuple(stages), context.base_source, config.model_dump(mode="json", exclude_none=True))


def next_stage(waiting: Sequence[StagePlan], busy: Callable[[StagePlan], bool]) -> StagePlan:
    """Which of the stages that a trial still needs, in their order, it takes on now.

    The first; but where another process is building that (``busy``), what else needs none of the other stages, so that two trials
    that start together train gate and judge side by side.
    """
    for stage in waiting:
        if stage.name == decode.STAGE.name or not stage.parents.keys() <= _SOURCES:  # all that reads data waits for its decoding
            break
        if not busy(stage):
            return stage
    return waiting[0]


def _bundle_identities(context: PlanContext, data: DataConfig) -> dict[str, str]:
    """Adapter and gate of a pretrained bundle; they stand for the stages that would have made them."""
    ready, config = ready_set(data), context.config
    if require_group(config.sampling, "sampling").reject_copies:
        raise RequestError("data=ready has no training images to compare with; set sampling.reject_copies=false")
    if require_group(config.sampling, "sampling").precision_target:
        raise RequestError("data=ready has no real images to set limits on; set sampling.precision_target=null and sampling.threshold")
    if config.command != "generate":
        raise RequestError("data=ready has no images: only generate can use it; choose other data, as in data=phantom")
    bundled, named = ready.gate_module.get("_target_"), config.gate.module["_target_"] if config.gate else None
    if bundled and bundled != named:
        line = f"the gate of the set in {ready.folder} is of the class {bundled}, and no class runs that the request does not name"
        raise RequestError(f"{line}; set gate._target_={bundled}, if you trust it")
    if not bundled and isinstance(config.gate, CustomClassifierConfig):
        raise RequestError(f"gate._target_={named} has no effect: the set in {ready.folder} has a gate of ours; leave it out")
    if ready.base != context.base.identity:
        raise RequestError(f"the set in {ready.folder} belongs to base {ready.base}, not to {context.base.identity}; choose its own")
    return {"finetune": ready.adapter_identity, "gate": ready.gate_identity}


def planned_images(config: RunConfig, plan: Plan) -> int:
    """The most images that a trial may write: every slot with its whole budget where rejected images are kept."""
    sampling, request = config.sampling, next((s.settings["request"] for s in plan.stages if s.name == "generate"), None)
    if sampling is None or request is None:
        return 0
    if request["stream"] == "generate":
        return -(-len(request["prompts"]) * int(request["n"]) // int(request.get("shards", 1)))
    return len(data_source(require_group(config.data, "data")).space) * int(request["n"]) * sampling.attempts
