"""Shards of one generation, joined into the set of a single process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pathsynth.ledger.atomic import copy_file
from pathsynth.ledger.errors import RequestError
from pathsynth.sampling.attempts import AttemptRow, read_attempts, write_attempts
from pathsynth.sampling.image_set import IMAGES, describe_images
from pathsynth.sampling.pictures import picture_fault


def join_shards(shards: Sequence[Path], folder: Path) -> list[AttemptRow]:
    """Write the attempts and images of several generations to ``folder``, which must not be there; the rows, slot by slot.

    Raises:
        RequestError: two of them tried the same slot, or an image is not the one that its ledger names.
        StageError: a ledger is missing or damaged.
    """
    owner: dict[tuple[int, int], Path] = {}
    rows: list[AttemptRow] = []
    for shard in shards:
        shard_rows = list(read_attempts(shard))
        for slot in {(row.label, row.slot) for row in shard_rows}:
            if slot in owner:
                both = f"{owner[slot]} and {shard} both tried slot {slot[1]} of class {slot[0]}"
                raise RequestError(f"{both}; they are not shards of one generation")
            owner[slot] = shard
        rows += shard_rows
    for row in rows:
        if row.accepted and row.image:
            source, target = owner[row.label, row.slot] / row.image, folder / row.image
            fault = picture_fault(source, row.sha256)
            if fault:
                raise RequestError(f"{source} {fault}; generate again with study.force=true, which copies it from the store")
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_file(source, target)
    rows.sort(key=lambda row: (row.slot, row.label, row.attempt))
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    write_attempts(folder, rows)
    describe_images(folder, rows)
    return rows
