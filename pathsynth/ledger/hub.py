"""Whether the Hugging Face hub has a file: one quick request, for the hub's client alone retries for most of a minute. No torch."""

from __future__ import annotations

import os
import urllib.request

_YES = ("1", "ON", "YES", "TRUE")


def hub_is_offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` forbids to ask the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in _YES


def require_on_hub(address: str, seconds: float) -> None:
    """Ask the hub for the headers of a file by its web address, and wait ``seconds`` at most.

    Raises:
        OSError: no answer, the answer is an error, or the hub must not be asked.
        ValueError: it is no web address.
    """
    if hub_is_offline():
        raise OSError("HF_HUB_OFFLINE is set")
    urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=seconds).close()
