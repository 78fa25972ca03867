"""Images are decoded once, before the first trial that uses them, so that a damaged one stops a study before it begins. No torch."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from pathsynth.config import RunConfig
from pathsynth.config.groups import require_group
from pathsynth.data.survey import survey
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.ledger.versions import cores, processor, provenance
from pathsynth.stages.decode import decode_into, decoding_progress
from pathsynth.stages.plan import Plan
from pathsynth.stages.stage import StagePlan


def check_images(config: RunConfig, plan: Plan) -> tuple[str, ...]:
    """Build the stage ``decode`` of a request, where it has one and the stage is not there yet.

    A MedMNIST file has no such stage: its checksum, its headers and its labels are checked already.

    A dry run looks at the images and builds nothing.

    Returns:
        What is done with images of unusual kinds, a line each; empty where the stage was there.

    Raises:
        RequestError: an image cannot be read, or the same pixels lie in two classes or two splits.
        StageError: a process that decodes was killed.
    """
    stage = next((stage for stage in plan.stages if stage.name == "decode"), None)
    if stage is None:
        return ()
    store, notes = StageStore(Path(config.multirun) / STAGES, config.study.lease_seconds), list[str]()
    if store.read(stage.name, stage.identity):
        return ()
    if config.study.dry_run:
        return _surveyed(config) if config.data and config.data.name == "folder" else ()

    def make(folder: Path) -> None:
        notes.extend(decode_into(folder, config, stage, store.work(stage.name, stage.identity)))

    record = {**stage.settings, "parents": stage.parents}
    try:
        store.build(stage.name, stage.identity, record, make, provenance(processor()))
    except RequestError:
        _remove_traces(store, stage)
        raise
    return tuple(notes)


def _surveyed(config: RunConfig) -> tuple[str, ...]:
    data = require_group(config.data, "data")
    with decoding_progress() as count:
        result = survey(data, cores(), count)
    if result.faults:
        raise RequestError(result.faults[0])
    return result.notes


def _remove_traces(store: StageStore, stage: StagePlan) -> None:
    """Of a refused request nothing stays.

    Its lease may go, against the rule for leases: whoever else holds or awaits it is refused the same images.
    """
    lease = store.lease(stage.name, stage.identity)
    shutil.rmtree(lease, ignore_errors=True)
    with suppress(OSError):  # a folder that holds anything stays
        for folder in (lease.parent, store.root, store.root.parent):
            folder.rmdir()
