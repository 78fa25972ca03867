"""Loggers of a run: one that the settings name, or W&B, offline unless an account is set up. What a run shows is told here."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import hydra.utils
import wandb
from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from pathsynth.config import TrackingConfig
from pathsynth.ledger.errors import RequestError
from pathsynth.tracking.reachability import answers, wandb_key_place

GLOBAL_STEP, VALIDATION_STEP = "trainer/global_step", "validation/step"
_FEWEST_BYTES_A_ROW = 64
_PATIENCE_SECONDS = 4.0


@dataclass(frozen=True)
class RunCard:
    """How a run is found and read among others.

    ``identity`` is the run's id: the same work is the same run, however often it was taken up again. ``config`` becomes
    one column a setting. ``curves``: metric pattern → the metric that is its horizontal axis; of the metrics in ``best``
    the summary keeps the highest value.
    """

    identity: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    config: Mapping[str, Any]
    curves: Mapping[str, str] = field(default_factory=dict)
    best: Mapping[str, str] = field(default_factory=dict)


def open_logger(tracking: TrackingConfig, folder: Path, card: RunCard) -> Logger | None:
    """A logger for one run, as the settings want it; None with ``tracking=none``. End it with :func:`close`.

    Raises:
        RequestError: the class that ``tracking._target_`` names cannot be used.
    """
    if tracking.name == "none":
        return None
    if tracking.name == "wandb":
        return wandb_logger(tracking, folder, card)
    logger = named_logger(tracking.logger, folder)
    logger.log_hyperparams(dict(card.config))
    return logger


def require_logger(tracking: TrackingConfig, folder: Path) -> None:
    """Refuse a logger that cannot be made before hours are spent on what it should log.

    Raises:
        RequestError: as :func:`open_logger`.
    """
    if tracking.name == "logger":
        named_logger(tracking.logger, folder)


def named_logger(arguments: Mapping[str, Any], folder: Path) -> Logger:
    """The Lightning logger that ``_target_`` names, made from the other arguments; it writes to ``folder`` unless told otherwise.

    Raises:
        RequestError: there is no such class, it is no logger, it does not take these arguments, or a package is missing.
    """
    name = arguments["_target_"]
    try:
        kind = hydra.utils.get_class(name)
        own = {"save_dir": str(folder)} if "save_dir" in inspect.signature(kind).parameters else {}
        made = hydra.utils.instantiate({**own, **arguments})
    except Exception as error:  # whatever a logger of someone else's raises, the setting was wrong
        reason = " ".join(str(error).split())
        raise RequestError(f"tracking._target_={name} cannot be used ({reason}); choose tracking=wandb, csv or none") from error
    if not isinstance(made, Logger):
        raise RequestError(f"tracking._target_={name} is no Lightning logger; choose tracking=wandb, csv or none")
    return made


def wandb_logger(tracking: TrackingConfig, folder: Path, card: RunCard) -> WandbLogger:
    """A new W&B run (or a further part of it), handed to Lightning; :func:`close` must end it before another one begins.

    ``WANDB_MODE``, ``WANDB_PROJECT``, ``WANDB_ENTITY`` and ``WANDB_DIR`` win over the configuration and ``folder``; without a mode
    and without a key, or where the server does not answer, the run is kept offline, to be sent later with ``wandb sync``. Of
    several processes only the first has a run.
    """
    if not _first_process():
        return WandbLogger()
    folder = Path(os.environ.get("WANDB_DIR") or folder)
    os.environ.setdefault("WANDB_SILENT", "true")
    # what waits to be sent stays beside the run, not in the home folder
    os.environ.setdefault("WANDB_DATA_DIR", str((folder / "wandb").absolute()))
    folder.mkdir(parents=True, exist_ok=True)
    # WandbLogger's own call would pass `anonymous`, at which W&B warns
    run = wandb.init(
        id=card.identity,
        name=card.name,
        group=card.group,
        job_type=card.job_type,
        tags=card.tags,
        config=dict(card.config),
        dir=str(folder),
        project=os.environ.get("WANDB_PROJECT", tracking.project),
        entity=os.environ.get("WANDB_ENTITY", tracking.entity),
        mode=_mode(tracking),
        resume="allow",
    )
    if run.offline:
        own = Path(run.dir).parent
        _go_on_after(run, [p for p in folder.glob(f"wandb/*run-*-{card.identity}/*.wandb") if p.parent.name != own.name])
    _define(run, card)
    return WandbLogger(experiment=run)


def close(logger: Logger | None, failed: bool = False) -> None:
    """End the W&B run of a logger, if it has one."""
    for run in wandb_runs([logger] if logger else []):
        run.finish(exit_code=int(failed))


def wandb_runs(loggers: Sequence[Logger]) -> list[wandb.Run]:
    """The W&B runs behind the loggers."""
    return [logger.experiment for logger in loggers if isinstance(logger, WandbLogger) and _first_process()]


def online_address(logger: Logger | None) -> str | None:
    """Where a logger's W&B run can be seen; None without one, and for a run that is kept offline."""
    runs = [run for run in wandb_runs([logger] if logger else []) if not run.offline]
    return runs[0].url if runs else None


def _first_process() -> bool:
    """Whether this is the only process of a training, or the one of them that logs."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _go_on_after(run: wandb.Run, parts: Sequence[Path]) -> None:
    """Number the rows of a run that goes on after those of its earlier parts, which offline W&B does not know of.

    The sizes of their files bound the rows in them.
    """
    rows = sum(path.stat().st_size for path in parts) // _FEWEST_BYTES_A_ROW
    if rows:
        run.log({}, step=rows)


def _define(run: wandb.Run, card: RunCard) -> None:
    for axis in sorted({*card.curves.values(), *card.best.values()}):
        run.define_metric(axis)
    for pattern, axis in card.curves.items():
        run.define_metric(pattern, step_metric=axis)
    for metric, axis in card.best.items():
        run.define_metric(metric, step_metric=axis, summary="max")


def _mode(tracking: TrackingConfig) -> Literal["online", "offline", "disabled"]:
    wanted = os.environ.get("WANDB_MODE") or tracking.mode or ("online" if wandb_key_place() else "offline")
    if wanted == "online" and not _server_answers(os.environ.get("WANDB_BASE_URL") or wandb.setup().settings.base_url):
        wanted = "offline"
    return cast(Literal["online", "offline", "disabled"], wanted)


@cache
def _server_answers(address: str) -> bool:
    """Whether the W&B server can be reached; if not, that is said, once for all runs of this process."""
    if answers(address, _PATIENCE_SECONDS):
        return True
    remedy = "its W&B runs are kept offline, and wandb sync sends them later"
    print(f"{address} did not answer within {_PATIENCE_SECONDS:.0f} s; {remedy}", flush=True)
    return False
