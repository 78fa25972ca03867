"""One line for what the disk refused."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REMEDIES = {
    **dict.fromkeys(_FULL, "free some space, or name a folder on another disk"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "name a folder that can be written, or change its permissions"),
    errno.ENOENT: "it is gone, or cannot be made there; name another, or make it again",
}


def disk_fault(error: OSError) -> str:
    """What could not be read or written, why, and the remedy. Of a file that was in the making its folder is named."""
    error = _first(error)
    path = Path(error.filename) if isinstance(error.filename, str) else None
    if path and any(part.startswith(".") or part.endswith(".partial") for part in path.parts[1:]):
        hidden = next(n for n, part in enumerate(path.parts) if n and (part.startswith(".") or part.endswith(".partial")))
        path = Path(*path.parts[:hidden])
    why = error.strerror or " ".join(str(error).split())[:200]
    remedy = _REMEDIES.get(error.errno or 0)
    return ": ".join([*([str(path)] if path else []), why]) + (f"; {remedy}" if remedy else "")


def is_wrong_request(error: OSError) -> bool:
    """Whether another folder would have done: nothing failed but what was named."""
    return _first(error).errno in _REMEDIES and _first(error).errno not in _FULL


def _first(error: OSError) -> OSError:
    """Of a copied tree, whose error is a list of sources, targets and texts, the first failure."""
    if not isinstance(error, shutil.Error) or not error.args or not isinstance(error.args[0], list) or not error.args[0]:
        return error
    _, target, text = error.args[0][0]
    number = re.search(r"\[Errno (\d+)\]", str(text))
    return OSError(int(number[1]), os.strerror(int(number[1])), str(target)) if number else OSError(str(text))
