"""Objects that a configuration names by ``_target_``, with their arguments as the other keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pathsynth.ledger.errors import RequestError

_Kind = TypeVar("_Kind")
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


def build_object(key: str, settings: Mapping[str, Any], kind: type[_Kind], **given: Any) -> _Kind:
    """The object that settings name, of their arguments and of those that the program gives.

    Raises:
        RequestError: its class cannot be loaded or refuses the arguments, or it is no ``kind``.
    """
    import hydra.utils
    from hydra.errors import InstantiationException

    try:
        made = hydra.utils.instantiate(dict(settings), _partial_=True, _convert_="all")(**given)
    except (InstantiationException, TypeError, ValueError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise RequestError(f"{key} cannot be made of {settings['_target_']}: {reason}; correct {key}.*") from error
    if not isinstance(made, kind):
        made_of = f"{key}._target_={settings['_target_']} makes a {type(made).__name__}"
        raise RequestError(f"{made_of}, which is no {kind.__name__}; name another")
    return made
