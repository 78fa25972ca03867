"""The tensors of a safetensors file, whose order and whose other header entries do not count."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pathsynth.ledger.errors import StageError

_LENGTH_BYTES = 8
_CHUNK = 1 << 20


def weights_digest(path: Path) -> str:
    """SHA-256 (64 hex digits) of names, types, shapes and every bit of the tensors.

    The bytes of two files may differ that hold the same tensors: the header's metadata come in another order each time a
    process writes them, sets among them do, and they name the library's version. So they do not count.

    Raises:
        StageError: the file cannot be read or is no safetensors file.
    """
    try:
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(_LENGTH_BYTES), "little")
            if length > path.stat().st_size:
                raise ValueError("its header is cut short")
            header = json.loads(handle.read(length))
            header.pop("__metadata__", None)
            digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
            while chunk := handle.read(_CHUNK):
                digest.update(chunk)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StageError(f"{path} cannot be read as safetensors ({error}); run the trial again") from error
    return digest.hexdigest()
