"""The files that a request's results depend on, so that a change in one of them can be seen. No torch."""

from __future__ import annotations

from pathlib import Path

from pathsynth.config import RunConfig
from pathsynth.config.custom_classes import class_files, targets
from pathsynth.data.caption_files import caption_paths
from pathsynth.data.catalogue import medmnist_source, ready_set
from pathsynth.data.class_folders import watched_paths
from pathsynth.data.medmnist import medmnist_file
from pathsynth.data.splits import CSV
from pathsynth.ledger.adapters import adapter_files
from pathsynth.stages.fingerprints import MEDMNIST_NAMES, base_source, layout_files
from pathsynth.studies.planning.classes import object_requests


def source_files(config: RunConfig) -> list[Path] | None:
    """The files that identify data, base and the user's own classes.

    None where there are some that cannot be watched (on the hub, not there yet).
    """
    files: list[Path] = []
    if any(classifier and classifier.pretrained for classifier in (config.gate, config.judge, config.classifier)):
        return None
    if config.data and config.data.name == "own":  # its class may read anything from anywhere
        return None
    if config.data and config.data.name in MEDMNIST_NAMES:
        files.append(medmnist_file(medmnist_source(config.data), Path(config.data.root) if config.data.root else None, config.data.size))
    if config.data and config.data.name == "folder" and config.data.root:
        watched = watched_paths(Path(config.data.root))
        files += [*watched, *(caption_paths(config.data.captions, watched) if config.data.captions else ())]
    if config.data and config.data.prompts:
        files.append(Path(config.data.prompts))
    if config.data and (config.data.group or "").startswith(CSV):
        files.append(Path((config.data.group or "").removeprefix(CSV)))
    if config.data and config.data.name == "ready":
        files += sorted(path for path in ready_set(config.data).folder.rglob("*") if path.is_file())
    if config.base:
        source = base_source(config.base)
        if source.revision:
            return None
        files += layout_files(Path(source.path_or_hub))
    if config.lora and config.lora.start:
        files += adapter_files(Path(config.lora.start))
    classifiers = [c.module for c in (config.gate, config.judge, config.classifier) if c]
    for name in targets([config.training_objects, classifiers, *(named.settings for named in object_requests(config))]):
        own = class_files(name)
        files += [*own, *{path.parent for path in own if len(own) > 1}]
    return files if all(path.exists() for path in files) else None
