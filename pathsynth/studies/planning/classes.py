"""Classes that a request names, checked by one process for all of them before a trial starts. No torch in this one."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pathsynth.config import CustomClassifierConfig, RunConfig
from pathsynth.config.schema import CUSTOM_OPTIONS, FINETUNE_TARGET, REGENERATION, TRAINER_TARGET, shipped_schedule
from pathsynth.data.catalogue import ready_set
from pathsynth.ledger.errors import RequestError
from pathsynth.studies.trials.stopping import in_worker
from pathsynth.terminal.work_line import working_on
from pathsynth.tracking.metric_names import monitored_names

_SHIPPED_OPTIMIZERS = ("torch.optim.AdamW", "timm.optim.Muon")
_SHIPPED_ARGUMENTS = {"_target_", "lr", "group_lr", "weight_decay"}
_SHIPPED_CALLBACK = {"_target_": "pytorch_lightning.callbacks.LearningRateMonitor", "logging_interval": "step"}
_SHIPPED_LOGGER = {"_target_": "pytorch_lightning.loggers.CSVLogger", "name": "metrics"}
_LIGHTNING_MODULE = "pytorch_lightning.LightningModule"
_PATIENCE_SECONDS = 300


@dataclass(frozen=True)
class ObjectRequest:
    """An object that a configuration names in place of one of ours: ``settings`` hold its ``_target_`` and arguments.

    ``key``: where it stands in the configuration. ``kind``: the full name of the class or protocol it must fit. ``given``: the arguments
    that the program adds when it makes the object, by name. ``hint``: what to do where its class refuses the arguments.
    """

    key: str
    settings: Mapping[str, Any]
    kind: str
    given: Sequence[str] = ()
    hint: str = ""


@dataclass(frozen=True)
class ClassRequest:
    """What a request names beyond what is shipped; empty where it is shipped. ``monitored``: what its callbacks may monitor."""

    callbacks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)
    magnitudes: bool = False
    text_encoder: bool = False
    monitored: Sequence[str] = ()
    objects: Sequence[ObjectRequest] = ()


def class_request(config: RunConfig, slugs: Sequence[str]) -> ClassRequest | None:
    """The classes of a request that are to be checked; None if all are shipped. ``slugs``: the names of its classes."""
    callbacks = {name: callback for name, callback in config.other_callbacks.items() if callback != _SHIPPED_CALLBACK}
    optimizer = config.optimizer if config.lora and not _is_shipped(config.optimizer) else {}
    logger = config.tracking.logger if config.tracking.logger != _SHIPPED_LOGGER else {}
    objects = object_requests(config)
    if not (callbacks or optimizer or logger or objects):
        return None
    monitored = monitored_names(slugs, validates=bool(config.validation.every))
    lora = config.lora
    return ClassRequest(callbacks, optimizer, logger, bool(lora and lora.dora), bool(lora and lora.text_encoder), monitored, objects)


def object_requests(config: RunConfig) -> tuple[ObjectRequest, ...]:
    """The objects of a request that are the user's own, each under its key."""
    return (*_classifiers(config), *_sampling_objects(config), *_metrics(config), *(_training_objects(config) if config.lora else ()))


def _classifiers(config: RunConfig) -> Iterator[ObjectRequest]:
    if config.data and config.data.name == "ready":  # its gate has the arguments that it was trained with
        with contextlib.suppress(RequestError):  # the plan reports it
            module = ready_set(config.data).gate_module
            if module and isinstance(config.gate, CustomClassifierConfig) and config.gate.architecture == module["_target_"]:
                yield ObjectRequest("gate", module, _LIGHTNING_MODULE, ("classes", "size"))
        return
    for key in ("gate", "judge", "classifier"):
        named = getattr(config, key)
        if isinstance(named, CustomClassifierConfig):
            option = f"{'classifier' if key == 'classifier' else f'classifier@{key}'}={CUSTOM_OPTIONS[key]}"
            yield _classifier(key, named, option)
    for name, judge in (config.evaluate.judges if config.evaluate else {}).items():
        if isinstance(judge, CustomClassifierConfig):
            key = f"evaluate.judges.{name}"
            yield _classifier(key, judge, f"+classifier@{key}={CUSTOM_OPTIONS['judge']}")


def _classifier(key: str, named: CustomClassifierConfig, option: str) -> ObjectRequest:
    hint = f"choose {option}, which leaves out the arguments of ours" if named.has_arguments_of_ours else ""
    return ObjectRequest(key, named.module, _LIGHTNING_MODULE, ("classes", "size"), hint)


def _sampling_objects(config: RunConfig) -> Iterator[ObjectRequest]:
    if config.sampling and config.sampling.retry:
        yield ObjectRequest("sampling.retry", config.sampling.retry, "pathsynth.sampling.retry.RetryStrategy")
    for name, rule in (config.sampling.rules if config.sampling else {}).items():
        yield ObjectRequest(f"sampling.rules.{name}", rule, "pathsynth.sampling.acceptance_rules.Rule")


def _metrics(config: RunConfig) -> Iterator[ObjectRequest]:
    for name, metric in (config.evaluate.metrics if config.evaluate else {}).items():
        yield ObjectRequest(f"evaluate.metrics.{name}", metric, "pathsynth.metrics.custom_metrics.ImageMetric")


def _training_objects(config: RunConfig) -> Iterator[ObjectRequest]:
    """What a fine-tune is made of."""
    validation = config.validation
    if validation.every and not validation.is_shipped:
        settings = {**validation.callback, "every": validation.every, "n": validation.n}
        yield ObjectRequest(f"callbacks.{REGENERATION}", settings, "pathsynth.training.regeneration.RegenerationCallback", ["parts"])
    if config.schedule and shipped_schedule(config.schedule) is None:
        yield ObjectRequest("schedule", config.schedule, "pathsynth.training.schedules.Schedule", ["optimizer"])
    if config.finetune != {"_target_": FINETUNE_TARGET}:
        yield ObjectRequest("finetune", config.finetune, FINETUNE_TARGET, ["parts"])
    if config.trainer.target != TRAINER_TARGET:
        yield ObjectRequest("trainer", {"_target_": config.trainer.target}, TRAINER_TARGET)


def class_faults(request: ClassRequest | None) -> list[str]:
    """A line for each class that cannot be loaded or refuses its arguments; the same request is checked once in a command."""
    if request is None or in_worker():  # the command has checked what it gives its workers
        return []
    return list(_checked(json.dumps(asdict(request), sort_keys=True)))


@functools.lru_cache(maxsize=256)
def _checked(request: str) -> tuple[str, ...]:
    command = [sys.executable, "-m", "pathsynth.studies.planning.class_check"]
    try:
        with working_on("checking the classes that the request names", is_logged=True):
            ended = subprocess.run(command, input=request, capture_output=True, text=True, timeout=_PATIENCE_SECONDS)
        return tuple(json.loads(ended.stdout.splitlines()[-1]))
    except subprocess.TimeoutExpired:
        return (f"the classes that the request names were not loaded within {_PATIENCE_SECONDS} s; remove code that waits during import",)
    except (ValueError, IndexError):
        last = (ended.stderr.strip().splitlines() or ["no word"])[-1]
        return (f"the classes that the request names end the process that loads them ({last}); remove them one by one to find which",)


def _is_shipped(optimizer: Mapping[str, Any]) -> bool:
    return optimizer.get("_target_") in _SHIPPED_OPTIMIZERS and set(optimizer) <= _SHIPPED_ARGUMENTS and not optimizer.get("group_lr")
