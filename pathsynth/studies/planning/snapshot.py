"""What the jobs of a sweep or a search are made of, kept beside its ``multirun.yaml``: commit, versions, and what is not committed."""

from __future__ import annotations

from pathlib import Path

from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.versions import commit, uncommitted, versions

CODE, PATCH = "code.json", "uncommitted.patch"


def write_snapshot(folder: Path) -> None:
    """Write ``code.json``, and in a clone with changes ``uncommitted.patch``, which ``git apply`` puts on that commit."""
    write_json(folder / CODE, {"commit": commit(), "versions": versions()})
    patch = uncommitted()
    if patch:
        (folder / PATCH).write_bytes(patch)
