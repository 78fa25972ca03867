"""One candidate drawn again from its row in the attempts ledger, and compared with what was stored of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from pathsynth.config import EarlyRejectionConfig, RunConfig, SamplingConfig
from pathsynth.config.groups import require_group
from pathsynth.data.catalogue import ready_set
from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.models.base import load_base
from pathsynth.models.lora import load_adapter
from pathsynth.sampling.attempts import AttemptRow, candidate_name, read_attempts
from pathsynth.sampling.draw import drawer
from pathsynth.sampling.pictures import picture_fault, pixel_hash, read_png
from pathsynth.sampling.rejection import Route
from pathsynth.sampling.slots import Attempt, Strategy
from pathsynth.stages.fingerprints import base_source
from pathsynth.studies.trials.manifest import Manifest, manifest_of
from pathsynth.studies.trials.state import read_state


@dataclass(frozen=True)
class Replayed:
    """A candidate and what became of it when it was drawn again: uint8 (H, W, 3), None where it was not finite.

    ``differing`` of its values are not those of ``stored``, its file, by ``most`` at most; both None where the first image was not kept
    or has another size. ``fault``: what is wrong with the file, in a few words; empty if it holds what was drawn the first time.
    """

    row: AttemptRow
    image: np.ndarray | None
    stored: Path | None = None
    fault: str = ""
    differing: int | None = None
    most: int | None = None

    @property
    def same(self) -> bool:
        """Whether the pixels are those that were hashed when the candidate was first drawn."""
        return self.row.sha256 == (None if self.image is None else pixel_hash(self.image))


def replay(folder: Path, candidate: str, stored: Path | None = None) -> Replayed:
    """Draw a candidate (as in ``mucus-00003-1``) of the trial in ``folder`` again, rejected or not.

    It is compared with ``stored``, by default the file that the trial or its stage keeps.

    It is drawn in a batch of fixed shape, with as many threads as the trial had: on the same kind of machine its bits are those
    of the first time, unless it was drawn in a batch of another shape then (``sampling.deterministic=false``, and few were left).

    Raises:
        RequestError: no such trial or candidate, or the base or the adapter is not the one that drew it.
    """
    manifest = manifest_of(folder)
    rows = _rows(folder)
    if candidate not in rows:
        raise RequestError(f"no candidate {candidate} in {folder}; it has {len(rows)}, such as {next(iter(rows), 'none')}")
    row = rows[candidate]
    image = _drawn(folder, manifest, row, rows)
    stored = stored or _stored(folder, manifest, row)
    if stored is None:
        return Replayed(row, image)
    fault = picture_fault(stored, row.sha256)
    if image is None or fault == "cannot be read" or (first := read_png(stored)).shape != image.shape:
        return Replayed(row, image, stored, fault)
    distance = np.abs(first.astype(np.int16) - image)
    return Replayed(row, image, stored, fault, int((distance > 0).sum()), int(distance.max()))


def _rows(folder: Path) -> dict[str, AttemptRow]:
    try:
        return {row.name: row for row in read_attempts(folder)}
    except StageError as error:
        raise RequestError(f"{folder} has no attempts to replay ({error})") from error


def _drawn(folder: Path, manifest: Manifest, row: AttemptRow, rows: Mapping[str, AttemptRow]) -> np.ndarray | None:
    config, planned = manifest.config, manifest.plan.base
    if not (config.base and config.data and config.sampling and planned):
        raise RequestError(f"{folder} drew no images")
    source = base_source(config.base)
    if source.identity != planned.identity:
        raise RequestError(f"the base at {source.path_or_hub} is not the one that drew {row.name}; put that one back")
    threads = read_state(folder).threads
    if threads:
        torch.set_num_threads(threads)
    size = config.data.size
    base = load_base(source.path_or_hub, source.revision, source.identity, config.base.canvas, size)
    load_adapter(_adapter(folder, config), base)
    early = EarlyRejectionConfig(after_step=row.stopped_at)
    sampling = config.sampling.model_copy(update={"steps": row.steps, "early_rejection": early, "deterministic": True})
    draw, attempt = drawer(base, size, sampling), _with_ancestors(row, rows, sampling)
    return (draw([attempt]) if row.stopped_at is None else draw.preview([attempt]))[0]


def _with_ancestors(row: AttemptRow, rows: Mapping[str, AttemptRow], sampling: SamplingConfig) -> Attempt:
    """The attempt, with the rejected ones that it starts from, one after the other. ``sampling``: for a ledger of an earlier version."""
    if row.strategy != Strategy.IMAGE_TO_IMAGE:
        return row.as_attempt()
    before = rows[candidate_name(row.class_slug, row.slot, row.attempt - 1)]
    start = Route((1,) * row.steps).start_of(sampling.image_to_image) if row.start is None else row.start
    return replace(row.as_attempt(), starts_from=_with_ancestors(before, rows, sampling), start=start)


def _adapter(folder: Path, config: RunConfig) -> Path:
    data = require_group(config.data, "data")
    return ready_set(data).adapter if data.name == "ready" else folder / "adapter"


def _stored(folder: Path, manifest: Manifest, row: AttemptRow) -> Path | None:
    """The file of the first image: accepted ones lie in the trial's folder, rejected ones in its stage; None if it was not kept."""
    stage = next(stage for stage in manifest.plan.stages if stage.name == "generate")
    stored = StageStore(folder.absolute().parents[1] / STAGES).find("generate", stage.identity)
    places = [place / row.image for place in (folder, stored) if place and row.image]
    return next((path for path in places if path.is_file()), None)
