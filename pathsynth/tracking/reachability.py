"""Whether a server answers within a few seconds, and where a key for W&B lies. No torch."""

from __future__ import annotations

import os
import queue
import socket
import ssl
import threading
import urllib.error
import urllib.request
from netrc import NetrcParseError, netrc
from pathlib import Path
from urllib.parse import urlsplit

WANDB = "https://api.wandb.ai"
"""Where W&B is, unless ``WANDB_BASE_URL`` names another server."""
_OF_A_PROXY = (502, 503, 504)
"""A proxy's status codes for a server that it cannot reach."""


def answers(address: str, seconds: float) -> bool:
    """Whether a web address answers within ``seconds``, name lookup included; a proxy's error does not count."""
    replies: queue.SimpleQueue[bool] = queue.SimpleQueue()
    threading.Thread(target=lambda: replies.put(_replies(address, seconds)), daemon=True).start()
    try:
        return replies.get(timeout=seconds)
    except queue.Empty:
        return False


def listens(host: str, port: int, seconds: float) -> bool:
    """Whether something takes connections there within ``seconds``."""
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except OSError:
        return False
    return True


def _replies(address: str, seconds: float) -> bool:
    # nothing is sent, so the certificate does not matter here
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=seconds, context=context).close()
    except urllib.error.HTTPError as error:
        return error.code not in _OF_A_PROXY
    except (OSError, ValueError):
        return False
    return True


def wandb_key_place() -> str | None:
    """Where W&B would find an API key: "the environment", or "netrc" with an entry for its host; None if in neither. No network."""
    if os.environ.get("WANDB_API_KEY"):
        return "the environment"
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or WANDB).hostname or ""
    try:
        return "netrc" if host in netrc(str(path)).hosts else None
    except (OSError, NetrcParseError):
        return None
