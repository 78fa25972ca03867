"""Whether a request has room: memory for its slots, disk for its images, and names that the file system takes. No torch."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from pathsynth.config import RunConfig, SamplingConfig
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.stages.plan import Plan

BYTES_AN_IMAGE, BYTES_A_PIXEL = 1200, 2.5
"""Of a PNG file, with its row in the ledger."""
_BYTES_A_SLOT = 1300
"""A slot with its first attempt and its outcome in memory (measured, CPython 3.11)."""
_ENDING = len("-000000000-000.png.partial")
"""What a candidate's file adds to the name of its class."""
_NAME_MAX = 255


@dataclass(frozen=True)
class Drawn:
    """A set of slots that a request fills: ``n`` (the value of ``key``) of each of ``classes``; ``images``: files that are sure to come."""

    key: str
    n: int
    classes: int
    images: int

    @property
    def slots(self) -> int:
        """Number of slots."""
        return self.n * self.classes


def room_faults(config: RunConfig, plan: Plan, slugs: tuple[str, ...]) -> list[str]:
    """A line for each thing that a request has no room for; ``slugs``: the names of its classes."""
    multirun = Path(config.multirun)
    free = _free(multirun) + _drawn_already(multirun, plan)
    return [*name_faults(multirun, config.study.name, slugs), *slot_faults(config, plan, len(slugs), _memory(), free)]


def name_faults(multirun: Path, study: str, slugs: tuple[str, ...]) -> Iterator[str]:
    """Names that are longer than the file system takes, in bytes."""
    longest = _longest_name(multirun)
    if len(os.fsencode(study)) > longest:
        yield f"study.name has {len(os.fsencode(study))} bytes, and a folder's name has {longest} at most; set a shorter one"
    for slug in slugs:
        if len(os.fsencode(slug)) > longest - _ENDING:
            yield (
                f"the class {slug[:40]}… has a name of {len(os.fsencode(slug))} bytes, and its images' files leave room for "
                f"{longest - _ENDING}; rename its folder, or give it a shorter name in data.prompts"
            )


def slot_faults(config: RunConfig, plan: Plan, classes: int, memory: float, free: float) -> Iterator[str]:
    """Numbers of images that neither ``memory`` nor ``free`` disk (both in bytes) can hold, with the largest that both can."""
    size = config.data.size if config.data else 0
    an_image = BYTES_AN_IMAGE + BYTES_A_PIXEL * size * size
    for drawn in _drawn(config, plan, classes):
        most = int(memory // _BYTES_A_SLOT) // drawn.classes
        reason = f"the slots of {_rounded_down(most):,} fit into this machine's memory ({memory / 1e9:.1f} GB)"
        if drawn.images and drawn.images * an_image > free:
            share = drawn.images / drawn.slots
            on_disk = int(free // (an_image * share)) // drawn.classes
            if on_disk < most:
                most, reason = on_disk, f"the images of {_rounded_down(on_disk):,} fit onto the disk"
        if drawn.n > most:
            fits = f"set {drawn.key}={_rounded_down(most)} or less"
            remedy = fits if most else "free some space, or name a folder on another disk, as in multirun=…"
            yield f"{drawn.key}={drawn.n} asks for {drawn.slots:,} images, and {reason}; {remedy}"


def _rounded_down(n: int) -> int:
    """To two digits, so that jobs which are checked one after another say the same while other programs write to the disk."""
    step = 10 ** max(0, len(str(n)) - 2)
    return n // step * step


def _drawn(config: RunConfig, plan: Plan, classes: int) -> Iterator[Drawn]:
    names = {stage.name: stage for stage in plan.stages}
    if config.sampling is None or not classes:
        return
    if "generate" in names:
        request = names["generate"].settings["request"]
        wanted = len(request["prompts"]) if request["stream"] == "generate" else classes
        key = "n" if request["stream"] == "generate" else "evaluate.n"
        slots = request["n"] * wanted
        yield Drawn(key, request["n"], wanted, min(slots // request.get("shards", 1), _most_images(config.sampling)))
    if "finetune" in names and config.validation.every:
        yield Drawn("callbacks.regeneration.n", config.validation.n, classes, 0)
    if "early_rejection" in names:
        yield Drawn("sampling.early_rejection.n", config.sampling.early_rejection.n, classes, 0)


def _most_images(sampling: SamplingConfig) -> int:
    """How many candidates a limited number of calls can draw."""
    return sampling.calls // (sampling.steps * sampling.calls_an_evaluation) if sampling.calls else 2**63


def _memory() -> float:
    return float(psutil.virtual_memory().total)


def _free(folder: Path) -> float:
    usage = shutil.disk_usage(_there(folder))
    return float(usage.free) if usage.total else math.inf  # of a file system without a size nothing is known


def _drawn_already(multirun: Path, plan: Plan) -> float:
    """Bytes of the images that the request's generation has on the disk, finished or not: they need no room any more."""
    store = StageStore(multirun / STAGES)
    for stage in plan.stages:
        if stage.name == "generate":
            if store.find(stage.name, stage.identity):
                return math.inf
            files = store.work(stage.name, stage.identity).rglob("*.png")
            return float(sum(file.stat().st_size for file in files))
    return 0.0


def _longest_name(folder: Path) -> int:
    try:
        return int(os.pathconf(_there(folder), "PC_NAME_MAX"))
    except (OSError, ValueError, AttributeError):
        return _NAME_MAX


def _there(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())
