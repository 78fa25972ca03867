"""The plan of a trial: its stages in order, each under the identity of what determines its result. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pathsynth.config import AnyClassifier, DataConfig, OwnClassifierConfig, RunConfig
from pathsynth.config.lightning import WATCHING, changing
from pathsynth.config.schema import FINETUNE_TARGET, REGENERATION, TRAINER_TARGET, ConstantConfig, CosineConfig, shipped_schedule
from pathsynth.data.catalogue import ready_set
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.identity import digest, stage_identity
from pathsynth.ledger.records import PANEL_JUDGE
from pathsynth.sampling.request import requested_prompts
from pathsynth.sampling.scheduler import scheduler_of
from pathsynth.study.fingerprints import (
    BaseSource,
    DataSource,
    adapter_identity,
    base_source,
    data_source,
    pretrained_source,
    scheduler_config,
)
from pathsynth.study.own_classes import class_digests, targets

_Settings = TypeVar("_Settings")

CLASSIFIERS = ("gate", "judge", "classifier")
"""Stages that train a classifier. They have a run of their own in a tracker, for trials share them."""


def stage_kind(name: str) -> str:
    """What a stage is built as: the judges of a panel as the judge, others as their names say."""
    return "judge" if is_panel_judge(name) else name


def is_panel_judge(name: str) -> bool:
    return name.startswith(PANEL_JUDGE) and name != "judge_test"


def trains_classifier(name: str) -> bool:
    return stage_kind(name) in CLASSIFIERS


_BEFORE_FINETUNE = ("cache", "gate", "judge")
"""Kinds of stages that need none of the others."""

_DERIVED = ("decode", "reference", "panel")
"""Stages that hold nothing but what others, of the same parents, are made of or make: a trial is told apart by those."""

PROTOCOL = 7
"""Of the evaluation: raise it with any change of what is measured, or how. 2: coverage. 3: other distances, near copies.
4: colour alone, common errors, distances by class. 5: accepted images for a thousand calls, reliability,
what the autoencoder leaves. 6: rejected first attempts, nearest training images. 7: intervals of coverage, precision, recall,
density, near copies, macro scores, common errors and accepted images for a thousand calls; classifiers are scored on half of val."""

CLASSIFIER_PROTOCOL = 2
"""Of a classifier's training: raise it with any change of what is chosen or scored on which images. 2: epoch and temperature are chosen
on one half of val, and the scores are of the other."""

DECODING_PROTOCOL = 1
"""Of decoded images: raise it with any change of the files that hold them. What they show is told by the data's identity."""

_USUAL_CLASSIFIER = {
    "pretrained": False,
    "optimizer": "adamw",
    "augment_noise": False,
    "width": 1.0,
    "ema_decay": 0.0,
    "tta_d4": False,
    "protocol": 1,
}

NEUTRAL: Mapping[str, Mapping[str, Any]] = {
    "pretrain": {},
    "decode": {},
    "cache": {"canvas": None, "captions": None},
    "gate": _USUAL_CLASSIFIER,
    "judge": _USUAL_CLASSIFIER,
    "classifier": _USUAL_CLASSIFIER,
    **{f"{name}_test": {} for name in CLASSIFIERS},
    "finetune": {
        "accumulate": 1,
        "dropout": 0.0,
        "dora": False,
        "rslora": False,
        "text_encoder": False,
        "channels_last": False,
        "compile": False,
        "init": "gaussian",
        "ema_decay": 0.0,
        "min_snr_gamma": None,
        "noise_offset": 0.0,
        "caption_dropout": 0.0,
        "schedule": "cosine",
        "restart_steps": None,
        "gradient_checkpointing": False,
        "deterministic": None,
        "benchmark": None,
        "gradient_clip_algorithm": None,
        "module": {},
        "trainer": TRAINER_TARGET,
        "callbacks": {},
        "classes": {},
        "debug": "none",
        "devices": 1,
    },
    "look": {"classes": {}},
    "generate": {"threshold": 0.0, "classes": {}},
    "reference": {"canvas": None},
    "panel": {},
    "evaluate": {"protocol": 1, "prompts": "canonical", "metrics": {}, "classes": {}},
}
"""Settings at which a stage does what it did before the setting existed; they are left out of its identity.

A new key enters here with the value that changes nothing. What ``conf/`` proposes is no reason to be here: a proposal may
change, and an identity must not then stand for another result.
"""


_USUAL_SAMPLING: Mapping[str, Any] = {
    "precision": "32-true",
    "deterministic": False,
    "margin": 0.0,
    "guidance_step": 0.0,
    "guidance_rescale": 0.0,
    "scheduler": None,
    "speculate": False,
    "calls": None,
    "seconds": None,
    "reject_copies": False,
    "revise": 0.0,
    "look_after": None,
    "rules": {},
    "retry": {},
}
"""As :data:`NEUTRAL`, of what ``generate`` and ``finetune`` both hold."""


_OF_LOOK = ("look_loss", "look_n")
"""Of how early rejection's cut is fitted; without one no result depends on them."""

_OF_SLOTS = ("attempts", "batch_size", "calls", "seconds", "speculate", "guidance_step", "revise", "retry")
"""Of how slots are filled after their first attempts; early rejection's cut is fitted on first attempts alone."""

_OF_ACCEPTANCE = ("threshold", "margin", "reject_copies", "rules")
"""Of what is accepted. A validation chooses the adapter's step by what the gate takes first attempts for, accepted or not."""

_OF_FILLING = (*_OF_SLOTS, *_OF_ACCEPTANCE, "look_after", "evaluations", *_OF_LOOK)
"""Of a whole generation; no result of a validation depends on them."""


_OF_RETRIES = ("retries", "retry_factor", "explosion", "checkpoint_every", "keep_checkpoints")
"""Settings of a fine-tune that decide how it goes on once it has diverged. Without retries it then fails: no result depends on them."""


@dataclass(frozen=True)
class StagePlan:
    """A stage to build or find: ``parents`` are the identities of what it is made from, by name."""

    name: str
    identity: str
    settings: dict[str, Any]
    parents: dict[str, str]


@dataclass(frozen=True)
class Plan:
    """The stages of a trial in the order in which they can be built.

    ``base`` is None where no base is used; ``settings`` are the trial's own, as ``result.json`` and trackers show them.
    """

    identity: str
    stages: tuple[StagePlan, ...]
    base: BaseSource | None
    settings: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        stages = [{"name": s.name, "identity": s.identity, "settings": s.settings, "parents": s.parents} for s in self.stages]
        return {"identity": self.identity, "base": self.base and self.base.to_json(), "stages": stages, "settings": self.settings}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Plan:
        base = BaseSource(**record["base"]) if record["base"] else None
        return cls(record["identity"], tuple(StagePlan(**s) for s in record["stages"]), base, record["settings"])


def plan(config: RunConfig) -> Plan:
    """The stages that the configured command needs.

    Raises:
        RequestError: data or base are missing or damaged, or two settings do not go together.
        UnknownLabelError: a prompt or label of the request fits no class, or several.
    """
    planner = _Planner(config)
    stages = planner.stages()
    identity = digest({"command": config.command, "stages": {s.name: s.identity for s in stages if s.name not in _DERIVED}})
    return Plan(identity, stages, planner.base, config.model_dump(mode="json", exclude_none=True))


def next_stage(waiting: Sequence[StagePlan], busy: Callable[[StagePlan], bool]) -> StagePlan:
    """Which of the stages that a trial still needs, in their order, it takes on now.

    The first; but where another process is building that (``busy``), what else can be made before the fine-tune, so that two trials
    that start together train gate and judge side by side.
    """
    for stage in waiting:
        if stage_kind(stage.name) not in _BEFORE_FINETUNE:
            break
        if not busy(stage):
            return stage
    return waiting[0]


class _Planner:
    """Names the stages of one configuration; each refers to those before it."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._stages: dict[str, StagePlan] = {}
        self._given: dict[str, str] = {}
        self.data: DataSource | None = data_source(config.data) if config.data else None
        self.base: BaseSource | None = base_source(config.base) if config.base else None

    def stages(self) -> tuple[StagePlan, ...]:
        command = self._config.command
        if command == "pretrain":
            self._pretrain()
        elif command == "classify":
            self._decode()
            self._classifier("classifier", self._config.classifier)
            self._tests()
        elif self._config.data and self._config.data.name == "ready":
            self._ready(self._config.data)
            self._generate()
        else:
            self._decode()
            self._cache()
            self._classifier("gate", self._config.gate)
            if command in ("run", "evaluate"):
                self._classifier("judge", self._config.judge)
                for name, judge in self._panel.items():
                    self._classifier(name, judge)
            self._tests()
            self._finetune()
            if command != "finetune":
                self._generate()
            if command in ("run", "evaluate"):
                self._reference()
                self._panel_scores()
                self._evaluate()
        return tuple(self._stages.values())

    def _add(self, name: str, settings: dict[str, Any], **parents: str) -> None:
        identity = stage_identity(stage_kind(name), settings, parents, NEUTRAL[stage_kind(name)])
        self._stages[name] = StagePlan(name, identity, settings, parents)

    def _pretrain(self) -> None:
        settings = _needed(self._config.pretrain, "pretrain").model_dump(mode="json", exclude={"root"})
        self._add("pretrain", settings)

    def _decode(self) -> None:
        """Of images in files of their own, or that a class of the user's gives; others are mapped from where they are, or drawn."""
        if self._config.data and self._config.data.name in ("folder", "own"):
            self._add("decode", {"protocol": DECODING_PROTOCOL}, data=self._data.identity)

    def _classifier(self, name: str, config: AnyClassifier | None) -> None:
        _needed(config, name)
        assert config
        settings = {**config.model_dump(mode="json", exclude={"test"}), "protocol": CLASSIFIER_PROTOCOL}
        if isinstance(config, OwnClassifierConfig):
            settings["classes"] = class_digests(targets(config.module))
        if config.pretrained:
            settings["weights"] = pretrained_source(config.architecture).to_json()
        self._add(name, settings, data=self._data.identity)

    def _tests(self) -> None:
        """Scores on the test split are results of their own: a classifier is the same whether or not somebody asks for them."""
        for name in CLASSIFIERS:
            config: AnyClassifier | None = getattr(self._config, name)
            if name in self._stages and config and config.test:
                self._add(f"{name}_test", {}, data=self._data.identity, classifier=self._identity(name))

    def _ready(self, config: DataConfig) -> None:
        """Adapter and gate are there; they stand for the stages that would have made them."""
        ready = ready_set(config)
        if _needed(self._config.sampling, "sampling").reject_copies:
            raise RequestError("data=ready has no training images to compare with; set sampling.reject_copies=false")
        if self._config.command != "generate":
            raise RequestError("data=ready has no images: only generate can use it; choose other data, as in data=phantom")
        own, named = ready.gate_module.get("_target_"), self._config.gate.module["_target_"] if self._config.gate else None
        if own and own != named:
            line = f"the gate of the set in {ready.folder} is of the class {own}, and no class runs that the request does not name"
            raise RequestError(f"{line}; set gate._target_={own}, if you trust it")
        if not own and isinstance(self._config.gate, OwnClassifierConfig):
            raise RequestError(f"gate._target_={named} has no effect: the set in {ready.folder} has a gate of ours; leave it out")
        if ready.base != self._base.identity:
            raise RequestError(f"the set in {ready.folder} belongs to base {ready.base}, not to {self._base.identity}; choose its own")
        self._given = {"finetune": ready.adapter_identity, "gate": ready.gate_identity}

    def _cache(self) -> None:
        book = self._data.prompts
        settings = {
            "augment": _needed(self._config.objective, "objective").augment,
            "canvas": _needed(self._config.base, "base").canvas,
            "prompts": digest([list(book.captions(c.index, paraphrases=True)) for c in book.space.classes]),
            "captions": self._data.captions.digest if self._data.captions else None,
        }
        self._add("cache", settings, data=self._data.identity, base=self._base.identity)

    def _finetune(self) -> None:
        config = self._config
        lora = _needed(config.lora, "lora")
        trainer = _needed(config.trainer, "trainer")
        made_of = [config.optimizer, config.schedule, config.finetune, {"_target_": trainer.target}]
        callbacks = changing(config.other_callbacks)
        if config.validation.every and not config.validation.is_shipped:
            callbacks[REGENERATION] = config.validation.callback
        never_retried = () if trainer.retries else _OF_RETRIES
        unread = {"paraphrases"} if self._data.captions else set()  # of a class's prompts; images have captions of their own
        settings = {
            **trainer.model_dump(mode="json", exclude={"target", "threads", "warmup_steps", *never_retried, *WATCHING}),
            **_schedule_settings(config),
            **_needed(config.objective, "objective").model_dump(mode="json", exclude=unread),
            **lora.model_dump(mode="json", exclude={"start"}),
            "alpha": lora.alpha or lora.rank,
            "optimizer": dict(config.optimizer),
            "seed": config.seed,
            "module": {} if config.finetune == {"_target_": FINETUNE_TARGET} else config.finetune,
            "trainer": trainer.target,
            "callbacks": callbacks,
            "classes": class_digests(targets([*made_of, callbacks])),
            "debug": config.debug.name if config.debug else "none",
            "devices": (trainer.devices or 1) if lora.dropout else 1,  # each has masks of its own
        }
        parents = {"cache": self._identity("cache"), "base": self._base.identity}
        if lora.start:
            parents["start"] = adapter_identity(Path(lora.start), self._base.identity)
        if config.validation.every:
            settings["validation"] = config.validation.model_dump(mode="json", include={"every", "n"})
            settings["sampling"] = self._first_attempts(_OF_FILLING)
            parents["gate"] = self._identity("gate")
        self._add("finetune", settings, **parents)

    def _generate(self) -> None:
        sampling = _needed(self._config.sampling, "sampling")
        settings = {**self._sampling(), "request": self._request(), "classes": class_digests(targets([sampling.rules, sampling.retry]))}
        parents = {name: self._identity(name) for name in ("finetune", "gate")}
        if sampling.look_after:
            self._add("look", {**self._first_attempts(_OF_SLOTS), "classes": class_digests(targets(sampling.rules))}, **parents)
            parents["look"] = self._identity("look")
        self._add("generate", settings, **parents)

    def _reference(self) -> None:
        compared = _needed(self._config.evaluate, "evaluate").model_dump(mode="json", exclude={"prompts", "metrics", "judges"})
        settings = {**compared, "canvas": _needed(self._config.base, "base").canvas, "protocol": PROTOCOL}
        parents = {"data": self._data.identity, "base": self._base.identity}
        self._add("reference", settings, **parents, judge=self._identity("judge"), gate=self._identity("gate"))

    @property
    def _panel(self) -> dict[str, AnyClassifier]:
        """The further judges of an evaluation, by the names of their stages."""
        evaluate = _needed(self._config.evaluate, "evaluate")
        return {f"{PANEL_JUDGE}{name}": judge for name, judge in evaluate.judges.items()}

    def _panel_scores(self) -> None:
        if self._panel:
            parents = {name: self._identity(name) for name in ("gate", "judge", *self._panel)}
            settings = {"split": _needed(self._config.evaluate, "evaluate").split, "protocol": PROTOCOL}
            self._add("panel", settings, data=self._data.identity, **parents)

    def _evaluate(self) -> None:
        evaluate = _needed(self._config.evaluate, "evaluate")
        scored = evaluate.model_dump(mode="json", exclude={"judges"})  # they are parents
        settings = {**scored, "protocol": PROTOCOL, "classes": class_digests(targets(evaluate.metrics))}
        parents = {name: self._identity(name) for name in ("generate", "judge", "gate", *self._panel)}
        self._add("evaluate", settings, data=self._data.identity, **parents)

    def _request(self) -> dict[str, Any]:
        """The prompt of each class that is drawn, and how often; slots of an evaluation have a stream of their own."""
        if self._config.command != "generate":
            evaluate = _needed(self._config.evaluate, "evaluate")
            worded = {} if evaluate.prompts == "canonical" else {"prompts": evaluate.prompts, **self._own_held_out(evaluate.prompts)}
            return {"stream": "eval", "n": evaluate.n, **worded}
        request = _needed(self._config.generate, "generate")
        prompts = requested_prompts(request, self._data.prompts)
        if request.shards > request.n * len(prompts):
            raise RequestError(f"shards={request.shards} are more than the {request.n * len(prompts)} images asked for; lower it")
        shard = {"shard": request.shard, "shards": request.shards} if request.shards > 1 else {}
        return {"stream": "generate", "n": request.n, "prompts": {str(k): prompt for k, prompt in sorted(prompts.items())}, **shard}

    def _own_held_out(self, kind: str) -> dict[str, Any]:
        """Prompts that no caption is made of, so that only the evaluation depends on them: the user's own, by their digest."""
        book = self._data.prompts
        silent = next((c.slug for c in book.space.classes if not book.wordings(c.index, kind)), None)
        if silent:
            raise RequestError(f"evaluate.prompts={kind}, and {silent} has none; add some to data.prompts, or choose canonical")
        own = self._config.data and self._config.data.prompts and kind == "held_out"
        return {"words": digest([list(c.held_out) for c in book.classes])} if own else {}

    def _sampling(self) -> dict[str, Any]:
        """What decides which images are drawn; options that were added later count where they are not at their first value.

        So does what the program changes of the base's own scheduler, and how often the denoiser is asked, if not once a step.

        Raises:
            RequestError: the scheduler cannot do what is asked for.
        """
        sampling = _needed(self._config.sampling, "sampling")
        config = scheduler_config(self._base)
        scheduler = scheduler_of(sampling.scheduler, config.get("_class_name", ""), config)
        scheduler.check(sampling)
        usual = {name for name, value in _USUAL_SAMPLING.items() if getattr(sampling, name) == value}
        usual |= set() if sampling.look_after else set(_OF_LOOK)
        # which slots a limit leaves open, and what is tried ahead, depends on the batches
        usual |= set() if sampling.calls or sampling.seconds or sampling.speculate else {"batch_size"}
        settings = sampling.model_dump(mode="json", exclude=usual)
        if scheduler.changes:
            settings["scheduler_settings"] = dict(scheduler.changes)
        evaluations = sum(scheduler.evaluations(sampling.steps))
        if evaluations != sampling.steps:
            settings["evaluations"] = evaluations
        return settings

    def _first_attempts(self, without: Sequence[str]) -> dict[str, Any]:
        """What decides which images first attempts give."""
        settings = {key: value for key, value in self._sampling().items() if key not in without}
        sampling = _needed(self._config.sampling, "sampling")
        # guidance that later attempts get has the denoiser run with and without the prompt for first ones, too
        return {**settings, "guided": True} if sampling.guidance == 1 and sampling.varies_guidance else settings

    def _identity(self, name: str) -> str:
        return self._given.get(name) or self._stages[name].identity

    @property
    def _data(self) -> DataSource:
        return _needed(self.data, "data")

    @property
    def _base(self) -> BaseSource:
        return _needed(self.base, "base")


def _schedule_settings(config: RunConfig) -> dict[str, Any]:
    """How the learning rate changes; the shipped schedules under the names that they had while ``trainer`` held them."""
    if not config.schedule:
        raise RequestError("the configuration has no group schedule; choose one, as in schedule=cosine")
    shipped = shipped_schedule(config.schedule)
    if isinstance(shipped, ConstantConfig):
        return {"schedule": "constant", "restart_steps": None, "warmup_steps": shipped.warmup_steps}
    if isinstance(shipped, CosineConfig) and (shipped.restart_steps or shipped.steps == config.trainer.max_steps):
        return {"schedule": "cosine", "restart_steps": shipped.restart_steps, "warmup_steps": shipped.warmup_steps}
    return {"schedule": config.schedule}


def _needed(settings: _Settings | None, group: str) -> _Settings:
    if settings is None:
        raise RequestError(f"the configuration has no group {group}; choose one, as in {group}=<option>")
    return settings


def planned_images(config: RunConfig, made: Plan) -> int:
    """The most images that a trial may write: every slot with its whole budget where rejected images are kept."""
    sampling, request = config.sampling, next((s.settings["request"] for s in made.stages if s.name == "generate"), None)
    if sampling is None or request is None:
        return 0
    if request["stream"] == "generate":
        return -(-len(request["prompts"]) * int(request["n"]) // int(request.get("shards", 1)))
    return len(data_source(_needed(config.data, "data")).space) * int(request["n"]) * sampling.attempts
