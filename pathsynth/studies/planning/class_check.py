"""A process of its own that loads the classes a request names and makes or binds them, for loading them loads torch.

It reads a :class:`ClassRequest` as JSON from its input, and prints the faults as a JSON list in the last line of its output.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import sys
from collections.abc import Mapping
from typing import Any

import hydra.utils
from pytorch_lightning.loggers import Logger

from pathsynth.ledger.errors import RequestError
from pathsynth.studies.planning.classes import ClassRequest, ObjectRequest
from pathsynth.training.callbacks import callback_faults
from pathsynth.training.optimizer import check_optimizer


def class_faults(request: ClassRequest) -> list[str]:
    """What is wrong with the classes of a request: callbacks and optimizer are made, for that has no effect; a logger is not."""
    faults = callback_faults(request.callbacks, request.monitored)
    if request.optimizer:
        try:
            check_optimizer(request.optimizer, magnitudes=request.magnitudes, text_encoder=request.text_encoder)
        except RequestError as error:
            faults += error.faults
    faults += [fault for named in request.objects for fault in object_faults(named)]
    return faults + (_logger_faults(request.logger) if request.logger else [])


def object_faults(request: ObjectRequest) -> list[str]:
    """Why an object cannot be made of what a configuration names; it is not made, for its class may do anything then."""
    target = request.settings["_target_"]
    named = f"{request.key}._target_={target}"
    try:
        maker, kind = hydra.utils.get_object(target), hydra.utils.get_object(request.kind)
        if not callable(maker):
            return [f"{named} is neither a class nor a function; name one that makes a {kind.__name__}"]
        lacking = missing_members(maker, kind)
        if lacking:
            return [f"{named} is no {request.kind}: it lacks {', '.join(lacking)}; see that class for what is needed"]
        signature = inspect.signature(maker)
    except Exception as error:  # a user's module may raise any exception; the setting was wrong
        return [f"{named} cannot be loaded ({' '.join(str(error).split())}); correct the name, or put its module where the command starts"]
    try:
        signature.bind(**dict.fromkeys(request.given), **_arguments(request.settings))
    except TypeError as error:
        besides = f" besides {', '.join(request.given)}" if request.given else ""
        hint = f"; {request.hint}" if request.hint else ""
        return [f"{request.key}: {target} refuses its arguments ({error}); it takes {_parameters(signature, request)}{besides}{hint}"]
    return []


def missing_members(maker: Any, kind: type) -> list[str]:
    """What a class lacks of another, or of a protocol; nothing where ``maker`` is a function, whose result is looked at later."""
    if not isinstance(maker, type):
        return []
    if not getattr(kind, "_is_protocol", False):
        return [] if issubclass(maker, kind) else [f"the base class {kind.__name__}"]
    members = [name for name in dir(kind) if not name.startswith("_")]
    fields = getattr(maker, "__annotations__", {})
    return [name for name in members if not hasattr(maker, name) and name not in fields]


def _parameters(signature: inspect.Signature, request: ObjectRequest) -> str:
    return ", ".join(name for name in signature.parameters if name not in request.given) or "no argument"


def _arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments among the settings of an object; ``_target_`` and its like are Hydra's."""
    return {key: value for key, value in settings.items() if not (key.startswith("_") and key.endswith("_"))}


def _logger_faults(arguments: dict[str, Any]) -> list[str]:
    name = arguments["_target_"]
    try:
        kind = hydra.utils.get_class(name)
        if not issubclass(kind, Logger):
            return [f"tracking._target_={name} is no Lightning logger; choose tracking=wandb, csv or none"]
        signature = inspect.signature(kind)
        defaults = {"save_dir": "."} if "save_dir" in signature.parameters else {}
        signature.bind(**{**defaults, **_arguments(arguments)})
    except Exception as error:  # a user's module may raise any exception; the setting was wrong
        return [f"tracking._target_={name} cannot be used ({' '.join(str(error).split())}); choose tracking=wandb, csv or none"]
    return []


def main() -> None:
    """Read a request from the input, check its classes, and print the faults as the last line of the output."""
    fields = json.load(sys.stdin)
    request = ClassRequest(**{**fields, "objects": [ObjectRequest(**named) for named in fields["objects"]]})
    with contextlib.redirect_stdout(sys.stderr):  # a module may print as it is loaded
        faults = class_faults(request)
    print(json.dumps(faults))


if __name__ == "__main__":
    main()
