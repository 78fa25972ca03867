"""What of a trial's files may be shared: no secrets, and no places on the disk of the person who shares."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from pathsynth.config.secrets import is_secret
from pathsynth.ledger.errors import RequestError
from pathsynth.studies.trials.state import STATE

_SECRET_TEXT = re.compile(rb"hf_[A-Za-z0-9]{30,}|AKIA[A-Z0-9]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|[a-z][a-z0-9+.]*://[^\s/:@\"]+:[^\s/@\"]+@")
_SECRET_NAMES = (
    *("WANDB_API_KEY", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
    *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY"),
)
_SENTENCES = ("reason", "detail")
_PEOPLE = ("author", "host")
"""The parts of a trial's state that say who ran it."""
_PLACE = re.compile(r"(?<![\w.:/~…])(?:/[^\s/'\"=,;:()\[\]]+){2,}/?|(?<!\w)[A-Za-z]:\\[^\s'\"=,;()\[\]]+")
"""An absolute path in the midst of a text."""
_BEFORE_A_PLACE = re.compile(r"([^=]*=)?['\"]?(csv:)?")


def shareable(path: Path, anonymous: bool = False) -> bytes:
    """The content of a file as others may have it: of JSON, without values under keys such as api_key, and of paths the last name alone.

    ``anonymous``: the state of a trial does not say who ran it, and on which machine.

    Raises:
        RequestError: the file holds what looks like a secret, or cannot be read.
    """
    content = path.read_bytes()
    if path.suffix == ".json":
        try:
            value = shareable_value(json.loads(content))
            if anonymous and path.name == STATE and isinstance(value, dict):
                value |= {key: "" for key in _PEOPLE if key in value}
            content = json.dumps(value, indent=2).encode()
        except (ValueError, RecursionError) as error:
            raise RequestError(f"{path} cannot be read ({error}); run the trial again, or remove it from the study") from error
    if path.suffix in (".json", ".csv") and has_secret(content):
        raise RequestError(f"{path} holds what looks like a secret; nothing was published; remove it first")
    return content


def has_secret(content: bytes) -> bool:
    """Whether a content holds what looks like a key or a password within a URL, or a secret of this environment."""
    known = [os.environ[name].encode() for name in _SECRET_NAMES if os.environ.get(name)]
    return _SECRET_TEXT.search(content) is not None or any(secret in content for secret in known)


def shareable_value(value: Any, key: str = "") -> Any:
    """A value of JSON as others may have it: ``key`` names it where it is a setting or a sentence."""
    if isinstance(value, Mapping):
        return {k: "(left out)" if is_secret(str(k), v) else shareable_value(v, str(k)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [shareable_value(v, key) for v in value]
    if not isinstance(value, str):
        return value
    return sentence_without_places(value) if key in _SENTENCES else setting_without_place(value)


def setting_without_place(text: str) -> str:
    """The same setting, alone, behind a key and "=" or behind "csv:", with ``…/name`` where it is an absolute path."""
    before = "" if _is_place(text) else (_BEFORE_A_PLACE.match(text) or [""])[0]
    value = text.removeprefix(before)
    return f"{before}…/{PureWindowsPath(value).name}" if _is_place(value) else text


def sentence_without_places(text: str) -> str:
    """The same sentence with ``…/name`` for each absolute path in it, and no name of this user's home even where a path has spaces."""
    return _PLACE.sub(lambda match: f"…/{PureWindowsPath(match.group()).name}", text.replace(f"{Path.home()}/", "/~/~/"))


def _is_place(text: str) -> bool:
    return "\n" not in text and (PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute())

