"""Images in files of their own, or that a class of the user's gives, decoded once; others are mapped from where they are, or drawn."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pathsynth.config import RunConfig
from pathsynth.config.groups import require_group
from pathsynth.data.decoded import Count
from pathsynth.ledger.versions import cores
from pathsynth.stages.stage import BuildContext, PlanContext, Stage, StagePlan

PROTOCOL = 1
"""Of decoded images: raise it with any change of the files that hold them. The data's identity stands for what they show."""


def wanted(config: RunConfig) -> bool:
    """Whether the data are a folder of the user's or given by a class of theirs; all others need no decoding."""
    return config.data is not None and config.data.name in ("folder", "own")


def settings(context: PlanContext) -> dict[str, Any]:
    """Only the protocol: the data's identity stands for the images."""
    return {"protocol": PROTOCOL}


def parents(context: PlanContext) -> dict[str, str]:
    """The data."""
    return {"data": context.data.identity}


def build(context: BuildContext, folder: Path) -> None:
    """Only where what was decoded before the trial began was damaged or removed since."""
    decode_into(folder, context.config, context.stage("decode"), context.work("decode"))


def decode_into(folder: Path, config: RunConfig, stage: StagePlan, work: Path) -> tuple[str, ...]:
    """Decode the images of a request into the folder of their stage.

    Returns:
        What is done with images of unusual kinds, a line each; of those that a class gives, which are copies of others.

    Raises:
        RequestError: an image cannot be read, or the same pixels lie in two classes or two splits.
        StageError: a process that decodes was killed.
    """
    from pathsynth.data.catalogue import Decoded, open_data
    from pathsynth.data.custom_data import store_custom_images
    from pathsynth.data.survey import decode_folder, survey_data

    data = require_group(config.data, "data")
    if data.name == "own":
        identity = stage.parents["data"]
        store_custom_images(data, identity, folder)
        return survey_data(open_data(data, Decoded(folder, identity))).notes
    with decoding_progress() as count:
        return decode_folder(data, stage.parents["data"], folder, work, cores(), count).notes


@contextmanager
def decoding_progress() -> Iterator[Count]:
    """A bar on a terminal while images are decoded; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from pathsynth.terminal.work_line import out_of_the_way

    console = Console(file=sys.stderr)
    columns = (TextColumn("decoding images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with out_of_the_way(), Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


STAGE = Stage("decode", settings, parents, build, wanted=wanted, derived=True)
