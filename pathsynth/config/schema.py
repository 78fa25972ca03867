"""The schemas. Every value is checked here once, so that a wrong one is refused before anything is written or trained."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from pathsynth.config.lightning import why_refused
from pathsynth.config.objects import require_target
from pathsynth.vocabulary.spelling import nearest_hint

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
CLASSIFIER = "pathsynth.training.classifier_module.ClassifierModule"
"""The LightningModule that gates and judges are, unless their ``_target_`` names another."""
CUSTOM_OPTIONS = {"gate": "own_gate", "judge": "own_judge", "classifier": "own_gate"}
"""By group: the option of the group classifier that holds no argument of ours, for a class of the user's."""

_CSV = "pytorch_lightning.loggers.CSVLogger"
_TRACKER_KEYS = ("trackers", "project", "entity", "mode", "uri")
"""Keys of W&B and MLflow, where one of them is used besides a Lightning logger."""
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
    """A data set. Keys that only some sets have (``_DATA_KEYS``) are refused with others; ``flag`` belongs to medmnist alone.

    ready: no images, but an adapter with its gate, in ``root``; ``size`` must be that of the set. own: a class of the user's, to which
    ``size`` and ``root`` are handed, too.
    """

    name: Literal["phantom", "pathmnist", "medmnist", "folder", "ready", "own"]
    """The data set: what `data=` chooses."""
    size: int = Field(ge=16, le=512)
    """Side of the images in pixels."""
    seed: int = Field(0, ge=0)
    """Seed of the phantom's images, or of a folder's random splits."""
    n_train: int = Field(0, ge=0)
    """Images of train, classes in turn; 0: all that there are."""
    n_val: int = Field(0, ge=0)
    """Images of val, likewise."""
    n_test: int = Field(0, ge=0)
    """Images of test, likewise."""
    allow_fewer: bool = False
    """Allow a split to have fewer images than that; all of them are taken."""
    root: str | None = None
    """Folder of the files; null: the folder in PATHSYNTH_DATA, else MedMNIST's own. Of `data=ready`: an exported bundle; null: the shipped
    one."""
    flag: str | None = None
    """Which of MedMNIST's sets, as in bloodmnist (`data=medmnist` alone)."""
    allow_subset: bool = False
    """Allow a MedMNIST file that is not the official one."""
    download: bool = False
    """Download a missing MedMNIST file."""
    symmetry: Literal["d4", "none"] = "none"
    """d4: flips and quarter turns keep a label's meaning, as in histology (folder and own)."""
    classes: tuple[str, ...] = ()
    """The class folders to use; empty: all (folder alone)."""
    val_share: float = Field(0.1, gt=0, lt=1)
    """Share of each class that becomes val, where the folder has no such split."""
    test_share: float = Field(0.1, gt=0, lt=1)
    """Share of each class that becomes test, where the folder has no such split."""
    group: str | None = None
    """`regex:` and a pattern that finds the patient or slide in an image's path, or `csv:` and a file with the columns file and group: a
    group stays on one side of every split and half (folder alone)."""
    prompts: str | None = None
    """A YAML file with names and prompts of classes, in place of those that the data set has."""
    captions: str | None = None
    """The caption of each training image: txt (a text file beside each image), or a .jsonl or .csv file with file_name and
    text; null: the prompts of its class (folder alone)."""
    module: dict[str, Any] = Field(default_factory=dict)
    """A data class of your own; its arguments are further keys of the group."""

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
    """A folder (``path``), or a hub id with a pinned revision."""

    name: str
    """The base: what `base=` chooses."""
    path: str | None = None
    """A folder in diffusers layout."""
    hub: str | None = None
    """Name of a model on the hub, in place of the path."""
    revision: str | None = None
    """The commit of the model on the hub."""
    canvas: int | None = Field(None, ge=16)
    """Pixels that are drawn; null: the data's size, rounded up to what the base can draw."""
    lr: dict[str, float] = Field(default_factory=dict)
    """The learning rate that each shipped option of `optimizer` takes on this base."""


class ClassifierTraining(_Group):
    """What the program does around any classifier: the part of train it sees, for how long, and how images are changed."""

    part: Literal["a", "b", "all"]
    """Its training images: half a or b of train, or all."""
    epochs: int = Field(ge=1)
    """Most passes over its training images."""
    batch_size: int = Field(ge=2)
    """Images per training step."""
    augment_d4: bool
    """Train on all eight orientations of an image, where the label space allows them."""
    augment_stain: bool
    """Vary the stain's colours of training images."""
    augment_noise: bool = False
    """Add slight blur and sensor noise to training images."""
    tta_d4: bool = False
    """Average the answer over the eight orientations of an image, where the label space allows them."""
    patience: int = Field(ge=1)
    """Epochs without a better macro-F1 on val after which training ends."""
    seed: int = Field(ge=0)
    """Seed of its first weights and of the order of its images."""
    members: int = Field(1, ge=1, le=16)
    """Networks in an ensemble, each trained from its own seed; their probabilities are averaged. 1: a single network."""
    test: bool = False
    """Also score the test split once, after training; the classifier stays the same."""


class ClassifierConfig(ClassifierTraining):
    """A timm architecture, and how its weights are trained: the arguments of ``CLASSIFIER``, the class that is shipped."""

    architecture: str
    """A network of timm, by its name."""
    stem: Literal["small", "stock"]
    """small: a first convolution of 3×3, for 28 to 64 px; stock: the network's own."""
    pretrained: bool
    """Start from ImageNet weights."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw, or muon: orthogonal steps in each matrix, as large as AdamW's would be."""
    lr: float = Field(gt=0)
    """Its peak learning rate."""
    weight_decay: float = Field(ge=0)
    """Weight decay: in each step weights shrink by this share times the rate."""
    width: float = Field(1.0, gt=0, le=2)
    """Width of the layers as a share of the network's own (residual networks only)."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Decay of the averaged weights, which are validated and kept; 0: none."""

    @property
    def title(self) -> str:
        """What its runs and metrics are called by."""
        return self.architecture

    @property
    def module(self) -> dict[str, Any]:
        """The LightningModule: its class, and the arguments that the configuration gives it."""
        names = [name for name in type(self).model_fields if name not in ClassifierTraining.model_fields]
        return {"_target_": CLASSIFIER, **{name: getattr(self, name) for name in names}}


class CustomClassifierConfig(ClassifierTraining):
    """A LightningModule of the user's, whose class checks its arguments."""

    module: dict[str, Any]
    """A LightningModule of your own; its arguments are further keys of the group."""

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


AnyClassifier = CustomClassifierConfig | ClassifierConfig


def classifier_of(group: str, values: Mapping[str, Any]) -> AnyClassifier:
    """The settings of a classifier: ours, or the user's where ``_target_`` names another class.

    Raises:
        ValueError: ``_target_`` names no class, or a value is wrong.
    """
    if "module" in values:  # as a manifest holds it
        return CustomClassifierConfig.model_validate(values)
    plain = {name: value for name, value in values.items() if name != "_target_"}
    if values.get("_target_", CLASSIFIER) == CLASSIFIER:
        return ClassifierConfig.model_validate(plain)
    require_target(group, values, "my_gate.MyGate")
    known = ClassifierTraining.model_fields
    training = {name: value for name, value in plain.items() if name in known}
    arguments = {name: value for name, value in plain.items() if name not in known}
    return CustomClassifierConfig.model_validate({**training, "module": {"_target_": values["_target_"], **arguments}})


def _judge_of_panel(values: Any) -> Any:
    return classifier_of("evaluate.judges", values) if isinstance(values, Mapping) else values


PanelJudge = Annotated[CustomClassifierConfig | ClassifierConfig, BeforeValidator(_judge_of_panel)]


class LoraConfig(_Group):
    """The adapter: which layers it changes, and how it starts."""

    rank: int = Field(ge=1)
    """The adapter's rank: the width of its matrices."""
    alpha: int | float | None = Field(None, gt=0)
    """The adapter's output is scaled by alpha / rank; null: as large as the rank."""
    dropout: float = Field(ge=0, lt=1)
    """Share of the adapter's inputs that are dropped in training."""
    targets: str | tuple[str, ...]
    """The adapted layers: attention, attention+conv, all-linear, all, a list of ends of module names, or `regex:` and a pattern that whole
    names match."""
    dora: bool = False
    """DoRA: train a separate magnitude for each output (arXiv 2402.09353; linear layers only)."""
    rslora: bool = False
    """rsLoRA: scale by alpha / √rank (arXiv 2312.03732)."""
    init: Literal["gaussian", "default"] = "gaussian"
    """Initial values of the first matrix: gaussian (standard deviation 1 / rank), or PEFT's default."""
    text_encoder: bool = False
    """Adapt the text encoder's attention, too; prompts are then encoded in each step."""
    start: str | None = None
    """Folder or file of an adapter to start the training from."""

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
            hint = nearest_hint(targets, TARGET_GROUPS)
            raise ValueError(f"lora.targets should be {', '.join(TARGET_GROUPS)}, a list of modules or regex:…, got {targets!r}{hint}")
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

    All but ``WATCHING`` enter the adapter's identity.
    """

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] | None = None
    """What kind of device is used."""
    devices: int | None = Field(None, ge=1)
    """Devices of this machine, a process each; they share `training.batch_size`."""
    log_every_n_steps: int | None = Field(None, ge=1)
    """Steps between two logged losses."""
    profiler: Literal["simple", "advanced"] | None = None
    """Write Lightning's profile into the trial's folder."""
    enable_model_summary: bool | None = None
    """Show Lightning's table of layers."""
    enable_autolog_hparams: bool | None = None
    """Log the module's own settings."""
    detect_anomaly: bool | None = None
    """Find the operation that gives a value that is not finite; slow."""
    inference_mode: bool | None = None
    """Use torch's inference mode where nothing is trained."""
    deterministic: Literal[True, False, "warn"] | None = None
    """Use torch's deterministic algorithms; warn: say where there is none. Part of an adapter's identity where it is set."""
    benchmark: bool | None = None
    """Let cuDNN choose its algorithms by trial. Part of an adapter's identity where it is set."""
    gradient_clip_algorithm: Literal["norm", "value"] | None = None
    """Clip gradients by their norm or by value. Part of an adapter's identity where it is set."""

    @model_validator(mode="before")
    @classmethod
    def _leaves_ours_alone(cls, values: Any) -> Any:
        for key in values if isinstance(values, dict) else ():
            reason = why_refused(str(key))
            if reason:
                raise ValueError(f"trainer.{key} cannot be set: {reason}")
        return values


class TrainerConfig(LightningConfig):
    """Lightning's Trainer of the fine-tune, and its arguments under Lightning's names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True)

    target: str = Field(TRAINER_TARGET, alias="_target_")
    """Lightning's Trainer, or your subclass of it."""
    max_steps: int = Field(ge=1, le=_MOST_STEPS)
    """Training steps of the adapter."""
    accumulate_grad_batches: int = Field(1, ge=1)
    """Batches whose gradients are added up for a step."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    """Number format of the arithmetic in training."""
    gradient_clip_val: float = Field(ge=0)
    """The largest norm of a gradient; 0: no limit."""


class TrainingConfig(_Group):
    """What the program does around the Trainer: batches, averaging, checkpoints, memory, and what follows a divergence."""

    batch_size: int = Field(ge=1)
    """Images per step, over all devices."""
    warmup_steps: int = Field(ge=0)
    """Steps over which the learning rate rises, for `schedule=cosine` and `constant`."""
    ema_decay: float = Field(ge=0, lt=1)
    """Decay of the adapter's averaged weights; 0: no averaging."""
    threads: int | None = Field(None, ge=1)
    """Threads; null: all cores, divided among the workers."""
    checkpoint_every: int = Field(50, ge=1)
    """Steps between two checkpoints, from which a killed fine-tune resumes."""
    keep_checkpoints: int = Field(2, ge=1)
    """How many checkpoints are kept."""
    gradient_checkpointing: bool = False
    """Compute activations twice, to hold fewer of them in memory."""
    channels_last: bool = False
    """Keep the UNet's images in memory with channels last; which is faster on some processors."""
    compile: bool = False
    """Compile the UNet by torch.compile; worth it for long trainings."""
    explosion: float | None = Field(None, gt=1)
    """The fine-tune has diverged when the running mean of its loss is so many times its lowest; null: only when it is not finite."""
    retries: int = Field(0, ge=0)
    """How often a diverged fine-tune restarts from its last good checkpoint."""
    retry_factor: float = Field(0.5, gt=0, lt=1)
    """Factor of the learning rate at each such restart."""


class CosineConfig(_Group):
    """Arguments of the shipped schedule ``cosine``."""

    steps: int = Field(ge=1)
    """Steps after which the rate is 0."""
    warmup_steps: int = Field(0, ge=0)
    """Steps in which the rate rises."""
    restart_steps: int | None = Field(None, ge=1)
    """Steps of the first cosine, each next one twice as long; null: one cosine."""


class ConstantConfig(_Group):
    """Arguments of the shipped schedule ``constant``."""

    warmup_steps: int = Field(0, ge=0)
    """Steps in which the rate rises."""


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
    """The training objective of the denoiser."""

    min_snr_gamma: float | None = Field(None, gt=0)
    """Gamma of min-SNR, which gives steps with little noise less weight (arXiv 2303.09556); null: equal weights."""
    noise_offset: float = Field(ge=0)
    """Share of noise that is constant over a channel, so that the model learns overall brightness, too."""
    caption_dropout: float = Field(ge=0, le=1)
    """Share of training images that are shown without their caption; guidance needs some."""
    paraphrases: bool
    """Learn a class from all its training captions, not from the canonical one alone."""
    augment: bool
    """Show training images in the orientations that the label space allows."""


class ValidationConfig(_Group):
    """What ``callbacks.regeneration`` says: when an adapter is validated, on how many slots, and by which class."""

    every: int = Field(0, ge=0)
    """Steps between two validations; 0: never, and the last step is kept."""
    n: int = Field(1, ge=1)
    """Slots of each class that a validation fills."""
    callback: dict[str, Any] = Field(default_factory=lambda: {"_target_": _REGENERATION_TARGET})
    """`_target_` of the callback, and arguments of its own."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ValidationConfig:
        """From the settings of the callback, which hold the two numbers among its other arguments."""
        numbers = {key: settings[key] for key in ("every", "n") if key in settings}
        return cls(**numbers, callback={key: value for key, value in settings.items() if key not in numbers})

    @property
    def is_shipped(self) -> bool:
        """Whether the callback is this program's, without further arguments."""
        return self.callback == {"_target_": _REGENERATION_TARGET}


class EarlyRejectionConfig(_Group):
    """Candidates that the gate would hardly accept are rejected before their last step."""

    after_step: int | None = Field(None, ge=1)
    """The step after which `generate` rejects them; null: all candidates take all steps."""
    max_lost: float = Field(0.02, ge=0, lt=1)
    """Largest share of acceptable images that may be lost by this."""
    n: int = Field(20, ge=2)
    """Slots of each class on which the threshold is fitted."""


class SamplingConfig(_Group):
    """How images are drawn, and the rejection sampler's rules and budget.

    An image is accepted where the gate gives its class first, with ``threshold`` probability, ``margin`` above the next.
    """

    steps: int = Field(ge=1, le=1000)
    """Denoising steps of an image."""
    guidance: float = Field(ge=1)
    """How strongly images follow the prompt; above 1 the denoiser runs twice for each step."""
    batch_size: int = Field(ge=1)
    """Images per batch."""
    seed: int = Field(ge=0)
    """Seed of the noise that images start from; trials with the same seed fill the same slots."""
    attempts: int = Field(ge=1)
    """The budget: most attempts at a slot."""
    threshold: float = Field(ge=0, le=1)
    """The least probability that the gate must give the requested class; 0: its first choice is enough."""
    precision_target: float | None = Field(None, gt=0, lt=1)
    """The gate's precision: each class gets the least probability at which so many of the gate's answers on real val images are right;
    null: no limits by class."""
    margin: float = Field(0, ge=0, le=1)
    """How far the probability of the requested class must exceed that of the next."""
    guidance_step: float = Field(0, ge=0)
    """How much more guidance each further attempt at a slot gets; 0: a new seed alone."""
    guidance_rescale: float = Field(0, ge=0, le=1)
    """How far the guided prediction is rescaled to the standard deviation of the unguided one, against washed-out colours (arXiv
    2305.08891, section 3.4); 0: not."""
    scheduler: Literal["DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler", "UniPCMultistepScheduler"] | None = None
    """A diffusers class that takes the base's noise schedule; null: the base's own."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Number format of the UNet's arithmetic; bf16-mixed is faster where the processor has it; its images differ slightly."""
    deterministic: bool = False
    """Draw in batches of one shape, so that batch size, kills and replays change no bit of an image."""
    speculate: bool = False
    """Fill up batches with further attempts at open slots; the same images are accepted, earlier."""
    calls: int | None = Field(None, ge=1)
    """Limit of denoiser calls for a whole generation; null: none."""
    seconds: float | None = Field(None, gt=0)
    """Limit of seconds for a whole generation; null: none."""
    reject_copies: bool = False
    """Also reject images that are nearer to a training image, in the gate's features, than 99% of real val images."""
    image_to_image: float = Field(0, ge=0, lt=1)
    """Image-to-image retry: share of the steps that a further attempt takes again, from the rejected image with new noise; 0: it starts
    from noise alone."""
    early_rejection: EarlyRejectionConfig = Field(default_factory=EarlyRejectionConfig)
    """Rejection of candidates before their last step."""
    rules: dict[str, dict[str, Any]] = Field({})
    """Further rules of acceptance, each a class of your own under a name, with its arguments."""
    retry: dict[str, Any] = Field({"_target_": STANDARD_RETRY}, validate_default=True)
    """The strategy of further attempts at a slot, with its arguments; a class of your own takes the place of `guidance_step` and
    `image_to_image`."""

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
        for key in ("guidance_step", "image_to_image") if self.retry else ():
            if getattr(self, key):
                raise ValueError(f"sampling.{key} belongs to {STANDARD_RETRY}, and sampling.retry._target_ names another strategy; "
                                 f"set sampling.{key}=0, or leave sampling.retry out")
        if self.speculate and self.retry:
            raise ValueError("sampling.speculate=true starts an attempt before the one before it is judged, and a strategy of your own in "
                             "sampling.retry may depend on that; set sampling.speculate=false")
        after = self.early_rejection.after_step
        if after and after >= self.steps:
            key = f"sampling.early_rejection.after_step={after}"
            raise ValueError(f"{key} is no step before the last of sampling.steps={self.steps}; lower it")
        if self.speculate and (self.image_to_image or after):
            raise ValueError("sampling.speculate=true starts an attempt before the one that it depends on is judged; "
                             "set it to false, or sampling.image_to_image=0 and sampling.early_rejection.after_step=null")
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
        """Whether images are drawn in bfloat16."""
        return self.precision == "bf16-mixed"


class DebugConfig(_Group):
    """Small runs that look for faults."""

    name: Literal["none", "fast_dev_run", "overfit", "profile"]
    """What a debug option is for; overfit: the loss must fall. Any but none has adapters of its own."""


class GenerateConfig(_Group):
    """What to draw: a prompt (``label`` settles its class), or labels; ``n`` images of each.

    One of ``shards`` processes draws every so-many-th slot, from the ``shard``-th on.
    """

    prompt: str | None = None
    """What to draw, in words; the class is read from them."""
    label: str | None = None
    """The class to draw; beside a prompt it sets the prompt's class."""
    labels: str | tuple[str, ...] = "all"
    """Classes to draw: all, or a list."""
    n: int = Field(4, ge=1)
    """Images of each class or prompt."""
    shard: int = Field(0, ge=0)
    """Number of the share that this process draws, from 0."""
    shards: int = Field(1, ge=1)
    """Processes that share the slots."""

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
    """How a generated set is scored."""

    n: int = Field(ge=1)
    """Slots of each class."""
    split: Literal["val", "test"]
    """The real images that generated ones are compared with; test is scored only on request."""
    prompts: Literal["canonical", "paraphrases", "held_out"] = "canonical"
    """The prompts of the images: the canonical one of each class, the paraphrases of training, or those that no training saw; of the latter
    two, several take turns."""
    metrics: dict[str, dict[str, Any]] = Field({})
    """Further metrics, each a class of your own under the name that its records have, with its arguments."""
    judges: dict[str, PanelJudge] = Field({})
    """A panel of further classifiers by name, which score the images and choose nothing; evaluate/judges=panel has three."""

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
    """Where a run is shown: W&B, MLflow, a Lightning logger, several of them, or none."""

    trackers: dict[Literal["wandb", "mlflow"], bool] = Field({})
    """W&B and MLflow, each with true: what `tracking=` chooses, as in `tracking=mlflow` and `tracking=[wandb,mlflow]`."""
    project: str = "pathsynth"
    """W&B's project; WANDB_PROJECT overrides it."""
    entity: str | None = None
    """W&B's entity; WANDB_ENTITY overrides it."""
    mode: Literal["online", "offline", "disabled"] | None = None
    """W&B's mode; null: online if there is an API key, else offline. WANDB_MODE overrides it."""
    uri: str | None = None
    """MLflow's server or database; null: what MLFLOW_TRACKING_URI names, else the file mlflow.db in the folder of all studies."""
    logger: dict[str, Any] = Field(default_factory=dict)
    """A Lightning logger; its arguments are further keys of the group."""

    @property
    def wandb(self) -> bool:
        """Whether W&B gets the run."""
        return self.trackers.get("wandb", False)

    @property
    def mlflow(self) -> bool:
        """Whether MLflow gets the run."""
        return self.trackers.get("mlflow", False)

    @model_validator(mode="before")
    @classmethod
    def _of_a_class(cls, values: Any) -> Any:
        """The class is loaded, and its arguments are checked by it, where torch is."""
        if not isinstance(values, dict) or "_target_" not in values:
            return values
        require_target("tracking", values, _CSV)
        ours = {key: values[key] for key in (_TRACKER_KEYS if "trackers" in values else ()) if key in values}
        return {**ours, "logger": {key: value for key, value in values.items() if key not in ours}}

    @field_validator("logger")
    @classmethod
    def _names_a_class(cls, logger: dict[str, Any]) -> dict[str, Any]:
        if logger and not logger.get("_target_"):
            raise ValueError(f"a logger of your own is named by tracking._target_, as in {_CSV}; choose tracking=csv to start from")
        return logger

    @field_validator("uri")
    @classmethod
    def _is_an_address(cls, uri: str | None) -> str | None:
        if uri is None:
            return None
        if not re.match(r"[a-z][a-z0-9+.-]*://", uri):
            raise ValueError(f"tracking.uri={uri} is no address; give one as http://127.0.0.1:5000 or sqlite:////data/mlflow.db")
        if urlsplit(uri).password:
            raise ValueError("tracking.uri holds a password and would be stored with the results; set MLFLOW_TRACKING_URI instead")
        return uri


class StudyConfig(_Group):
    """A named set of trials, and how they run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The folder of the trials, below `multirun`."""
    question: str = ""
    """The question that the study answers; its pages show it."""
    retry_failed: int = Field(2, ge=0)
    """How often later commands repeat a failed trial."""
    force: bool = False
    """Repeat failed trials without that limit, and finished ones too; their stages exist, so only what the folder shows
    is made again."""
    fail_fast: bool = False
    """Stop the study at the first failure."""
    shared_first: bool | None = None
    """Build what several trials share (gate, judge, cache, an adapter) in jobs of its own before the trials begin, so that no trial holds
    a GPU while it waits; null: where the trials are jobs of Slurm, or tasks of a Ray cluster that is joined."""
    lease_seconds: float = Field(60.0, ge=1)
    """After so many seconds without a sign of life from a trial's process, another process of the same study takes the trial over."""
    stop_seconds: float = Field(20.0, gt=0)
    """A trial that has not ended so many seconds after a stop signal is killed; Slurm itself kills after 30."""
    isolation: Literal["process", "inline"] = "process"
    """process: each trial has its own process; inline: the trial runs in the command's process, for a debugger."""
    dry_run: bool = False
    """Print the plan, and run nothing."""


class PretrainConfig(_Group):
    """The embedded base: its sizes and how long decoder and denoiser are trained."""

    root: str | None = None
    """Folder of cifar10.tar; null: the folder in PATHSYNTH_DATA."""
    seed: int = Field(ge=0)
    """Seed of the pretraining."""
    latent_channels: int = Field(ge=1, le=48)
    """Channels of a latent."""
    channels: tuple[int, ...] = Field(min_length=1)
    """Widths of the denoiser's levels."""
    decoder_steps: int = Field(ge=1, le=_MOST_STEPS)
    """Training steps of the autoencoder's decoder."""
    decoder_lr: float = Field(gt=0)
    """The decoder's learning rate."""
    steps: int = Field(ge=1, le=_MOST_STEPS)
    """Training steps of the denoiser."""
    batch_size: int = Field(ge=1)
    """Images per step."""
    lr: float = Field(gt=0)
    """The denoiser's learning rate."""


class RunConfig(_Group):
    """All settings of one trial. A command reads the groups it needs; the others are absent."""

    command: Literal["run", "pretrain", "classify", "finetune", "generate", "evaluate"]
    """The command that is given."""
    seed: int = Field(0, ge=0)
    """The training seed: it sets the adapter's first weights and its batches."""
    multirun: str = "multirun"
    """The folder of studies, trials, stages and pages."""
    study: StudyConfig
    """A named set of trials, and how they run."""
    tracking: TrackingConfig
    """Where numbers and images of a run are sent."""
    trainer: TrainerConfig
    """Lightning's Trainer of the fine-tune, and its arguments."""
    training: TrainingConfig
    """Batches, averaging, checkpoints and threads of the fine-tune; `threads` holds for every command."""
    data: DataConfig | None = None
    """The data set."""
    base: BaseConfig | None = None
    """The text-to-image model, whose weights stay fixed."""
    classifier: CustomClassifierConfig | ClassifierConfig | None = None
    """The classifier of `pathsynth classify`; its options are those of gate and judge."""
    gate: CustomClassifierConfig | ClassifierConfig | None = None
    """The classifier that accepts or rejects images."""
    judge: CustomClassifierConfig | ClassifierConfig | None = None
    """The classifier that only scores."""
    lora: LoraConfig | None = None
    """The adapter."""
    optimizer: dict[str, Any] = Field(default_factory=dict)
    """The optimizer of the fine-tune: a class, and its arguments."""
    schedule: dict[str, Any] = Field(default_factory=dict)
    """The learning rate, step by step: a class or function, and its arguments."""
    finetune: dict[str, Any] = Field(default_factory=lambda: {"_target_": FINETUNE_TARGET})
    """The LightningModule that trains the adapter, and its arguments."""
    objective: ObjectiveConfig | None = None
    """The training objective of the denoiser."""
    sampling: SamplingConfig | None = None
    """How images are drawn, accepted and drawn again."""
    generate: GenerateConfig | None = None
    """What `pathsynth generate` draws; typed without the word generate."""
    evaluate: EvaluateConfig | None = None
    """How a generated set is scored."""
    pretrain: PretrainConfig | None = None
    """The embedded base: its sizes, and how long its parts are trained."""
    callbacks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Lightning callbacks of the fine-tune, each under a name; `regeneration` validates."""
    debug: DebugConfig | None = None
    """Small runs for finding faults."""

    @field_validator("classifier", "gate", "judge", mode="before")
    @classmethod
    def _shipped_or_custom(cls, values: Any, info: ValidationInfo) -> Any:
        return classifier_of(str(info.field_name), values) if isinstance(values, Mapping) else values

    @field_validator("callbacks")
    @classmethod
    def _name_classes(cls, callbacks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """One whose ``_target_`` is null is left out, also where a study sets other keys of it."""
        enabled = {name: callback for name, callback in callbacks.items() if callback.get("_target_", name) is not None}
        for name, callback in enabled.items():
            example = _REGENERATION_TARGET if name == REGENERATION else "pytorch_lightning.callbacks.EarlyStopping"
            require_target(f"callbacks.{name}", callback, example)
        if REGENERATION in enabled:
            numbers = _checked_numbers(f"callbacks.{REGENERATION}", enabled[REGENERATION])
            enabled[REGENERATION] = {**enabled[REGENERATION], **numbers}
        return enabled

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
    def _devices_have_equal_shares(self) -> RunConfig:
        if self.training.batch_size % (self.trainer.devices or 1):
            shared = f"training.batch_size={self.training.batch_size} cannot be shared out among trainer.devices={self.trainer.devices}"
            raise ValueError(f"{shared}; set a multiple")
        return self

    @model_validator(mode="after")
    def _can_follow_the_schedule(self) -> RunConfig:
        if self.schedule:
            try:
                shipped = shipped_schedule(self.schedule)
            except ValidationError as error:
                raise ValueError(_first_fault("schedule", error)) from error
            if self.training.retries and shipped is None:
                raise ValueError("training.retries lowers the rates of schedule=cosine and schedule=constant alone; set it to 0")
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
        """The class is loaded, and its arguments are checked by it, where torch is; what is surely wrong is refused before."""
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
