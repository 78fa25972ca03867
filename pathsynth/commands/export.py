"""`pathsynth export <trial folder> <folder> [--fuse]`."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from pathsynth.config import RunConfig
from pathsynth.ledger.errors import RequestError
from pathsynth.report.adapter_card import adapter_card
from pathsynth.report.collect import collect_trials, is_trial
from pathsynth.study.claim import read_manifest

_CARD = "README.md"
_SAMPLES = {"grids/accepted.png": "accepted.png", "grids/first_attempts.png": "first_attempts.png", "result.json": "result.json"}


def export_adapter(trial: Path, folder: Path, fuse: bool) -> None:
    """Copy a trial's adapter to a folder of its own that plain diffusers loads, with a card, its scores and sample sheets.

    ``fuse`` writes the whole pipeline instead, the adapter's weights added to the base's.

    Raises:
        RequestError: no such trial, it has no adapter, the base is not there any more, or the folder is in use.
    """
    source = trial / "adapter"
    if not is_trial(trial) or not (source / "adapter.json").is_file():
        raise RequestError(f"no adapter in {trial}; name the folder of a trial whose fine-tune is done (pathsynth status lists them)")
    if folder.exists():
        raise RequestError(f"{folder} is there already and is not overwritten; name another folder")
    base = _base_of(source / "adapter.json")
    (summary,) = collect_trials(trial)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as partial:
        made = Path(partial) / folder.name
        if fuse:
            _fuse(source, read_manifest(trial).config, made)
        else:
            shutil.copytree(source, made)
        for name, shown in _SAMPLES.items():
            if (trial / name).is_file():
                shutil.copyfile(trial / name, made / shown)
        (made / _CARD).write_text(adapter_card(summary, base, folder.name, fuse), encoding="utf-8")
        made.rename(folder)
    print(f"exported to {folder}; {_CARD} says how to load it")


def _base_of(card: Path) -> str:
    """The identity of the base that an adapter's card names, read without torch."""
    try:
        return str(json.loads(card.read_text(encoding="utf-8"))["base"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{card} is not an adapter card ({error}); run the trial again") from error


def _fuse(adapter: Path, config: RunConfig, folder: Path) -> None:
    from pathsynth.models.base import load_base  # loads torch
    from pathsynth.models.lora import save_fused
    from pathsynth.study.sources import base_source

    assert config.base and config.data
    source = base_source(config.base)
    save_fused(adapter, load_base(source.path_or_hub, source.revision, source.identity, config.base.canvas, config.data.size), folder)
