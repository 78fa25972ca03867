"""Trials of one name in a study: which settings make them differ. Reads manifests only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from pathsynth.ledger.atomic import read_json
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.nesting import flat
from pathsynth.studies.trials.trial_table import MANIFEST

_SHOWN = 4


def variants(folders: Iterable[Path]) -> list[str]:
    """A line for each trial that has an older one of its name beside it: "rank=1-ab12cd: finetune.max_steps 240 → 300".

    The settings are those that a stage's result depends on, and the identities of data and base; what cannot be read is left
    out.
    """
    lines = []
    for group in _same_named(folders):
        trials = sorted((read for folder in group if (read := _read(folder))), key=lambda trial: trial[1])
        for (before, _, old), (after, _, new) in pairwise(trials):
            lines.append(f"{after} differs from {before}: {_difference(old, new)}")
    return lines


def _same_named(folders: Iterable[Path]) -> Iterator[list[Path]]:
    groups: dict[tuple[Path, str], list[Path]] = {}
    for folder in folders:
        groups.setdefault((folder.parent, folder.name.rpartition("-")[0]), []).append(folder)
    return (group for group in groups.values() if len(group) > 1)


def _read(folder: Path) -> tuple[str, str, dict[str, str]] | None:
    """A trial's name, when it was written, and what determines its stages; None where the manifest cannot be read."""
    try:
        record = read_json(folder / MANIFEST)
        stages, before = record["plan"]["stages"], _before_it_was_a_setting(record)
        settings = flat({stage["name"]: {**before.get(stage["name"], {}), **stage["settings"]} for stage in stages})
        sources = {f"{name} files": stage["parents"][name] for stage in stages for name in ("data", "base") if name in stage["parents"]}
        return folder.name, str(record["written"]), {**{key: json.dumps(value) for key, value in settings.items()}, **sources}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _before_it_was_a_setting(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """By stage, the values of settings that the trial's version may not have had; empty where this version cannot take its settings."""
    from pathsynth.config.parse import parse_config  # loads pydantic, as does what plans are made of
    from pathsynth.stages.plan import listed_stages

    try:
        return {stage.name: stage.neutral for stage, _ in listed_stages(parse_config(record["config"]))}
    except (RequestError, KeyError):
        return {}


def _difference(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    keys = [key for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key)]
    lines = [f"{key} {old.get(key, 'unset')} → {new.get(key, 'unset')}" for key in keys[:_SHOWN]]
    return ", ".join([*lines, *([f"and {len(keys) - _SHOWN} more"] if len(keys) > _SHOWN else [])]) or "the program's version"
