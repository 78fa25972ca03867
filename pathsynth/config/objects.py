"""Objects that a configuration names by ``_target_``, with their arguments as the other keys."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pathsynth.ledger.errors import RequestError

_FULL_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def require_target(key: str, settings: Mapping[str, Any], example: str = "my_module.MyClass") -> None:
    """Check that settings name a class or function. It is loaded, and its arguments are checked, where torch is.

    Raises:
        ValueError: ``_target_`` is missing, or is no full name.
    """
    target = settings.get("_target_")
    if not isinstance(target, str) or not _FULL_NAME.fullmatch(target):
        got = "" if target is None else f", got {target!r}"
        raise ValueError(f"{key}._target_ should name a class, as in {example}{got}")


def make_object(key: str, settings: Mapping[str, Any], members: Sequence[str]) -> Any:
    """The object that settings name, made by Hydra; its module is loaded now. Lists and mappings reach it as plain ones.

    ``members``: names of the methods and attributes that it must have.

    Raises:
        RequestError: it cannot be loaded or made, or lacks a member; the message names the key and the class.
    """
    from hydra.utils import instantiate  # not needed by those who use the library without a configuration

    try:
        made = instantiate({"_convert_": "all", **settings})
    except Exception as error:  # whatever the class raises at its arguments
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split()) or type(cause).__name__
        raise RequestError(f"{key} cannot be made of {settings['_target_']}: {reason}; correct it, or leave it out") from error
    lacking = [name for name in members if not hasattr(made, name)]
    if lacking:
        raise RequestError(f"{key}: what {settings['_target_']} makes lacks {', '.join(lacking)}; name a class that has it")
    return made
