"""Whether a server answers at all, asked for a few seconds at most."""

from __future__ import annotations

import queue
import ssl
import threading
import urllib.error
import urllib.request

_OF_A_PROXY = (502, 503, 504)
"""What a proxy answers for a server that it cannot reach."""


def answers(address: str, seconds: float) -> bool:
    """Whether anything but a proxy's failure comes back from a web address within ``seconds``, looking up its name included."""
    replies: queue.SimpleQueue[bool] = queue.SimpleQueue()
    threading.Thread(target=lambda: replies.put(_replies(address, seconds)), daemon=True).start()
    try:
        return replies.get(timeout=seconds)
    except queue.Empty:
        return False


def _replies(address: str, seconds: float) -> bool:
    # nothing is sent, so whose certificate it is does not matter here
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=seconds, context=context).close()
    except urllib.error.HTTPError as error:
        return error.code not in _OF_A_PROXY
    except (OSError, ValueError):
        return False
    return True
