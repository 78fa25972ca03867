"""Groups of the configuration that a command may lack: read with a clear error in place of a None."""

from __future__ import annotations

from typing import TypeVar

from pathsynth.ledger.errors import RequestError

_Settings = TypeVar("_Settings")


def require_group(settings: _Settings | None, group: str) -> _Settings:
    """The settings of a group.

    Raises:
        RequestError: the configuration lacks the group.
    """
    if settings is None:
        raise missing_group(group)
    return settings


def missing_group(group: str) -> RequestError:
    """The error, for the caller to raise, of a configuration without ``group``; it names the remedy."""
    return RequestError(f"the configuration has no group {group}; choose one, as in {group}=<option>")
