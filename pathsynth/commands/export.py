"""`pathsynth export <trial folder> <folder> [--fuse | --ready [--half]]`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from pathsynth.config import RunConfig
from pathsynth.config.groups import require_group
from pathsynth.ledger.adapters import read_card
from pathsynth.ledger.atomic import sync_tree
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.report.adapter_card import adapter_card
from pathsynth.report.collect import collect_trials, is_trial
from pathsynth.studies.trials.manifest import manifest_of
from pathsynth.studies.trials.originals import refuse_changed
from pathsynth.studies.trials.redaction import shareable

_CARD = "README.md"
_COPIED = ("decode", "gate", "judge")
"""Stages that a ready set is made of: from decoded images it takes the words of the classes alone."""
_SAMPLES = {"grids/accepted.png": "accepted.png", "grids/first_attempts.png": "first_attempts.png", "result.json": "result.json"}


def export_adapter(trial: Path, folder: Path, fuse: bool, ready: bool, half: bool = False) -> None:
    """Copy a trial's adapter to a folder of its own that plain diffusers loads, with a card, its scores and sample sheets.

    Of paths in the settings beside the scores, the last name alone is kept. ``fuse`` writes the whole pipeline instead, the
    adapter's weights added to the base's. ``ready`` writes what ``data=ready`` draws from: the adapter with its gate, and its
    judge if it has one; with ``half`` in weights of half the size.

    Raises:
        RequestError: no such trial, it has no adapter or a damaged one, the base, the gate or the data is not there any more, its
            scores hold what looks like a secret, the folder is in use, or flags that do not go together.
    """
    if fuse and ready:
        raise RequestError("--fuse makes a pipeline and --ready an adapter with its gate; choose one of them")
    if half and not ready:
        raise RequestError("--half is for a ready set; add --ready")
    source = trial / "adapter"
    if not is_trial(trial) or not (source / "adapter.json").is_file():
        raise RequestError(f"no adapter in {trial}; name the folder of a trial whose fine-tune is done (pathsynth status lists them)")
    if folder.exists():
        raise RequestError(f"{folder} already exists and is not overwritten; name another folder")
    refuse_changed(trial, (path.relative_to(trial).as_posix() for path in sorted(source.rglob("*")) if path.is_file()))
    card = read_card(source)
    (summary,) = collect_trials(trial)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as partial:
        target = Path(partial) / folder.name
        if fuse:
            _fuse(source, manifest_of(trial).config, target)
        elif ready:
            _with_classifiers(trial, card.base, target, half)
        else:
            shutil.copytree(source, target)
        for name, shown in _SAMPLES.items():
            if (trial / name).is_file():
                (target / shown).write_bytes(shareable(trial / name))
        (target / _CARD).write_text(adapter_card(summary, card, folder.name, fuse, ready), encoding="utf-8")
        sync_tree(target)
        target.rename(folder)
    print(f"exported to {folder}; {_CARD} says how to load it")


def _with_classifiers(trial: Path, base: str, folder: Path, half: bool) -> None:
    from pathsynth.data.catalogue import Decoded, open_data
    from pathsynth.data.ready import write_ready

    manifest, store = manifest_of(trial), StageStore(trial.absolute().parents[1] / STAGES)
    found = {stage.name: store.read(stage.name, stage.identity) for stage in manifest.plan.stages if stage.name in _COPIED}
    gate = found.get("gate")
    if gate is None or manifest.config.data is None:
        raise RequestError(f"the gate of {trial} is not there any more, or damaged; run the trial again")
    folder.mkdir()
    images = found.get("decode")
    decoded = Decoded(images, next(s.parents["data"] for s in manifest.plan.stages if s.name == "decode")) if images else None
    write_ready(folder, trial / "adapter", gate, base, open_data(manifest.config.data, decoded), found.get("judge"), half)


def _fuse(adapter: Path, config: RunConfig, folder: Path) -> None:
    from pathsynth.models.base import load_base  # loads torch
    from pathsynth.models.lora import save_fused
    from pathsynth.stages.fingerprints import base_source

    base, data = require_group(config.base, "base"), require_group(config.data, "data")
    source = base_source(base)
    save_fused(adapter, load_base(source.path_or_hub, source.revision, source.identity, base.canvas, data.size), folder)
