"""Requests to a process that runs, each an empty file: anybody leaves it, the process takes it at its next step."""

from __future__ import annotations

from pathlib import Path

VALIDATION = "validate"
"""In the work folder of a fine-tune: validate now, beside the schedule."""
REQUESTED_SHEETS = "requested"
"""There, the folder of the contact sheets of such validations."""


def leave_request(place: Path) -> None:
    """Ask. A request that was not taken yet is the same request."""
    place.touch()


def take_request(place: Path) -> bool:
    """Whether there is a request since the last call. Of several processes that call this together, only one gets True."""
    try:
        place.unlink()
    except FileNotFoundError:
        return False
    return True
