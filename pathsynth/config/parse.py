"""From composed values to checked settings, with one line for each thing that is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pathsynth.config.schema import CAPTIONS_BESIDE, REGENERATION, RunConfig
from pathsynth.config.secrets import is_secret
from pathsynth.ledger.earlier import TRAINING_KEYS, current_form
from pathsynth.ledger.errors import RequestError
from pathsynth.vocabulary.spelling import nearest_hint, nearest_words

REQUEST_KEYS = ("prompt", "label", "labels", "n", "shard", "shards")
"""Keys of ``generate`` that people type at the top level."""

_LEARNERS = ("gate", "judge", "lora", "optimizer", "schedule", "finetune", "objective", "sampling", "evaluate", "callbacks")
RENAMED: Mapping[str, str] = {
    "trial.isolation": "study.isolation",
    "validation": f"callbacks.{REGENERATION}",
    "validation.every": f"callbacks.{REGENERATION}.every",
    "validation.n": f"callbacks.{REGENERATION}.n",
    "sampling.look_after": "sampling.early_rejection.after_step",
    "sampling.look_loss": "sampling.early_rejection.max_lost",
    "sampling.look_n": "sampling.early_rejection.n",
    "sampling.revise": "sampling.image_to_image",
    "trainer.schedule": "the group schedule, as in schedule=constant",
    "trainer.restart_steps": "schedule.restart_steps",
    "trainer.accumulate": "trainer.accumulate_grad_batches",
    **{f"trainer.{key}": f"training.{key}" for key in TRAINING_KEYS},
    "tracking.name": "the group tracking, as in tracking=none",
}
"""Keys of earlier versions, and what they are called now."""

UNREAD: Mapping[str, tuple[str, ...]] = {
    "finetune": ("judge", "evaluate"),
    "generate": ("judge", "evaluate"),
    "classify": ("base", *_LEARNERS),
    "pretrain": ("data", "base", *_LEARNERS),
}
"""Groups that a study may set and a command does not read; another command of the same study does."""

_PATHS = (
    *(("data", "root"), ("data", "prompts"), ("data", "group"), ("data", "captions")),
    *(("base", "path"), ("lora", "start"), ("pretrain", "root"), ("tracking", "save_dir")),
)


def from_hydra(config: DictConfig) -> RunConfig:
    """The checked settings of what Hydra composed (without its own ``hydra`` node); paths become absolute.

    Raises:
        RequestError: a value is missing, unknown, of the wrong type or out of range; the message names the key.
    """
    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise RequestError(f"{error.full_key} is missing; set it") from error
    except OmegaConfBaseException as error:
        raise RequestError(str(error).splitlines()[0]) from error
    assert isinstance(values, dict)
    plain = {str(key): value for key, value in values.items()}
    if plain.get("command") == "generate":
        plain["generate"] = {key: plain.pop(key, None) for key in REQUEST_KEYS}
    return _checked(_absolute({key: value for key, value in plain.items() if key not in UNREAD.get(str(plain.get("command")), ())}))


def parse_config(values: Mapping[str, Any]) -> RunConfig:
    """The checked settings of plain values, as a manifest of this version or of an earlier one holds them.

    Raises:
        RequestError: as :func:`from_hydra`.
    """
    return _checked(current_form(values))


def _checked(values: Mapping[str, Any]) -> RunConfig:
    for key in _secrets(values):
        raise RequestError(f"{key} looks like a secret and would be stored with the results; set it in the environment instead")
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise RequestError(*_faults(error)) from error


def _absolute(values: dict[str, Any]) -> dict[str, Any]:
    """A trial may start in another folder than its command."""
    for group, key in _PATHS:
        settings = values.get(group)
        if isinstance(settings, dict) and settings.get(key) and (key, settings[key]) != ("captions", CAPTIONS_BESIDE):
            values[group] = {**settings, key: _absolute_path(str(settings[key]))}
    if isinstance(values.get("multirun"), str):
        values["multirun"] = str(Path(values["multirun"]).expanduser().absolute())
    return values


def _absolute_path(text: str) -> str:
    """The path made absolute, behind ``csv:`` where that is before it; a pattern (``regex:``) is no path."""
    if text.startswith("regex:"):
        return text
    prefix = "csv:" if text.startswith("csv:") else ""
    return prefix + str(Path(text.removeprefix(prefix)).expanduser().absolute())


def _secrets(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if is_secret(str(key), value):
            yield name
        for inner in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(inner, Mapping):
                yield from _secrets(inner, f"{name}.")


_DEPTHS = {"evaluate.judges": 4, "sampling.early_rejection": 3}
"""How many words the keys of a group in a group have."""


def _faults(error: ValidationError) -> list[str]:
    """A line for each fault; missing keys are listed only where nothing else is wrong, because they may follow from that."""
    faults = error.errors()
    chosen = [fault for fault in faults if fault["type"] != "missing"] or faults
    return list({_typed_key(fault["loc"]): _line(fault) for fault in reversed(chosen)}.values())[::-1]


_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "a text"}
_OF_ANOTHER_KIND = ("_parsing", "_type", "_from_float")
"""How pydantic's names for such faults begin and end."""


def _line(fault: ErrorDetails) -> str:
    key = _typed_key(fault["loc"])
    if fault["type"] == "extra_forbidden":
        if key in RENAMED:
            return f"no key '{key}' any more; it is {RENAMED[key]}"
        return f"unknown key {key}{_nearest_key(fault['loc'])}"
    if fault["type"] == "missing":
        return f"{key} is missing; set it"
    if fault["type"] == "value_error":
        return str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] in ("tuple_type", "list_type") and not isinstance(fault["input"], Mapping):
        return f"{key}: should be a list, as in {key}=[{fault['input']}]; got {fault['input']!r}"
    if fault["type"] == "literal_error":
        choices = [word.strip("'") for word in re.split(r", | or ", fault["ctx"]["expected"])]
        return f"{key}: should be one of {', '.join(choices)}, got {fault['input']!r}{nearest_hint(str(fault['input']), choices)}"
    kind = fault["type"].split("_")[0]
    if kind in _KINDS and fault["type"].endswith(_OF_ANOTHER_KIND):
        return f"{key} must be {_KINDS[kind]}, not {fault['input']!r}"
    return f"{key}: {fault['msg'][0].lower()}{fault['msg'][1:]}, got {fault['input']!r}; set {key}"


def _typed_key(loc: tuple[int | str, ...]) -> str:
    """The key as people type it; pydantic adds the members of a union and places in a list to it."""
    parts = [part for part in loc if isinstance(part, str) and re.fullmatch(r"[a-z_0-9]+", part)]
    depth = _DEPTHS.get(".".join(parts[:2]), 2)
    readable = parts[:depth] or [".".join(map(str, loc))]  # an unknown name stays as it is
    return readable[1] if readable[0] == "generate" and len(readable) == 2 else ".".join(readable)


def _nearest_key(loc: tuple[int | str, ...]) -> str:
    groups: Any = RunConfig
    for name in loc[:-1]:
        group = next((kind.model_fields[name] for kind in _models(groups) if name in kind.model_fields), None)
        groups = group.annotation if group else groups
    known = _fields_of(groups)
    close = nearest_words(str(loc[-1]), known)
    return f"; nearest: {'.'.join([*map(str, loc[:-1]), close[0]])}" if close else ""


KEYS_OF_CUSTOM_CLASSES = {"tracking.logger", "gate.module", "judge.module", "classifier.module", "data.module"}
"""Where the settings of a user's own class are kept; they are typed without that word."""


def setting_keys() -> frozenset[str]:
    """The keys that people can set, as they are typed; not those of ``optimizer`` and ``callbacks``, which are their classes' own."""
    inner = {key for key in _inner_keys(RunConfig) if "." in key and not key.startswith("generate.")}
    return frozenset({*inner, *REQUEST_KEYS, "seed", "multirun"} - KEYS_OF_CUSTOM_CLASSES)


def _inner_keys(annotation: Any, prefix: str = "") -> Iterator[str]:
    """The keys of a group and of the groups in it, with dots."""
    for kind in _models(annotation):
        for name, field in kind.model_fields.items():
            key = f"{prefix}{field.alias or name}"
            yield from _inner_keys(field.annotation, f"{key}.") if _models(field.annotation) else [key]


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The records that a field holds one of."""
    kinds = annotation.__args__ if isinstance(annotation, UnionType) else (annotation,)
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


def _fields_of(annotation: Any) -> list[str]:
    return [field.alias or name for kind in _models(annotation) for name, field in kind.model_fields.items()]
