"""Images are decoded once before the first trial that uses them, so that a damaged one stops a study before it begins. No torch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pathsynth.config import RunConfig
from pathsynth.data.survey import Count, survey
from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.errors import RequestError
from pathsynth.study.plan import Plan
from pathsynth.study.supervise import cores

_CHECKED = ".checked"
_SURVEYED = ("folder",)
"""Data whose files nothing else vouches for; a MedMNIST file has its checksum, its headers and its labels checked already."""


def check_images(config: RunConfig, plan: Plan) -> tuple[str, ...]:
    """Decode the images of a request, unless the same images were found good before (``<multirun>/.checked/<identity>.json``).

    A dry run leaves no such note.

    Returns:
        What is done with images of unusual kinds, a line each; empty where it was told before.

    Raises:
        RequestError: an image cannot be read, or the same pixels lie in two classes or two splits.
    """
    identity = next((stage.parents["data"] for stage in plan.stages if "data" in stage.parents), None)
    if config.data is None or config.data.name not in _SURVEYED or identity is None:
        return ()
    mark = Path(config.multirun) / _CHECKED / f"{identity}.json"
    if mark.is_file():
        return ()
    with decoding_progress() as count:
        found = survey(config.data, cores(), count)
    if found.faults:
        raise RequestError(found.faults[0])
    if config.study.dry_run:
        return found.notes
    with suppress(OSError):  # without the mark, the images are decoded again
        mark.parent.mkdir(parents=True, exist_ok=True)
        write_json(mark, {"images": len(found.images), "notes": list(found.notes)})
    return found.notes


@contextmanager
def decoding_progress() -> Iterator[Count]:
    """A bar on a terminal while images are decoded; nothing elsewhere."""
    console = Console(file=sys.stderr)
    columns = (TextColumn("decoding images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)
