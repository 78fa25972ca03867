"""The embedded base, made from natural images."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from pathsynth.config.groups import require_group
from pathsynth.ledger.records import Result, read_result, write_result
from pathsynth.ledger.versions import versions
from pathsynth.stages.stage import BuildContext, Effort, PlanContext, Stage


def settings(context: PlanContext) -> dict[str, Any]:
    """All of the group pretrain but where its images are."""
    return require_group(context.config.pretrain, "pretrain").model_dump(mode="json", exclude={"root"})


def parents(context: PlanContext) -> dict[str, str]:
    """None: everything starts here."""
    return {}


def build(context: BuildContext, folder: Path) -> None:
    """Train the base into ``folder/base`` and write ``folder/result.json``.

    Raises:
        RequestError: ``cifar10.tar`` is missing in ``pretrain.root`` (else ``PATHSYNTH_DATA``, else the current folder), or damaged.
    """
    from pathsynth.pretraining.pretrain import pretrain_base, pretrain_metrics

    config = require_group(context.config.pretrain, "pretrain")
    root = config.root or os.environ.get("PATHSYNTH_DATA", ".")
    archive = Path(root) / "cifar10.tar"
    pretrain_base(config, archive, folder, context.work("pretrain"), partial(context.shown, "pretrain"))
    result = Result(
        identity=context.identity,
        versions=versions(),
        settings=context.config.model_dump(mode="json", exclude={"multirun"}),
        metrics=tuple(pretrain_metrics(folder, config.seed)),
        missing=(),
    )
    write_result(folder / "result.json", result)


def log(context: BuildContext, folder: Path) -> None:
    """The numbers of the result."""
    from pathsynth.tracking.media import show_numbers

    show_numbers(context.loggers, read_result(folder / "result.json").metrics)


STAGE = Stage(
    "pretrain",
    settings,
    parents,
    build,
    effort=Effort(lambda settings: float(settings["steps"] * settings["batch_size"])),
    shown=("base", "result.json"),
    log=log,
)
