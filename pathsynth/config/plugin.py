"""Settings of pathsynth's own plugins for Hydra, checked as strictly as those of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pathsynth.ledger.errors import RequestError
from pathsynth.vocabulary.spelling import nearest_hint

Settings = TypeVar("Settings", bound=BaseModel)


def plugin_settings(model: type[Settings], node: str, values: Mapping[str, Any]) -> Settings:
    """The checked settings of the plugin whose keys stand below ``node``, as in ``hydra.sweeper``.

    Raises:
        RequestError: a key is unknown, or its value wrong; the message names it.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "value_error":
            line = str(fault["msg"]).removeprefix("Value error, ")
        elif fault["type"] == "extra_forbidden":
            line = f"unknown key {node}.{key}{nearest_hint(f'{node}.{key}', [f'{node}.{field}' for field in model.model_fields])}"
        else:
            line = f"{node}.{key}: {fault['msg'][0].lower()}{fault['msg'][1:]}, got {fault['input']!r}"
        raise RequestError(line) from error
