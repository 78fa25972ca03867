"""Objects that a configuration names by ``_target_``, with their arguments as the other keys."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pathsynth.ledger.errors import RequestError

_MOVED = {"pathsynth.training.classifier.ClassifierModule": "pathsynth.training.classifier_module.ClassifierModule"}
_FULL_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def require_target(key: str, settings: Mapping[str, Any], example: str = "my_module.MyClass") -> None:
    """Check that settings name a class or function. It is loaded, and its arguments are checked, where torch is.

    Raises:
        ValueError: ``_target_`` is missing, is no full name, or is that of a class of ours that has another now.
    """
    target = settings.get("_target_")
    if not isinstance(target, str) or not _FULL_NAME.fullmatch(target):
        got = "" if target is None else f", got {target!r}"
        raise ValueError(f"{key}._target_ should name a class, as in {example}{got}")
    if target in _MOVED:
        raise ValueError(f"{key}._target_: {target} is {_MOVED[target]} now; change it")


def build_object(key: str, settings: Mapping[str, Any], kind: type = object, members: Sequence[str] = (), **given: Any) -> Any:
    """The object that settings name, made by Hydra of their arguments and of those that the program gives; its module is loaded now.

    Lists and mappings reach it as plain ones. ``kind``: what it must be; ``members``: names of methods and attributes that it must have.

    Raises:
        RequestError: it cannot be loaded or made, is no ``kind`` or lacks a member; the message names the key and the class.
    """
    from hydra.utils import instantiate  # not needed by those who use the library without a configuration

    target = settings["_target_"]
    try:
        built = instantiate(dict(settings), _partial_=True, _convert_="all")(**given)
    except Exception as error:  # a class may raise any exception at its arguments
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split()) or type(cause).__name__
        raise RequestError(f"{key} cannot be made of {target}: {reason}; correct {key}.*, or leave it out") from error
    if not isinstance(built, kind):
        raise RequestError(f"{key}._target_={target} makes a {type(built).__name__}, which is no {kind.__name__}; name another")
    lacking = [name for name in members if not hasattr(built, name)]
    if lacking:
        raise RequestError(f"{key}: what {target} makes lacks {', '.join(lacking)}; name a class that has it")
    return built
