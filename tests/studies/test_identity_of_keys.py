"""Every key of the configuration: which stages' identities it changes, and for a sample of them that the results' bits follow.

A key that is added to the schema has to be entered in ``TABLE``; one that changes no identity needs its reason in ``REASONS``.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image
from pydantic import BaseModel
from safetensors.numpy import save_file

from pathsynth.commands.quoting import quote_free_text
from pathsynth.config import RunConfig, SamplingConfig, from_hydra
from pathsynth.config.shipped import conf_folder
from pathsynth.ledger.weights import weights_digest
from pathsynth.stages.plan import plan

DRAWN = frozenset({"generate", "evaluate"})
TRAINED = frozenset({"finetune"}) | DRAWN
GATED = frozenset({"gate", "reference"}) | TRAINED
JUDGED = frozenset({"judge", "reference", "evaluate"})
BY_BASE = frozenset({"cache", "reference"}) | TRAINED
EVERY = GATED | JUDGED | BY_BASE
OF_FOLDER = EVERY | {"decode"}
LOOKED = frozenset({"early_rejection"}) | DRAWN
COMMANDS = {"classifier": "classify", "generate": "generate", "pretrain": "pretrain"}
"""The command that reads a group; the others are read by ``run``."""

SMALL = [
    *("data.n_train=36", "data.n_val=18", "data.n_test=18", "gate.epochs=1", "judge.epochs=1", "lora.rank=2", "lora.targets=attention"),
    *("trainer.max_steps=4", "training.batch_size=4", "training.warmup_steps=1"),
    *("callbacks.regeneration.every=2", "callbacks.regeneration.n=2"),
    *("sampling.steps=3", "sampling.batch_size=3", "sampling.attempts=2", "evaluate.n=2"),
]


@dataclass(frozen=True)
class Case:
    """Another ``value`` of a key, and the stages whose identities it changes where the other keys have the values ``given``.

    ``along``: keys that have to change with it.
    """

    value: Any
    changes: frozenset[str] = frozenset()
    given: Mapping[str, Any] = field(default_factory=dict)
    along: Mapping[str, Any] = field(default_factory=dict)


HUB = {"base.path": None, "base.hub": "some/model", "base.revision": "a"}
OFFICIAL = {"data.name": "medmnist", "data.flag": "bloodmnist", "data.download": True, "data.root": "{empty}", "data.size": 28}
SUBSET = {**OFFICIAL, "data.download": False, "data.allow_subset": True, "data.root": "{subset}"}
OWN = {"data.name": "folder", "data.root": "{images}", "data.n_train": 0, "data.n_val": 0, "data.n_test": 0}


CONSTANT = "pathsynth.training.schedules.constant"
COSINE = {"_target_": "pathsynth.training.schedules.cosine", "steps": 4, "warmup_steps": 1, "restart_steps": None}


def validated(**other: Any) -> dict[str, Any]:
    """The regeneration callback of the smallest configuration, with other settings."""
    settings = {"_target_": "pathsynth.training.regeneration.RegenerationCallback", "every": 2, "n": 2, **other}
    return {"regeneration": settings}


SECOND_JUDGE = {
    "architecture": "regnety_002", "stem": "small", "part": "b", "pretrained": False, "epochs": 1, "batch_size": 16, "lr": 1e-3,
    "weight_decay": 0.0, "augment_d4": True, "augment_stain": True, "patience": 1, "seed": 5,
}
WATCHER = {"_target_": "pytorch_lightning.callbacks.LearningRateMonitor"}
STRICT = {"_target_": "pathsynth.sampling.acceptance_rules.AtLeast", "threshold": 0.9}
REVISING = {"_target_": "pathsynth.sampling.retry.StandardRetry", "image_to_image": 0.5}
ALONE = frozenset({"classifier"})
MINE = {
    "part": "a", "epochs": 1, "batch_size": 8, "augment_d4": True, "augment_stain": False, "patience": 1, "seed": 0,
    "module": {"_target_": "my_gate.MyGate", "width": 8},
}
DRAWN_BY_A_CLASS = {"data.name": "own", "data.module": {"_target_": "examples.my_dataset.MyDataset", "noise": 5.0}}
WIDER = {"_target_": "my_gate.MyGate", "width": 16}

_OF_A_CLASSIFIER: Mapping[str, Any] = {
    "architecture": "resnet10t", "stem": "stock", "part": "all", "pretrained": True, "epochs": 2, "batch_size": 8, "optimizer": "muon",
    "lr": 1e-4, "weight_decay": 0.5, "augment_d4": False, "augment_stain": False, "augment_noise": False, "width": 0.5,
    "ema_decay": 0.5, "tta_d4": True, "patience": 1, "seed": 7, "members": 2,
}
_OF_PRETRAINING: Mapping[str, Any] = {
    "seed": 1, "latent_channels": 4, "channels": (8,), "decoder_steps": 1, "decoder_lr": 1e-5, "steps": 1, "batch_size": 1, "lr": 1e-5,
}
_OF_THE_TRAINER: Mapping[str, Any] = {
    "max_steps": 5, "accumulate_grad_batches": 2, "precision": "bf16-mixed", "gradient_clip_val": 0.01, "_target_": "my.Trainer",
    "deterministic": True, "benchmark": True, "gradient_clip_algorithm": "value",
}
_OF_TRAINING: Mapping[str, Any] = {
    "batch_size": 8, "gradient_checkpointing": True, "ema_decay": 0.5, "channels_last": True, "compile": True, "retries": 1,
}
_OF_LIGHTNING: Mapping[str, Any] = {
    "accelerator": "cpu", "log_every_n_steps": 3, "profiler": "simple", "enable_model_summary": True, "enable_autolog_hparams": False,
    "detect_anomaly": True, "inference_mode": False,
}
_RETRIED = {"training.retries": 1}
_OF_RETRIES = {"checkpoint_every": 1, "keep_checkpoints": 1, "explosion": 3.0, "retry_factor": 0.25}

TABLE: Mapping[str, Sequence[Case]] = {
    "command": [Case("evaluate")],
    "seed": [Case(5, TRAINED)],
    "multirun": [Case("elsewhere")],
    **{f"study.{key}": [Case(value)] for key, value in {"name": "other", "question": "why?", "retry_failed": 0, "force": True}.items()},
    **{f"study.{key}": [Case(value)] for key, value in {"fail_fast": True, "lease_seconds": 9.0, "stop_seconds": 5.0}.items()},
    "study.shared_first": [Case(True)],
    "study.dry_run": [Case(True)],
    "study.isolation": [Case("inline")],
    **{f"tracking.{key}": [Case(value)] for key, value in {"project": "p", "entity": "e", "mode": "disabled"}.items()},
    "tracking.trackers": [Case({"mlflow": True})],
    "tracking.uri": [Case("http://127.0.0.1:5000")],
    "tracking.logger": [Case({"_target_": "a.C"}, given={"tracking.logger": {"_target_": "a.B"}})],
    "data.name": [Case("folder", OF_FOLDER, along={"data.root": "{images}"})],
    **{f"data.{key}": [Case(value, EVERY)] for key, value in {"size": 48, "seed": 9, "n_train": 45, "n_val": 27, "n_test": 27}.items()},
    "data.root": [Case("/elsewhere", given=OFFICIAL), Case("{moved}", given=OWN)],
    "data.flag": [Case("dermamnist", EVERY, OFFICIAL)],
    "data.allow_fewer": [Case(True)],
    "data.allow_subset": [Case(True, given=OFFICIAL)],
    "data.download": [Case(True, given=SUBSET)],
    "data.symmetry": [Case("d4", OF_FOLDER, OWN)],
    "data.classes": [Case(("a", "b"), OF_FOLDER, OWN)],
    "data.val_share": [Case(0.3, OF_FOLDER, OWN)],
    "data.test_share": [Case(0.3, OF_FOLDER, OWN)],
    "data.group": [Case(r"regex:(\d)\.png", OF_FOLDER, OWN)],
    "data.prompts": [Case("{words}", TRAINED | {"cache"}, OWN)],
    "data.captions": [Case("txt", TRAINED | {"cache"}, OWN), Case("{captions.csv}", given={**OWN, "data.captions": "txt"})],
    "data.module": [Case({"_target_": "examples.my_dataset.MyDataset", "noise": 9.0}, OF_FOLDER, DRAWN_BY_A_CLASS)],
    "base.name": [Case("local")],
    "base.path": [Case("{same base}")],
    "base.hub": [Case("other/model", BY_BASE, HUB)],
    "base.revision": [Case("b", BY_BASE, HUB)],
    "base.canvas": [Case(40, BY_BASE)],
    "base.lr": [Case({"muon": 1.0})],
    **{f"gate.{key}": [Case(value, GATED)] for key, value in _OF_A_CLASSIFIER.items()},
    **{f"judge.{key}": [Case(value, JUDGED)] for key, value in {**_OF_A_CLASSIFIER, "batch_size": 4, "part": "a"}.items()},
    **{
        f"{role}.module": [Case(WIDER, stages, given={role: MINE})]
        for role, stages in {"gate": GATED, "judge": JUDGED, "classifier": ALONE}.items()
    },
    **{f"classifier.{key}": [Case(value, ALONE)] for key, value in _OF_A_CLASSIFIER.items()},
    **{f"{role}.test": [Case(True, frozenset({f"{role}_test"}))] for role in ("gate", "judge", "classifier")},
    "lora.rank": [Case(3, TRAINED)],
    "lora.alpha": [Case(3, TRAINED), Case(2)],
    "lora.dropout": [Case(0.1, TRAINED)],
    "lora.targets": [Case("attention+conv", TRAINED)],
    **{f"lora.{key}": [Case(True, TRAINED)] for key in ("dora", "rslora", "text_encoder")},
    "lora.init": [Case("default", TRAINED)],
    "lora.start": [Case("{adapter}", TRAINED), Case("{same adapter}", given={"lora.start": "{adapter}"})],
    "optimizer": [Case({"_target_": "torch.optim.SGD", "lr": 0.5}, TRAINED)],
    "schedule": [
        Case({"_target_": CONSTANT, "warmup_steps": 1}, TRAINED),
        Case({**COSINE, "warmup_steps": 3}, TRAINED),
        Case({**COSINE, "restart_steps": 2}, TRAINED),
        Case({**COSINE, "steps": 9}, TRAINED),
        Case({**COSINE, "steps": 9, "restart_steps": 2}, given={"schedule": {**COSINE, "restart_steps": 2}}),
        Case({"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 2}, TRAINED),
    ],
    "finetune": [Case({"_target_": "my.Finetune"}, TRAINED)],
    "objective.min_snr_gamma": [Case(5.0, TRAINED)],
    "objective.noise_offset": [Case(0.1, TRAINED)],
    "objective.caption_dropout": [Case(0.9, TRAINED)],
    "objective.paraphrases": [Case(False, TRAINED), Case(False, given={**OWN, "data.captions": "txt"})],
    "objective.augment": [Case(False, TRAINED | {"cache"})],
    **{f"trainer.{key}": [Case(value, TRAINED)] for key, value in _OF_THE_TRAINER.items()},
    **{f"trainer.{key}": [Case(value)] for key, value in _OF_LIGHTNING.items()},
    **{f"training.{key}": [Case(value, TRAINED)] for key, value in _OF_TRAINING.items()},
    **{f"training.{key}": [Case(value), Case(value, TRAINED, _RETRIED)] for key, value in _OF_RETRIES.items()},
    "training.warmup_steps": [Case(3)],
    "training.threads": [Case(1)],
    "trainer.devices": [Case(2), Case(2, TRAINED, {"lora.dropout": 0.1}), Case(None, given={"lora.dropout": 0.1})],
    "callbacks": [
        Case({**validated(), "stop": {"_target_": "pytorch_lightning.callbacks.EarlyStopping"}}, TRAINED),
        Case({**validated(), "mine": WATCHER}),
        Case(validated(every=3), TRAINED),
        Case(validated(n=3), TRAINED),
        Case(validated(_target_="my.Callback"), TRAINED),
        Case(validated(own=1), TRAINED),
        Case(validated(every=0, n=3, own=1), given={"callbacks": validated(every=0)}),
        Case({}, given={"callbacks": validated(every=0)}),
    ],
    "debug.name": [Case("overfit", TRAINED)],
    "sampling.steps": [Case(2, TRAINED), Case(2, DRAWN, {"callbacks.regeneration.every": 0})],
    "sampling.guidance": [Case(5.0, TRAINED)],
    "sampling.seed": [Case(1, TRAINED)],
    "sampling.guidance_rescale": [Case(0.0, TRAINED)],
    "sampling.scheduler": [Case("DDIMScheduler", TRAINED)],
    "sampling.precision": [Case("bf16-mixed", TRAINED)],
    "sampling.deterministic": [Case(True, TRAINED)],
    "sampling.attempts": [Case(3, DRAWN), Case(3, DRAWN, {"sampling.early_rejection.after_step": 1})],
    "sampling.threshold": [Case(0.5, DRAWN), Case(0.5, LOOKED, {"sampling.early_rejection.after_step": 1})],
    "sampling.margin": [Case(0.3, DRAWN), Case(0.3, LOOKED, {"sampling.early_rejection.after_step": 1})],
    "sampling.precision_target": [Case(0.9, DRAWN), Case(0.9, LOOKED, {"sampling.early_rejection.after_step": 1})],
    "sampling.reject_copies": [Case(True, DRAWN), Case(True, LOOKED, {"sampling.early_rejection.after_step": 1})],
    "sampling.guidance_step": [
        Case(1.0, DRAWN),
        Case(1.0, TRAINED, {"sampling.guidance": 1.0}),
        Case(2.0, DRAWN, {"sampling.guidance": 1.0, "sampling.guidance_step": 1.0}),
    ],
    "sampling.image_to_image": [Case(0.5, DRAWN)],
    "sampling.retry": [Case(REVISING, DRAWN), Case(REVISING, TRAINED, {"sampling.guidance": 1.0})],
    "sampling.speculate": [Case(True, DRAWN)],
    "sampling.calls": [Case(90, DRAWN)],
    "sampling.seconds": [Case(60.0, DRAWN)],
    "sampling.batch_size": [
        Case(7),
        Case(7, given={"sampling.early_rejection.after_step": 1}),
        *(Case(7, DRAWN, {f"sampling.{key}": value}) for key, value in {"calls": 90, "seconds": 60.0, "speculate": True}.items()),
    ],
    "sampling.rules": [Case({"strict": STRICT}, DRAWN), Case({"strict": STRICT}, LOOKED, {"sampling.early_rejection.after_step": 1})],
    "sampling.early_rejection.after_step": [Case(1, LOOKED)],
    "sampling.early_rejection.max_lost": [Case(0.5), Case(0.5, LOOKED, {"sampling.early_rejection.after_step": 1})],
    "sampling.early_rejection.n": [Case(9), Case(9, LOOKED, {"sampling.early_rejection.after_step": 1})],
    "generate.prompt": [Case("mucus, pale", frozenset({"generate"}))],
    "generate.label": [Case("mucus", frozenset({"generate"}))],
    "generate.labels": [Case(("mucus",), frozenset({"generate"})), Case(("mucus",), given={"generate.label": "mucus"})],
    "generate.n": [Case(5, frozenset({"generate"}))],
    "generate.shard": [Case(1, frozenset({"generate"}), {"generate.shards": 2})],
    "generate.shards": [Case(2, frozenset({"generate"}))],
    "evaluate.n": [Case(3, DRAWN | {"reference"})],
    "evaluate.split": [Case("test", frozenset({"reference", "evaluate"}))],
    "evaluate.prompts": [Case("held_out", DRAWN)],
    "evaluate.metrics": [Case({"mine": {"_target_": "a.Metric"}}, frozenset({"evaluate"}))],
    "evaluate.judges": [Case({"second": SECOND_JUDGE}, frozenset({"judge_second", "panel", "evaluate"}))],
    "pretrain.root": [Case("/elsewhere")],
    **{f"pretrain.{key}": [Case(value, frozenset({"pretrain"}))] for key, value in _OF_PRETRAINING.items()},
}

REASONS: Mapping[str, str] = {
    "command": "names the stages that are built; it is part of the trial's identity, and of no stage's",
    "multirun": "where trials and stages lie",
    **dict.fromkeys(("study.name", "study.question"), "words for people and a folder's name"),
    **dict.fromkeys(("study.retry_failed", "study.force", "study.fail_fast", "study.lease_seconds"), "whether and when a trial is tried"),
    "study.shared_first": "which job builds a stage, and when",
    "study.dry_run": "nothing is carried out",
    "study.isolation": "which process a trial runs in",
    "study.stop_seconds": "how long a trial that has to stop may take for it",
    **{f"tracking.{key}": "what is told of a trial elsewhere" for key in ("trackers", "project", "entity", "mode", "uri", "logger")},
    "data.root": "where the files lie; their content counts",
    "data.allow_fewer": "whether fewer images than wanted are taken; their content counts",
    "data.allow_subset": "whether a file that is not the official one is taken; its content counts",
    "data.download": "how the official file gets there; its content counts",
    "base.name": "a word for people; the folder's content or the hub's commit counts",
    "base.path": "where the base lies; its content counts",
    "base.lr": "what the options of optimizer take; the rate that the optimizer has counts",
    "trainer.accelerator": "where it is computed: rounding, and with dropout other masks; the stage's record names the device",
    "trainer.log_every_n_steps": "how often something is told",
    "trainer.profiler": "a table beside the adapter",
    "trainer.enable_model_summary": "what is told",
    "trainer.enable_autolog_hparams": "what is told",
    "trainer.detect_anomaly": "raises where a number is not finite, and changes none",
    "trainer.inference_mode": "how validation leaves out gradients that nobody reads",
    "training.warmup_steps": "what the options of schedule take; the warm-up that the schedule has counts",
    "training.threads": "how fast it is computed; the order of sums, so the last bits, too",
    "pretrain.root": "where the archive lies, taken to be the published one",
}
"""Why a key changes no identity."""


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of a schema, groups with dots."""
    for name, known in model.model_fields.items():
        kinds = (known.annotation, *get_args(known.annotation))
        groups = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        yield from (key for group in groups for key in keys_of(group, f"{prefix}{name}."))
        yield from () if groups else [f"{prefix}{known.alias or name}"]


def test_every_key_of_the_schema_is_in_the_table():
    assert set(keys_of(RunConfig)) == set(TABLE)


def test_a_key_that_is_added_and_forgotten_is_seen():
    class Larger(SamplingConfig):
        forgotten: int = 0

    class WithLarger(RunConfig):
        sampling: Larger | None = None
        another: bool = False

    assert set(keys_of(WithLarger)) - set(TABLE) == {"sampling.forgotten", "another"}


def test_a_key_that_changes_no_identity_has_a_reason_and_no_other_key_has_one():
    assert {key for key, cases in TABLE.items() if not any(case.changes for case in cases)} == set(REASONS)
    assert all(reason.strip() for reason in REASONS.values())


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, str]:
    """What values of the table in braces stand for."""
    root = tmp_path_factory.mktemp("places")
    base = root / "base"
    (base / "unet").mkdir(parents=True)
    (base / "model_index.json").write_text("{}")
    (base / "unet" / "w.safetensors").write_bytes(b"weights")
    for label, name in enumerate("abc"):
        (root / "images" / name).mkdir(parents=True)
        for i in range(60):
            Image.fromarray(np.full((8, 8, 3), 64 * label + i, dtype=np.uint8)).save(root / "images" / name / f"{i}.png")
            (root / "images" / name / f"{i}.txt").write_text(f"{name} number {i}")
    rows = [f"{name}/{i}.png,{name} number {i}" for name in "abc" for i in range(60)]
    (root / "captions.csv").write_text("\n".join(["file_name,text", *rows]))
    (root / "adapter").mkdir()
    save_file({"x": np.ones(3)}, root / "adapter" / "pytorch_lora_weights.safetensors")
    (root / "empty").mkdir()
    (root / "subset").mkdir()
    counts = {"train": 40, "val": 24, "test": 24}
    arrays = {f"{split}_images": np.zeros((n, 28, 28, 3), np.uint8) for split, n in counts.items()}
    labels = {f"{split}_labels": np.arange(n, dtype=np.uint8)[:, None] % 8 for split, n in counts.items()}
    np.savez(root / "subset" / "bloodmnist.npz", **arrays, **labels)
    (root / "words").write_text("a:\n  canonical: a picture of the letter a\n")
    for name, copied in (("base", "same base"), ("adapter", "same adapter"), ("images", "moved")):
        shutil.copytree(root / name, root / copied)
    return {f"{{{path.name}}}": str(path) for path in root.iterdir()}


@cache
def composed(command: str) -> dict[str, Any]:
    """The smallest configuration of a command, as plain values."""
    drawing = [*(word for word in SMALL if not word.startswith(("judge.", "evaluate."))), "data=phantom"]
    words = {"run": SMALL, "generate": drawing}.get(command, [])
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return from_hydra(compose(command, quote_free_text(words, multirun=False))).model_dump()


def changed(values: Mapping[str, Any], changes: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    values = copy.deepcopy(dict(values))
    for key, value in changes.items():
        *groups, name = key.split(".")
        place = values
        for group in groups:
            place = place[group]
        place[name] = places.get(value, value) if isinstance(value, str) else value
    return values


@dataclass(frozen=True)
class FakeWeights:
    def to_json(self) -> dict[str, str]:
        return {"repository": "timm/x", "revision": "1"}


CASES = [(key, number) for key, cases in TABLE.items() for number in range(len(cases))]


@pytest.mark.parametrize(("key", "number"), CASES, ids=[f"{key}-{number}" for key, number in CASES])
def test_a_key_changes_the_identities_that_the_table_names_and_no_other(key, number, places, monkeypatch):
    monkeypatch.setattr("pathsynth.stages.fingerprints._cached", lambda *_: True)
    monkeypatch.setattr("pathsynth.stages.fingerprints._hub_file", lambda *_: Path(places["{empty}"]) / "none.json")
    monkeypatch.setattr("pathsynth.stages.classifier.pretrained_source", lambda _: FakeWeights())
    case, command = TABLE[key][number], COMMANDS.get(key.partition(".")[0], "run")
    based = {} if command in ("classify", "pretrain") else {"base.path": "{base}"}
    given = changed(composed(command), {**based, **case.given}, places)
    other = changed(given, {key: case.value, **case.along}, places)
    before, after = (RunConfig.model_validate(values) for values in (given, other))
    assert before != after, "the table's value is another one"
    stages = [{stage.name: stage.identity for stage in plan(config).stages} for config in (before, after)]
    assert {name for name in {**stages[0], **stages[1]} if stages[0].get(name) != stages[1].get(name)} == case.changes
    assert (plan(before).identity == plan(after).identity) == (not case.changes and key != "command")


def differs(key: str, stage: str) -> bool:
    """Whether the table says that the first case of a key gives a stage another identity."""
    return stage in TABLE[key][0].changes


def configured(base: Path, *changes: Mapping[str, Any]) -> RunConfig:
    values = composed("run")
    for change in ({"base.path": str(base), "base.name": "local"}, *changes):
        values = changed(values, change, {})
    return RunConfig.model_validate(values)


@pytest.fixture(scope="module")
def latents(small_base_folder, tmp_path_factory):
    """The cache of the smallest trial."""
    from pathsynth.data.catalogue import open_data
    from pathsynth.models.base import load_base
    from pathsynth.training.latent_cache import build_cache, load_cache

    config, folder = configured(small_base_folder), tmp_path_factory.mktemp("cache")
    data, base = open_data(config.data), load_base(str(small_base_folder), None, "b", 32, 32)
    build_cache(folder, data, base, augment=True)
    return load_cache(folder, data, base)


@pytest.mark.parametrize(
    "key",
    [
        *("seed", "training.batch_size", "objective.noise_offset", "objective.caption_dropout", "objective.paraphrases"),
        *("objective.augment", "trainer.accelerator", "training.threads", "trainer.devices", "sampling.threshold", "gate.test"),
    ],
)
def test_the_batches_of_a_fine_tune_are_others_where_its_settings_are(key, latents, small_base_folder):
    from pathsynth.training.batches import BatchPlan

    def batch(config: RunConfig) -> bytes:
        planned = BatchPlan(latents, config.objective, config.training.batch_size, config.seed, 1000).train(3)
        return b"".join(tensor.numpy().tobytes() for tensor in planned)

    before, after = (batch(configured(small_base_folder, change)) for change in ({}, {key: TABLE[key][0].value}))
    assert (before != after) == differs(key, "finetune")


@pytest.fixture(scope="module")
def first_attempts(small_base_folder, tmp_path_factory):
    """What a validation makes of first attempts, by slot: the image's bytes, and the class that the gate sees in it."""
    import torch

    from pathsynth.data.catalogue import open_data
    from pathsynth.models.base import load_base
    from pathsynth.models.design import AdapterDesign
    from pathsynth.models.image_classifier import Classifier, ClassifierSpec
    from pathsynth.models.lora import attach
    from pathsynth.sampling.draw import drawer
    from pathsynth.sampling.gate import Gate
    from pathsynth.sampling.slots import Stream, slots_of
    from pathsynth.studies.execution.trial_rules import acceptance_rules
    from pathsynth.training.regeneration import RegenerationCallback, ValidationParts

    base = load_base(str(small_base_folder), None, "b", 32, 32)
    torch.manual_seed(0)
    for parameter in attach(base, AdapterDesign(2, 2), 0):
        torch.nn.init.normal_(parameter, std=0.1)
    data = open_data(configured(small_base_folder).data)
    classifier = Classifier(ClassifierSpec("resnet10t", 32, "stock", data.space.slugs, data.space.name)).eval()

    def drawn(sampling: SamplingConfig) -> dict[tuple[int, int], tuple[bytes, int]]:
        gate, seen = Gate(classifier, acceptance_rules(classifier, data, sampling), sampling.deterministic), {}

        def judge(attempts, images):
            verdicts = gate(attempts, images)
            for attempt, image, verdict in zip(attempts, images, verdicts, strict=True):
                if attempt.number == 0:
                    seen[attempt.slot.label, attempt.slot.index] = (image.tobytes(), verdict.predicted)
            return verdicts

        slots = slots_of(Stream.VAL, {c.index: data.prompts.canonical(c.index) for c in data.space.classes[:4]}, 1)
        folder = tmp_path_factory.mktemp("validation")
        draw = drawer(base, 32, sampling)
        parts = ValidationParts(lambda n: slots, draw, judge, sampling, draw.scheduler, data.space, folder, lambda step: None)
        callback = RegenerationCallback(parts, every=0, n=1)
        alone = {"global_rank": 0, "world_size": 1, "is_global_zero": True, "sanity_checking": False}
        callback.on_validation_epoch_end(
            SimpleNamespace(global_step=1, loggers=[], callback_metrics={}, progress_bar_metrics={}, **alone), None
        )
        return seen

    known: dict[str, dict[tuple[int, int], tuple[bytes, int]]] = {}

    def once(sampling: SamplingConfig) -> dict[tuple[int, int], tuple[bytes, int]]:
        told = sampling.model_dump_json()
        known[told] = known.get(told) or drawn(sampling)
        return known[told]

    return once


@pytest.mark.parametrize("key", sorted(key for key in TABLE if key.startswith("sampling.")))
def test_a_validation_sees_the_same_first_attempts_where_the_adapter_keeps_its_identity(key, first_attempts, small_base_folder):
    if key in ("sampling.batch_size", "sampling.deterministic"):
        fixed = {"sampling.deterministic": True}  # without it the shape of a batch changes last bits, and may change none
        configs = [configured(small_base_folder, {**fixed, **change}) for change in ({}, {"sampling.batch_size": 7})]
    else:
        configs = [configured(small_base_folder, change) for change in ({}, {key: TABLE[key][0].value})]
    before, after = (first_attempts(config.sampling) for config in configs)
    assert len(before) == 4
    assert (before != after) == (differs(key, "finetune") and key != "sampling.deterministic")


@pytest.mark.parametrize("number", range(len(TABLE["sampling.batch_size"])))
def test_the_size_of_batches_decides_what_is_tried_where_it_is_hashed(number, small_base_folder):
    from pathsynth.sampling.acceptance_rules import Verdict
    from pathsynth.sampling.generation import route_of
    from pathsynth.sampling.rejection import RunBudget, sample_until_accepted
    from pathsynth.sampling.scheduler import scheduler_of
    from pathsynth.sampling.slots import Stream, slots_of

    case = TABLE["sampling.batch_size"][number]
    picture = np.ones((1, 1, 3), dtype=np.uint8)

    def judge(attempts, images):
        return [Verdict(a.seed % 4 == 0, a.slot.label, 0.5, (0.5,), None if a.seed % 4 == 0 else "another", False) for a in attempts]

    def tried(sampling: SamplingConfig) -> set[tuple[int, int, int, bool]]:
        ticks = iter(range(1000))  # a second for every batch
        limits = RunBudget(sampling.calls, sampling.seconds and 2.5, lambda: next(ticks), 0.0)
        slots = slots_of(Stream.EVAL, dict.fromkeys(range(9), "a prompt"), 3)
        budget = (sampling.attempts, sampling.batch_size, sampling.seed)
        more = {"run_budget": limits, "speculate": sampling.speculate, "reject_early": lambda a: [None for _ in a]}
        more["route"] = route_of(sampling, scheduler_of(sampling.scheduler, "", {}))
        judged = sample_until_accepted(slots, lambda attempts: [picture for _ in attempts], judge, *budget, **more)
        return {(j.attempt.slot.label, j.attempt.slot.index, j.attempt.number, j.verdict.accepted) for j in judged}

    given = {"sampling.attempts": 4, **case.given}
    before, after = (tried(configured(small_base_folder, given, change).sampling) for change in ({}, {"sampling.batch_size": case.value}))
    assert (before != after) == bool(case.changes)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A classifier's tensors, and what else its answers depend on, by the settings of the trial; each is trained once."""
    from pathsynth.data.catalogue import open_data
    from pathsynth.training.train_classifier import train_classifier

    known: dict[str, tuple[Any, ...]] = {}

    def trained(config: RunConfig) -> tuple[Any, ...]:
        told = config.model_dump_json()
        known[told] = known.get(told) or fresh(config)
        return known[told]

    def fresh(config: RunConfig) -> tuple[Any, ...]:
        folder = tmp_path_factory.mktemp("classifier")
        train_classifier(config.gate, open_data(config.data), folder, [], ())
        description = json.loads((folder / "classifier.json").read_text())
        return weights_digest(folder / "classifier.safetensors"), description["spec"]["tta_d4"], description["temperature"]

    return trained


def in_tiers(keys: Iterable[str], first: Collection[str]) -> list[Any]:
    """One training for each key: those of ``first`` in the slow tests, the others in the thorough ones."""
    return [key if key in first else pytest.param(key, marks=pytest.mark.thorough) for key in keys]


CLASSIFIERS = [key for key in [*_OF_A_CLASSIFIER, "test"] if key not in ("pretrained", "patience")]


@pytest.mark.slow
@pytest.mark.parametrize("key", in_tiers(CLASSIFIERS, ("seed", "optimizer", "part", "test")))
def test_a_classifier_is_another_where_its_settings_are(key, classifier, small_base_folder):
    changes = ({}, {f"gate.{key}": TABLE[f"gate.{key}"][0].value})
    before, after = (classifier(configured(small_base_folder, {"gate.batch_size": 4}, change)) for change in changes)
    assert (before != after) == differs(f"gate.{key}", "gate")


TRAININGS = [
    *("seed", "optimizer", "lora.rank", "lora.alpha", "lora.dropout", "lora.targets", "lora.rslora", "lora.init"),
    *(f"objective.{key}" for key in ("min_snr_gamma", "noise_offset", "caption_dropout", "paraphrases", "augment")),
    *(f"trainer.{key}" for key in ("max_steps", "accumulate_grad_batches", "precision", "gradient_clip_val")),
    *("schedule", "training.batch_size", "training.ema_decay"),
]
"""Keys whose effect on an adapter of four steps shows in its bits."""
NO_EFFECT = [
    [
        *(
            f"trainer.{key}"
            for key in ("enable_model_summary", "accelerator", "log_every_n_steps", "profiler", "detect_anomaly", "inference_mode")
        ),
        *(f"training.{key}" for key in ("warmup_steps", "checkpoint_every", "keep_checkpoints", "explosion", "retry_factor")),
        *(f"sampling.{key}" for key in ("attempts", "threshold", "precision_target", "margin", "reject_copies", "rules", "calls")),
        *("sampling.guidance_step", "sampling.image_to_image", "sampling.early_rejection.after_step", "gate.test"),
    ],
    ["sampling.speculate"],
    ["sampling.retry"],
]
"""Keys that must not show in its bits; those of a list go together."""


@pytest.fixture(scope="module")
def adapter(small_base_folder, latents, tmp_path_factory):
    """The digest of the tensors of a fine-tune's adapter, by the settings of the trial."""
    import torch

    from pathsynth.data.catalogue import open_data
    from pathsynth.models.base import load_base
    from pathsynth.models.image_classifier import Classifier, ClassifierSpec
    from pathsynth.sampling.gate import Gate
    from pathsynth.studies.execution.trial_rules import acceptance_rules
    from pathsynth.training.finetune import FinetuneJob, FinetuneSettings, finetune

    data = open_data(configured(small_base_folder).data)
    torch.manual_seed(0)
    classifier = Classifier(ClassifierSpec("resnet10t", 32, "stock", data.space.slugs, data.space.name)).eval()
    known: dict[str, str] = {}

    def trained(config: RunConfig) -> str:
        told = config.model_dump_json()
        if told not in known:
            known[told] = fresh(config)
        return known[told]

    def fresh(config: RunConfig) -> str:
        folder = tmp_path_factory.mktemp("adapter")
        gate = Gate(classifier, acceptance_rules(classifier, data, config.sampling), config.sampling.deterministic)
        job = FinetuneJob(load_base(str(small_base_folder), None, "b", 32, 32), latents, data, gate, FinetuneSettings.of(config))
        finetune(job, folder, folder / "work", [], ())
        return weights_digest(folder / "adapter" / "pytorch_lora_weights.safetensors")

    return trained


def first_value(key: str) -> dict[str, Any]:
    return {key: TABLE[key][0].value}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", in_tiers(TRAININGS, ("seed", "optimizer", "lora.rank", "objective.augment", "trainer.precision")))
def test_an_adapter_is_another_where_its_settings_are(key, adapter, small_base_folder):
    assert differs(key, "finetune")
    unwatched = {"callbacks.regeneration.every": 0}
    before, after = (adapter(configured(small_base_folder, unwatched, change)) for change in ({}, first_value(key)))
    assert before != after


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "keys", [NO_EFFECT[0], *(pytest.param(keys, marks=pytest.mark.thorough) for keys in NO_EFFECT[1:])], ids=["most", "speculate", "retry"]
)
def test_an_adapter_is_the_same_where_other_settings_change(keys, adapter, small_base_folder):
    assert not [key for key in keys if differs(key, "finetune")]
    before, after = (adapter(configured(small_base_folder, *changes)) for changes in ([], map(first_value, keys)))
    if before != after:  # those that do it alone are named
        assert not [key for key in keys if adapter(configured(small_base_folder, first_value(key))) != before]
    assert before == after
