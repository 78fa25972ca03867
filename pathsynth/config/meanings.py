"""What each configuration key means: the docstrings below the fields of the schema, read on request.

pydantic can keep them as descriptions, but looks for them whenever the schema is loaded, which is at the start of every command.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pathsynth.config import schema, search
from pathsynth.config.parse import KEYS_OF_CUSTOM_CLASSES
from pathsynth.config.schema import RunConfig
from pathsynth.config.search import SearchConfig

SWEEPER = "hydra.sweeper"
"""Where the settings of a search stand."""


def key_fields() -> Mapping[str, tuple[type[BaseModel], str, FieldInfo]]:
    """The keys that people can set, as they type them, in the order of the schema: model, field, and what pydantic knows of it.

    A group is a key, too; the keys of a group that may have several forms are those of all of them.
    """
    fields: dict[str, tuple[type[BaseModel], str, FieldInfo]] = {}
    for name, field in RunConfig.model_fields.items():
        fields[name] = (RunConfig, name, field)
        for model in reversed(_models(field.annotation)):
            for inner, inner_field in model.model_fields.items():
                prefix = "" if name == "generate" else f"{name}."
                key = prefix + (inner_field.alias or inner)
                group = inner_field.annotation
                if isinstance(group, type) and issubclass(group, BaseModel):
                    fields |= {f"{key}.{deep}": (group, deep, deep_field) for deep, deep_field in group.model_fields.items()}
                else:
                    fields.setdefault(key, (model, inner, inner_field))
    for name, field in SearchConfig.model_fields.items():
        fields[f"{SWEEPER}.{name}"] = (SearchConfig, name, field)
    del fields["command"]
    return {_typed(key): place for key, place in fields.items()}


def key_meaning(key: str) -> str:
    """One or two sentences without line breaks; empty where the schema says nothing.

    Raises:
        KeyError: the key cannot be set.
    """
    model, field, _ = key_fields()[key]
    return next((text for kind in model.__mro__ if (text := _docstrings().get((kind.__name__, field)))), "")


def _typed(key: str) -> str:
    """The key by which people name a class of their own, where the settings of one are kept."""
    return f"{key.rpartition('.')[0]}._target_" if key in KEYS_OF_CUSTOM_CLASSES else key


def _models(annotation: Any) -> list[type[BaseModel]]:
    kinds = get_args(annotation) or (annotation,)
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


@cache
def _docstrings() -> Mapping[tuple[str, str], str]:
    """By class and field."""
    return {place: text for module in (schema, search) for place, text in _field_docstrings(inspect.getsource(module))}


def _field_docstrings(source: str) -> Iterator[tuple[tuple[str, str], str]]:
    for model in ast.parse(source).body:
        if not isinstance(model, ast.ClassDef):
            continue
        for field, text in zip(model.body, model.body[1:], strict=False):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                    yield (model.name, name), " ".join(words.split())
