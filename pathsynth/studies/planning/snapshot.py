"""What the jobs of a sweep or a search are made of, kept beside its ``multirun.yaml``: commit, versions, and what is not committed."""

from __future__ import annotations

from pathlib import Path

from pathsynth.ledger.atomic import write_bytes, write_json
from pathsynth.ledger.versions import commit, uncommitted, versions
from pathsynth.studies.trials.redaction import has_secret

CODE, PATCH = "code.json", "uncommitted.patch"


def write_snapshot(folder: Path) -> None:
    """Write ``code.json``, and in a clone with changes ``uncommitted.patch``, which ``git apply`` puts on that commit.

    Changes that hold what looks like a secret are not kept; a line says so.
    """
    write_json(folder / CODE, {"commit": commit(), "versions": versions()})
    (folder / PATCH).unlink(missing_ok=True)  # of a command before
    patch = uncommitted()
    if has_secret(patch):
        remedy = "remove it from the files that git knows"
        print(f"uncommitted changes hold what looks like a secret, so {PATCH} is not kept; {remedy}", flush=True)
    elif patch:
        write_bytes(folder / PATCH, patch)
