"""What is wrong with a request, found in seconds before anything is written: every fault at once, a line each with its remedy. No torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from pathsynth.config import RunConfig
from pathsynth.config.shipped import assets_folder
from pathsynth.ledger.errors import RequestError
from pathsynth.models.adapter_file import nonfinite, read_adapter, start_faults
from pathsynth.models.design import Shapes, design, largest_rank, matching, target_modules
from pathsynth.models.layout import class_fault, layout_faults, unet_layers
from pathsynth.stages.fingerprints import base_source, data_source, hub_snapshot
from pathsynth.stages.plan import Plan, plan
from pathsynth.studies.planning.capacity import room_faults
from pathsynth.studies.planning.classes import class_faults, class_request
from pathsynth.vocabulary.labels import UnknownLabelError


def planned(config: RunConfig) -> Plan:
    """The plan of a request without faults.

    Raises:
        RequestError: it has some; all that can be known without loading the base or training anything.
    """
    base = base_faults(config)
    start = [] if base else start_faults_of(config)
    faults = [*base, *start, *([] if base else layer_faults(config))]
    plans: list[Plan] = []
    if base:
        faults += _fault(lambda: data_source(config.data) if config.data else None)
    else:
        unplanned = _fault(lambda: plans.append(plan(_without_start(config) if start else config)))
        faults += [*_missing_faults(config), *unplanned] if unplanned else []
    slugs = _slugs(config)
    faults += room_faults(config, plans[0], slugs) if plans else []
    faults += class_faults(class_request(config, slugs))
    if faults:
        raise RequestError(*dict.fromkeys(faults))
    return plans[0]


def _missing_faults(config: RunConfig) -> list[str]:
    """What keeps data and base from being identified; a plan stops at the first."""
    of_data = _fault(lambda: data_source(config.data) if config.data else None)
    return [*of_data, *_fault(lambda: base_source(config.base) if config.base else None)]


def base_faults(config: RunConfig) -> list[str]:
    """Faults of the base's files: of a folder all, of a base on the hub its class, where that is known here."""
    if config.base is None:
        return []
    if config.base.path:
        return layout_faults(Path(config.base.path))
    index = _snapshot(config)
    fault = class_fault(index / "model_index.json") if index else ""
    return [fault] if fault else []


def start_faults_of(config: RunConfig) -> list[str]:
    """Faults of the adapter that a training starts from: other than requested, damaged, or not finite."""
    if not _trains(config) or not config.lora or not config.lora.start:
        return []
    try:
        file = read_adapter(Path(config.lora.start))
    except RequestError as error:
        return list(error.faults)
    faults = start_faults(file, design(config.lora), _layers(config))
    tensor = nonfinite(file.path)
    if tensor:
        faults.append(f"the adapter in {file.path} holds numbers that are not finite ({tensor}); name one whose training did not diverge")
    return faults


def layer_faults(config: RunConfig) -> list[str]:
    """Faults of what ``lora`` adapts: targets that the base's UNet lacks, or a rank that no layer of them can use."""
    layers = _layers(config)
    if not layers or not config.lora:
        return []
    try:
        names = list(matching(layers, target_modules(layers, design(config.lora))))
    except RequestError as error:
        return list(error.faults)
    largest = largest_rank(layers, names)
    if config.lora.rank > largest:
        return [f"lora.rank={config.lora.rank} is more than any of the {len(names)} adapted layers can use; {largest} is the largest"]
    return []


def _slugs(config: RunConfig) -> tuple[str, ...]:
    """The classes of the data; none where it has a fault."""
    try:
        return data_source(config.data).space.slugs if config.data else ()
    except RequestError:
        return ()


def _trains(config: RunConfig) -> bool:
    """Whether an adapter is trained: a ready set has one."""
    return config.lora is not None and config.data is not None and config.data.name != "ready"


def _layers(config: RunConfig) -> Shapes | None:
    """The UNet's layers of the base that is adapted; None where none is, or its weights are not here."""
    folder = _base_folder(config) if _trains(config) else None
    try:
        return unet_layers(folder) or None if folder else None
    except (OSError, ValueError, KeyError, SafetensorError):
        return None


def _base_folder(config: RunConfig) -> Path | None:
    if config.base is None:
        return None
    if config.base.path:
        return Path(config.base.path)
    return assets_folder() / "tiny" if config.base.name == "tiny" and not config.base.hub else _snapshot(config)


def _snapshot(config: RunConfig) -> Path | None:
    base = config.base
    return hub_snapshot(base.hub, base.revision) if base and base.hub and base.revision else None


def _without_start(config: RunConfig) -> RunConfig:
    return config.model_copy(update={"lora": config.lora.model_copy(update={"start": None})}) if config.lora else config


def _fault(step: Callable[[], object]) -> list[str]:
    try:
        step()
    except RequestError as error:
        return list(error.faults)
    except UnknownLabelError as error:
        return [str(error)]
    return []
