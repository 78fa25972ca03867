"""The schemas. Every value is checked here once, so that a wrong one is told before anything is written or trained."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from pathsynth.config.lightning import why_refused
from pathsynth.config.objects import require_target

TARGET_GROUPS = ("attention", "attention+conv", "all-linear", "all")
"""Groups of a UNet's layers that ``lora.targets`` can name; ``all`` are attention, convolutions and the linear layers between."""
REGEX = "regex:"
STANDARD_RETRY = "pathsynth.sampling.retry.StandardRetry"
CAPTIONS_BESIDE = "txt"
"""Of ``data.captions``: a text file beside each image."""

_MEDMNIST = ("pathmnist", "medmnist")
_DATA_KEYS = {
    "root": (*_MEDMNIST, "folder", "ready", "own"),
    "seed": ("phantom", "folder"),
    **dict.fromkeys(("allow_subset", "download"), _MEDMNIST),
    "symmetry": ("folder", "own"),
    **dict.fromkeys(("classes", "val_share", "test_share", "group", "captions"), ("folder",)),
}
"""Keys of the group data that some sets only have; others refuse another value than the default."""
CLASSIFIER = "pathsynth.training.classifier.ClassifierModule"
"""The LightningModule that gates and judges are, unless their ``_target_`` names another."""
OWN_OPTIONS = {"gate": "own_gate", "judge": "own_judge", "classifier": "own_gate"}
"""By group: the option of the group classifier that holds no argument of ours, for a class of the user's."""

_CSV = "pytorch_lightning.loggers.CSVLogger"
REGENERATION = "regeneration"
"""The callback that validates, among ``callbacks``: the program gives it what draws and what judges, and reads ``every`` and ``n``."""
FINETUNE_TARGET = "pathsynth.training.lora_module.LoraFinetuning"
TRAINER_TARGET = "pytorch_lightning.Trainer"
_REGENERATION_TARGET = "pathsynth.training.regeneration.RegenerationCallback"
_MOST_STEPS = 10**9
"""At a thousandth of a second a step, twelve days; more is a slip of the keyboard."""


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(_Group):
    """``allow_subset`` and ``download`` belong to pathmnist and medmnist, ``flag`` (which of its sets) to medmnist alone.

    ``symmetry``, ``classes``, ``group`` and the shares of val and test belong to folder. ``group``: ``regex:`` and a pattern that finds the
    patient or slide in an image's path, or ``csv:`` and a file with the columns file and group; groups never straddle splits or halves.

    ``prompts``: a YAML file with names and prompts of classes, in place of those that the data set has.

    ``captions`` (folder alone): what the fine-tune learns each training image with, in place of its class's prompts: ``txt`` (a text file
    beside each image), or a ``.jsonl`` or ``.csv`` file with file_name and text.

    ready: no images, but an adapter with its gate, in ``root``; ``size`` must be that of the set.

    own: a class of the user's; ``module`` holds its ``_target_`` and its arguments. ``size`` and ``root`` are handed to it, too.

    ``seed`` is the phantom's, and of a folder's splits. The counts are the images of a split; 0 means all that there are.
    """

    name: Literal["phantom", "pathmnist", "medmnist", "folder", "ready", "own"]
    size: int = Field(ge=16, le=512)
    seed: int = Field(0, ge=0)
    n_train: int = Field(0, ge=0)
    n_val: int = Field(0, ge=0)
    n_test: int = Field(0, ge=0)
    root: str | None = None
    flag: str | None = None
    allow_subset: bool = False
    download: bool = False
    symmetry: Literal["d4", "none"] = "none"
    classes: tuple[str, ...] = ()
    val_share: float = Field(0.1, gt=0, lt=1)
    test_share: float = Field(0.1, gt=0, lt=1)
    group: str | None = None
    prompts: str | None = None
    captions: str | None = None
    module: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _of_a_class(cls, values: Any) -> Any:
        """The class is loaded, and what it gives is checked, by a process of its own."""
        if not isinstance(values, dict) or "_target_" not in values:
            return values
        require_target("data", values, "my_data.MyData")
        if values.get("name") != "own":
            named = f"data._target_ and data.name={values.get('name')}"
            raise ValueError(f"{named} name two data sets; add data=own, or leave data._target_ out")
        module = {key: value for key, value in values.items() if key not in cls.model_fields}
        return {**{key: value for key, value in values.items() if key in cls.model_fields}, "module": module}

    @model_validator(mode="after")
    def _names_a_class(self) -> DataConfig:
        if (self.name == "own") != bool(self.module.get("_target_")):
            raise ValueError("a data set of your own is named by data._target_, as in my_data.MyData; choose data=own to start from")
        return self

    @field_validator("captions")
    @classmethod
    def _names_captions(cls, captions: str | None) -> str | None:
        if captions is not None and captions != CAPTIONS_BESIDE and not captions.lower().endswith((".jsonl", ".csv")):
            raise ValueError(f"data.captions should be txt, or a .jsonl or .csv file with file_name and text, got {captions!r}")
        return captions

    @field_validator("group")
    @classmethod
    def _finds_groups(cls, group: str | None) -> str | None:
        if group is None:
            return None
        kind, _, rest = group.partition(":")
        if kind not in ("regex", "csv") or not rest:
            raise ValueError(f"data.group should be regex:<pattern> or csv:<file>, got {group!r}")
        try:
            re.compile(rest if kind == "regex" else "")
        except re.error as error:
            raise ValueError(f"data.group={group} is no regular expression: {error}") from error
        return group

    @model_validator(mode="after")
    def _goes_together(self) -> DataConfig:
        if self.val_share + self.test_share >= 1:
            both = f"data.val_share={self.val_share:g} and data.test_share={self.test_share:g}"
            raise ValueError(f"{both} leave nothing for train; their sum should be less than 1")
        for key, names in _DATA_KEYS.items():
            if self.name not in names and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"data.{key} belongs to data={', '.join(names)}, and data.name is {self.name}; leave it out")
        if self.prompts and self.name == "ready":
            raise ValueError("data.prompts belongs to data that is trained on; a ready set has the words it was trained with: leave it out")
        return self

    @model_validator(mode="after")
    def _flag_of_medmnist(self) -> DataConfig:
        if (self.name == "medmnist") != (self.flag is not None):
            raise ValueError(f"data.flag belongs to data=medmnist, and data.name is {self.name}; set both or neither")
        return self


class BaseConfig(_Group):
    """A folder (``path``) or a hub id with a pinned revision. ``canvas``: pixels drawn; null rounds the data's size up.

    ``lr``: the learning rate that each shipped option of ``optimizer`` takes on this base.
    """

    name: str
    path: str | None = None
    hub: str | None = None
    revision: str | None = None
    canvas: int | None = Field(None, ge=16)
    lr: dict[str, float] = Field(default_factory=dict)


class ClassifierTraining(_Group):
    """What the program does around any classifier: the part of train it sees, for how long, and how images are changed.

    ``augment_d4``: all eight orientations, where the label space allows them. ``augment_noise``: slight blur and sensor noise.
    ``tta_d4``: its answer is the mean over the eight orientations of an image, where the label space allows them.
    ``patience``: epochs without a better val macro-F1. ``test``: score the test split too, once, when training has ended; the
    classifier stays the same.
    """

    part: Literal["a", "b", "all"]
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    augment_d4: bool
    augment_stain: bool
    augment_noise: bool = False
    tta_d4: bool = False
    patience: int = Field(ge=1)
    seed: int = Field(ge=0)
    test: bool = False


class ClassifierConfig(ClassifierTraining):
    """A timm architecture, and how its weights are trained: the arguments of ``CLASSIFIER``, the class that is shipped.

    ``width``: of the layers, as a share of the architecture's own (residual networks only). ``ema_decay`` 0 turns averaging of the
    weights off; averaged ones are validated and kept. ``optimizer``: muon takes orthogonal steps in each matrix, as large as AdamW's
    would be (Jordan 2024; timm's).
    """

    architecture: str
    stem: Literal["small", "stock"]
    pretrained: bool
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    width: float = Field(1.0, gt=0, le=2)
    ema_decay: float = Field(0.0, ge=0, lt=1)

    @property
    def title(self) -> str:
        """What its runs and metrics are called by."""
        return self.architecture

    @property
    def module(self) -> dict[str, Any]:
        """The LightningModule: its class, and the arguments that the configuration gives it."""
        names = [name for name in type(self).model_fields if name not in ClassifierTraining.model_fields]
        return {"_target_": CLASSIFIER, **{name: getattr(self, name) for name in names}}


class OwnClassifierConfig(ClassifierTraining):
    """A LightningModule of the user's: ``module`` holds its ``_target_`` and its arguments, which its class checks."""

    module: dict[str, Any]

    pretrained: ClassVar[bool] = False

    @property
    def has_arguments_of_ours(self) -> bool:
        """Whether it stands on an option that was made for ``CLASSIFIER``; a class that inherits from that takes them, no other does."""
        ours = ClassifierConfig.model_fields.keys() - ClassifierTraining.model_fields.keys()
        return ours <= self.module.keys()

    @property
    def architecture(self) -> str:
        """The full name of its class."""
        return str(self.module["_target_"])

    @property
    def title(self) -> str:
        """What its runs and metrics are called by: the last name of its class."""
        return self.architecture.rpartition(".")[2]


AnyClassifier = OwnClassifierConfig | ClassifierConfig


def classifier_of(group: str, values: Mapping[str, Any]) -> AnyClassifier:
    """The settings of a classifier: ours, or the user's where ``_target_`` names another class.

    Raises:
        ValueError: ``_target_`` names no class, or a value is wrong.
    """
    if "module" in values:  # as a manifest holds it
        return OwnClassifierConfig.model_validate(values)
    plain = {name: value for name, value in values.items() if name != "_target_"}
    if values.get("_target_", CLASSIFIER) == CLASSIFIER:
        return ClassifierConfig.model_validate(plain)
    require_target(group, values, "my_gate.MyGate")
    known = ClassifierTraining.model_fields
    training = {name: value for name, value in plain.items() if name in known}
    arguments = {name: value for name, value in plain.items() if name not in known}
    return OwnClassifierConfig.model_validate({**training, "module": {"_target_": values["_target_"], **arguments}})


def _judge_of_panel(values: Any) -> Any:
    return classifier_of("evaluate.judges", values) if isinstance(values, Mapping) else values


PanelJudge = Annotated[OwnClassifierConfig | ClassifierConfig, BeforeValidator(_judge_of_panel)]


class LoraConfig(_Group):
    """``alpha`` null means: as large as the rank.

    ``targets``: a group of layers (``TARGET_GROUPS``), a list of ends of module names, or ``regex:`` and a pattern that whole
    names match. ``dora``: a magnitude of its own for each output (arXiv 2402.09353; linear layers only). ``rslora``: the
    scale is alpha/√rank (arXiv 2312.03732). ``text_encoder``: its attention layers are adapted, too, so that prompts are encoded
    in each step. ``start``: an adapter's folder or file, whose tensors the training begins with.
    """

    rank: int = Field(ge=1)
    alpha: int | float | None = Field(None, gt=0)
    dropout: float = Field(ge=0, lt=1)
    targets: str | tuple[str, ...]
    dora: bool = False
    rslora: bool = False
    init: Literal["gaussian", "default"] = "gaussian"
    text_encoder: bool = False
    start: str | None = None

    @field_validator("alpha", mode="before")
    @classmethod
    def _whole_alpha(cls, alpha: Any) -> Any:
        """16.0 is 16, so that both are one adapter."""
        return int(alpha) if isinstance(alpha, float) and alpha.is_integer() else alpha

    @field_validator("targets")
    @classmethod
    def _known_targets(cls, targets: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(targets, tuple):
            if not targets:
                raise ValueError("lora.targets names no module; choose one of " + ", ".join(TARGET_GROUPS))
            return targets
        if targets.startswith(REGEX):
            try:
                re.compile(targets.removeprefix(REGEX))
            except re.error as error:
                raise ValueError(f"lora.targets={targets} is no regular expression: {error}") from error
        elif targets not in TARGET_GROUPS:
            close = difflib.get_close_matches(targets, TARGET_GROUPS, n=1)
            nearest = f"; nearest: {close[0]}" if close else ""
            raise ValueError(f"lora.targets should be {', '.join(TARGET_GROUPS)}, a list of modules or regex:…, got {targets!r}{nearest}")
        return targets

    @model_validator(mode="after")
    def _reloads_on_the_text_encoder(self) -> LoraConfig:
        if self.dora and self.text_encoder:
            raise ValueError("lora.dora=true cannot be reloaded on a text encoder; set lora.text_encoder=false")
        return self

    @field_validator("init", mode="before")
    @classmethod
    def _reloads(cls, init: Any) -> Any:
        if isinstance(init, str) and init.lower().startswith(("pissa", "olora", "corda", "loftq")):
            raise ValueError(f"lora.init={init} changes the frozen base, so its adapter does not reload; choose gaussian or default")
        return init


class LightningConfig(_Group):
    """Arguments of Lightning's Trainer that the fine-tune passes on, under Lightning's names; null leaves Lightning's choice.

    All but ``WATCHING`` enter the adapter's identity. ``profiler`` writes its table into the trial's folder.
    """

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] | None = None
    devices: int | None = Field(None, ge=1)
    log_every_n_steps: int | None = Field(None, ge=1)
    profiler: Literal["simple", "advanced"] | None = None
    enable_model_summary: bool | None = None
    enable_autolog_hparams: bool | None = None
    detect_anomaly: bool | None = None
    inference_mode: bool | None = None
    deterministic: Literal[True, False, "warn"] | None = None
    benchmark: bool | None = None
    gradient_clip_algorithm: Literal["norm", "value"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _leaves_ours_alone(cls, values: Any) -> Any:
        for key in values if isinstance(values, dict) else ():
            reason = why_refused(str(key))
            if reason:
                raise ValueError(f"trainer.{key} cannot be set: {reason}")
        return values


class TrainerConfig(LightningConfig):
    """``ema_decay`` 0 turns averaging off; ``threads`` null shares the cores among the workers.

    ``checkpoint_every``: steps between two points from which a killed fine-tune goes on; the last ``keep_checkpoints`` are kept.
    ``target``: the class, Lightning's Trainer or one made from it. ``warmup_steps``: of the learning rate, for the shipped options of
    ``schedule``. ``gradient_checkpointing``: computes activations twice to hold fewer of them in memory.
    ``channels_last``: the layout of the UNet's images in memory; which is faster depends on the processor. ``compile``: the UNet
    by ``torch.compile``. ``explosion``: the fine-tune has diverged when the running mean of its loss is so many times its lowest
    (null: only when it is not finite). ``retries``: how often it then goes on from its last good checkpoint, each time with the
    learning rate multiplied by ``retry_factor``. ``devices``: a process each; ``batch_size`` is that of all together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True)

    target: str = Field(TRAINER_TARGET, alias="_target_")
    max_steps: int = Field(ge=1, le=_MOST_STEPS)
    batch_size: int = Field(ge=1)
    accumulate: int = Field(ge=1)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    gradient_clip_val: float = Field(ge=0)
    warmup_steps: int = Field(ge=0)
    gradient_checkpointing: bool = False
    ema_decay: float = Field(ge=0, lt=1)
    threads: int | None = Field(None, ge=1)
    checkpoint_every: int = Field(50, ge=1)
    keep_checkpoints: int = Field(2, ge=1)
    channels_last: bool = False
    compile: bool = False
    explosion: float | None = Field(None, gt=1)
    retries: int = Field(0, ge=0)
    retry_factor: float = Field(0.5, gt=0, lt=1)

    @model_validator(mode="after")
    def _has_equal_shares(self) -> TrainerConfig:
        if self.batch_size % (self.devices or 1):
            shared = f"trainer.batch_size={self.batch_size} cannot be shared out among trainer.devices={self.devices}"
            raise ValueError(f"{shared}; set a multiple")
        return self


class CosineConfig(_Group):
    """Arguments of the shipped schedule ``cosine``. ``restart_steps``: of the first cosine, each next one is twice as long; null: one."""

    steps: int = Field(ge=1)
    warmup_steps: int = Field(0, ge=0)
    restart_steps: int | None = Field(None, ge=1)


class ConstantConfig(_Group):
    """Arguments of the shipped schedule ``constant``."""

    warmup_steps: int = Field(0, ge=0)


_SHIPPED_SCHEDULES: Mapping[str, type[CosineConfig] | type[ConstantConfig]] = {
    "pathsynth.training.schedules.cosine": CosineConfig,
    "pathsynth.training.schedules.constant": ConstantConfig,
}
_OF_A_METRIC = ("ReduceLROnPlateau", "PlateauLRScheduler")


def shipped_schedule(settings: Mapping[str, Any]) -> CosineConfig | ConstantConfig | None:
    """The arguments of a schedule of this program; None for other classes.

    Raises:
        ValidationError: one is missing, unknown or out of range.
    """
    kind = _SHIPPED_SCHEDULES.get(settings["_target_"])
    return kind.model_validate({key: value for key, value in settings.items() if key != "_target_"}) if kind else None


class ObjectiveConfig(_Group):
    """What the denoiser is trained on. ``augment``: the orientations that the label space allows."""

    min_snr_gamma: float | None = Field(None, gt=0)
    noise_offset: float = Field(ge=0)
    caption_dropout: float = Field(ge=0, le=1)
    paraphrases: bool
    augment: bool


class ValidationConfig(_Group):
    """What ``callbacks.regeneration`` says: a validation every ``every`` steps (0: never), on ``n`` slots of each class.

    ``callback``: the ``_target_`` of the class that fills them, and arguments of its own.
    """

    every: int = Field(0, ge=0)
    n: int = Field(1, ge=1)
    callback: dict[str, Any] = Field(default_factory=lambda: {"_target_": _REGENERATION_TARGET})

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ValidationConfig:
        """From the settings of the callback, which hold the two numbers among its other arguments."""
        numbers = {key: settings[key] for key in ("every", "n") if key in settings}
        return cls(**numbers, callback={key: value for key, value in settings.items() if key not in numbers})

    @property
    def is_shipped(self) -> bool:
        """Whether the callback is this program's, without further arguments."""
        return self.callback == {"_target_": _REGENERATION_TARGET}


class SamplingConfig(_Group):
    """Denoising steps, guidance scale, and the rejection sampler's budget (``attempts`` a slot).

    What the gate must give an image: the class asked for first, with ``threshold`` probability, ``margin`` above the next.

    ``precision``: of the UNet's arithmetic; bf16-mixed is faster where the processor has it, and gives slightly other images.
    ``deterministic``: batches of one shape, so that the batch size, a kill or a replay changes not one bit of an image.
    ``scheduler``: a diffusers class that takes the base's noise schedule; null: the base's own. ``guidance_rescale``: by how much of the
    way the guided prediction is brought back to the spread of the unguided one (Lin et al., arXiv 2305.08891, section 3.4), against
    the washed-out colours of much guidance; 0: not at all.
    ``guidance_step``: how much more guidance each further attempt at a slot gets; 0: a new seed alone, as in the paper.
    ``speculate``: batches that open slots do not fill take their next attempts, too; the same images are accepted, sooner.
    ``calls`` (of the denoiser) and ``seconds`` limit a whole generation, not a slot; null: no limit.
    ``reject_copies``: the gate also rejects what lies nearer to a training image, in its features, than 99% of real val images do.
    ``revise``: the share of the steps that a further attempt at a slot takes again, from its rejected image noised anew; 0: it starts
    from noise. ``look_after``: a generation gives up, after so many steps, the candidates that are hopeless by then; null: none.
    Hopeless is what few of those that the gate would accept are: ``look_loss`` of them at most, on ``look_n`` slots of each class.
    ``rules``: further rules of acceptance, each a class of the user's own under a name, with its arguments.
    ``retry``: the strategy of further attempts at a slot; empty: the standard one, which ``guidance_step`` and ``revise`` belong to.
    """

    steps: int = Field(ge=1, le=1000)
    guidance: float = Field(ge=1)
    batch_size: int = Field(ge=1)
    seed: int = Field(ge=0)
    attempts: int = Field(ge=1)
    threshold: float = Field(ge=0, le=1)
    margin: float = Field(0, ge=0, le=1)
    guidance_step: float = Field(0, ge=0)
    guidance_rescale: float = Field(0, ge=0, le=1)
    scheduler: Literal["DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler", "UniPCMultistepScheduler"] | None = None
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    deterministic: bool = False
    speculate: bool = False
    calls: int | None = Field(None, ge=1)
    seconds: float | None = Field(None, gt=0)
    reject_copies: bool = False
    revise: float = Field(0, ge=0, lt=1)
    look_after: int | None = Field(None, ge=1)
    look_loss: float = Field(0.02, ge=0, lt=1)
    look_n: int = Field(20, ge=2)
    rules: dict[str, dict[str, Any]] = Field({})
    retry: dict[str, Any] = Field({"_target_": STANDARD_RETRY}, validate_default=True)

    @field_validator("rules")
    @classmethod
    def _name_rules(cls, rules: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, rule in rules.items():
            require_target(f"sampling.rules.{name}", rule, "my_rule.MyRule")
        return rules

    @field_validator("retry")
    @classmethod
    def _name_a_strategy(cls, retry: dict[str, Any]) -> dict[str, Any]:
        """The standard one is the usual: results that are older than the key have it, too."""
        if retry in ({}, {"_target_": STANDARD_RETRY}):
            return {}
        require_target("sampling.retry", retry, "my_retry.MyRetry")
        return retry

    @model_validator(mode="after")
    def _go_together(self) -> SamplingConfig:
        for key in ("guidance_step", "revise") if self.retry else ():
            if getattr(self, key):
                raise ValueError(f"sampling.{key} belongs to {STANDARD_RETRY}, and sampling.retry._target_ names another strategy; "
                                 f"set sampling.{key}=0, or leave sampling.retry out")
        if self.speculate and self.retry:
            raise ValueError("sampling.speculate=true starts an attempt before the one before it is judged, and a strategy of your own in "
                             "sampling.retry may depend on that; set sampling.speculate=false")
        if self.look_after and self.look_after >= self.steps:
            raise ValueError(f"sampling.look_after={self.look_after} is no step before the last of sampling.steps={self.steps}; lower it")
        if self.speculate and (self.revise or self.look_after):
            raise ValueError("sampling.speculate=true starts an attempt before the one is judged that it would revise or wait for; "
                             "set it to false, or sampling.revise=0 and sampling.look_after=null")
        return self

    @property
    def calls_an_evaluation(self) -> int:
        """With guidance the denoiser runs twice for a prediction, with the prompt and without."""
        return 2 if self.guidance > 1 or self.varies_guidance else 1

    @property
    def varies_guidance(self) -> bool:
        """Whether further attempts at a slot may get another guidance than the first."""
        return bool(self.guidance_step or self.retry)

    @property
    def half(self) -> bool:
        return self.precision == "bf16-mixed"


class DebugConfig(_Group):
    """``name``: what a debug option is for. "overfit": the loss must fall; any but "none" has adapters of its own."""

    name: Literal["none", "fast_dev_run", "overfit", "profile"]


class GenerateConfig(_Group):
    """What to draw: a prompt (``label`` settles its class), or labels; ``n`` images of each.

    One of ``shards`` processes draws every so-many-th slot, from the ``shard``-th on (counted from 0).
    """

    prompt: str | None = None
    label: str | None = None
    labels: str | tuple[str, ...] = "all"
    n: int = Field(4, ge=1)
    shard: int = Field(0, ge=0)
    shards: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _asks_for_something(self) -> GenerateConfig:
        labels = [self.labels] if isinstance(self.labels, str) else self.labels
        for key, words in (("label", self.label), ("prompt", self.prompt), ("labels", "".join(labels))):
            if words is not None and not words.strip(" ,"):
                raise ValueError(f"{key}= is empty (an unset variable?); give it a value, or leave it out")
        return self

    @model_validator(mode="after")
    def _is_one_of_them(self) -> GenerateConfig:
        if self.shard >= self.shards:
            raise ValueError(f"shard={self.shard} is none of shards={self.shards}; they are counted from 0")
        return self


class EvaluateConfig(_Group):
    """``n`` slots a class; ``split`` is the real reference ("test" is computed only when asked for).

    ``prompts``: what images are asked for with: the canonical prompt of each class, the paraphrases that captions may be in training, or
    those that never are; the latter two take turns. ``metrics``: further metrics, each a class of the user's own under the name that its
    records have, with its arguments. ``judges``: a panel of further classifiers by name, which score the images and choose nothing.
    """

    n: int = Field(ge=1)
    split: Literal["val", "test"]
    prompts: Literal["canonical", "paraphrases", "held_out"] = "canonical"
    metrics: dict[str, dict[str, Any]] = Field({})
    judges: dict[str, PanelJudge] = Field({})

    @field_validator("judges", mode="before")
    @classmethod
    def _name_judges(cls, judges: Any) -> Any:
        for name, judge in judges.items() if isinstance(judges, Mapping) else ():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", str(name)) or name == "test":
                raise ValueError(f"evaluate.judges.{name}: name a judge by lower-case letters, digits and _, and not test")
            if isinstance(judge, Mapping) and judge.get("_target_", CLASSIFIER) != CLASSIFIER:
                require_target(f"evaluate.judges.{name}", judge, "my_gate.MyGate")
            if isinstance(judge, Mapping) and judge.get("test"):
                raise ValueError(f"evaluate.judges.{name}.test has no effect: the panel is scored on evaluate.split; leave it out")
        return judges

    @field_validator("metrics")
    @classmethod
    def _name_metrics(cls, metrics: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, metric in metrics.items():
            require_target(f"evaluate.metrics.{name}", metric, "my_metric.MyMetric")
        return metrics


class TrackingConfig(_Group):
    """W&B, nothing, or a Lightning logger: ``_target_`` and its arguments, which are kept in ``logger``.

    ``mode`` null: online with a W&B key at hand, else offline.
    """

    name: Literal["wandb", "none", "logger"]
    project: str = "pathsynth"
    entity: str | None = None
    mode: Literal["online", "offline", "disabled"] | None = None
    logger: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _of_a_class(cls, values: Any) -> Any:
        """The class is loaded, and its arguments are checked by it, where torch is."""
        if not isinstance(values, dict) or "_target_" not in values:
            return values
        require_target("tracking", values, _CSV)
        if values.get("name") in ("wandb", "none"):
            raise ValueError(f"tracking._target_ and tracking.name={values['name']} name two loggers; add tracking=csv, then set its keys")
        return {"name": "logger", "logger": dict(values)}

    @model_validator(mode="after")
    def _names_a_class(self) -> TrackingConfig:
        if (self.name == "logger") != bool(self.logger.get("_target_")):
            raise ValueError(f"a logger of your own is named by tracking._target_, as in {_CSV}; choose tracking=csv to start from")
        return self


class StudyConfig(_Group):
    """``name`` is the folder below ``multirun/`` that the trials lie in.

    A trial that failed is tried again by later commands until it has failed ``1 + retry_failed`` times. ``force`` lifts that
    limit, and carries a finished trial out again (its stages are there, so only what its folder shows is made anew).
    ``fail_fast``: the first failure stops the study. ``lease_seconds``: a trial whose process has shown no sign of life
    for so long is taken over by another that was given the same study. ``stop_seconds``: a trial that was asked to stop and
    has not ended after so long is killed; Slurm kills 30 seconds after it asks. ``isolation``: a trial has a process of its own, or
    runs in the command's (inline), where a debugger has the terminal and a crash ends the command. ``dry_run``: say what would
    be done, and do nothing.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    question: str = ""
    retry_failed: int = Field(2, ge=0)
    force: bool = False
    fail_fast: bool = False
    lease_seconds: float = Field(60.0, ge=1)
    stop_seconds: float = Field(20.0, gt=0)
    isolation: Literal["process", "inline"] = "process"
    dry_run: bool = False


class PretrainConfig(_Group):
    """The embedded base: its sizes and how long decoder and denoiser are trained. ``root`` holds cifar10.tar."""

    root: str | None = None
    seed: int = Field(ge=0)
    latent_channels: int = Field(ge=1, le=48)
    channels: tuple[int, ...] = Field(min_length=1)
    decoder_steps: int = Field(ge=1, le=_MOST_STEPS)
    decoder_lr: float = Field(gt=0)
    steps: int = Field(ge=1, le=_MOST_STEPS)
    batch_size: int = Field(ge=1)
    lr: float = Field(gt=0)


class RunConfig(_Group):
    """All settings of one trial. A command reads the groups it needs; the others are absent."""

    command: Literal["run", "pretrain", "classify", "finetune", "generate", "evaluate"]
    seed: int = Field(0, ge=0)
    multirun: str = "multirun"
    study: StudyConfig
    tracking: TrackingConfig
    trainer: TrainerConfig
    data: DataConfig | None = None
    base: BaseConfig | None = None
    classifier: OwnClassifierConfig | ClassifierConfig | None = None
    gate: OwnClassifierConfig | ClassifierConfig | None = None
    judge: OwnClassifierConfig | ClassifierConfig | None = None
    lora: LoraConfig | None = None
    optimizer: dict[str, Any] = Field(default_factory=dict)
    schedule: dict[str, Any] = Field(default_factory=dict)
    finetune: dict[str, Any] = Field(default_factory=lambda: {"_target_": FINETUNE_TARGET})
    objective: ObjectiveConfig | None = None
    sampling: SamplingConfig | None = None
    generate: GenerateConfig | None = None
    evaluate: EvaluateConfig | None = None
    pretrain: PretrainConfig | None = None
    callbacks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    debug: DebugConfig | None = None

    @field_validator("classifier", "gate", "judge", mode="before")
    @classmethod
    def _ours_or_own(cls, values: Any, info: ValidationInfo) -> Any:
        return classifier_of(str(info.field_name), values) if isinstance(values, Mapping) else values

    @field_validator("callbacks")
    @classmethod
    def _name_classes(cls, callbacks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """One whose ``_target_`` is null is left out, whatever a study sets of it."""
        kept = {name: callback for name, callback in callbacks.items() if callback.get("_target_", name) is not None}
        for name, callback in kept.items():
            example = _REGENERATION_TARGET if name == REGENERATION else "pytorch_lightning.callbacks.EarlyStopping"
            require_target(f"callbacks.{name}", callback, example)
        if REGENERATION in kept:
            numbers = _checked_numbers(f"callbacks.{REGENERATION}", kept[REGENERATION])
            kept[REGENERATION] = {**kept[REGENERATION], **numbers}
        return kept

    @field_validator("schedule")
    @classmethod
    def _names_a_schedule(cls, schedule: dict[str, Any]) -> dict[str, Any]:
        if schedule:
            require_target("schedule", schedule, "torch.optim.lr_scheduler.StepLR")
            if schedule["_target_"].endswith(_OF_A_METRIC):
                raise ValueError(f"schedule._target_={schedule['_target_']} follows a metric; name one that follows the steps")
        return schedule

    @field_validator("finetune")
    @classmethod
    def _names_a_module(cls, finetune: dict[str, Any]) -> dict[str, Any]:
        require_target("finetune", finetune, "my_module.MyFinetune")
        return finetune

    @field_validator("trainer")
    @classmethod
    def _names_a_trainer(cls, trainer: TrainerConfig) -> TrainerConfig:
        require_target("trainer", {"_target_": trainer.target}, "my_module.MyTrainer")
        return trainer

    @model_validator(mode="after")
    def _can_follow_the_schedule(self) -> RunConfig:
        if self.schedule:
            try:
                shipped = shipped_schedule(self.schedule)
            except ValidationError as error:
                raise ValueError(_first_fault("schedule", error)) from error
            if self.trainer.retries and shipped is None:
                raise ValueError("trainer.retries lowers the rates of schedule=cosine and schedule=constant alone; set it to 0")
        return self

    @property
    def training_objects(self) -> list[dict[str, Any]]:
        """What a fine-tune is made of: settings with a ``_target_``, in them or in their values."""
        return [self.optimizer, self.schedule, self.finetune, {"_target_": self.trainer.target}, self.callbacks]

    @property
    def validation(self) -> ValidationConfig:
        """When and by what an adapter is validated: ``callbacks.regeneration``."""
        return ValidationConfig.of(self.callbacks.get(REGENERATION, {}))

    @property
    def other_callbacks(self) -> dict[str, dict[str, Any]]:
        """Those that are made of their own arguments alone."""
        return {name: callback for name, callback in self.callbacks.items() if name != REGENERATION}

    @field_validator("optimizer")
    @classmethod
    def _names_a_class(cls, optimizer: dict[str, Any]) -> dict[str, Any]:
        """The class is loaded, and its arguments are checked by it, where torch is; what is surely wrong is told before."""
        if optimizer:
            require_target("optimizer", optimizer, "torch.optim.AdamW")
        groups = optimizer.get("group_lr") or {}
        if not isinstance(groups, dict):
            raise ValueError(f"optimizer.group_lr should be rates by group, as in +optimizer.group_lr.unet_up=1e-2, got {groups!r}")
        for key, rate in {"lr": optimizer.get("lr"), **{f"group_lr.{name}": rate for name, rate in groups.items()}}.items():
            if (key != "lr" or rate is not None) and not (isinstance(rate, (int, float)) and rate > 0):
                raise ValueError(f"optimizer.{key} should be a number greater than 0, got {rate!r}")
        return optimizer


def _checked_numbers(key: str, settings: Mapping[str, Any]) -> dict[str, int]:
    """``every`` and ``n`` of the regeneration callback.

    Raises:
        ValueError: one is missing or out of range; the message names the key.
    """
    absent = next((name for name in ("every", "n") if name not in settings), None)
    if absent:
        raise ValueError(f"{key}.{absent} is missing; set it")
    try:
        validation = ValidationConfig.of(settings)
    except ValidationError as error:
        raise ValueError(_first_fault(key, error)) from error
    return {"every": validation.every, "n": validation.n}


def _first_fault(key: str, error: ValidationError) -> str:
    """A line for the first fault of settings that are checked by themselves, with the key as people type it."""
    fault = error.errors()[0]
    name = ".".join([key, *map(str, fault["loc"])])
    if fault["type"] == "missing":
        return f"{name} is missing; set it"
    if fault["type"] == "extra_forbidden":
        return f"unknown key {name}; leave it out"
    return f"{name}: {fault['msg'][0].lower()}{fault['msg'][1:]}, got {fault['input']!r}; set {name}"
