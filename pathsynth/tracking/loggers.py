"""Loggers of a run: W&B's, offline unless an account is set up, MLflow's, and one that the settings name."""

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
from pathsynth.ledger import interruption
from pathsynth.ledger.errors import RequestError
from pathsynth.tracking.mlflow_logger import MlflowLogger
from pathsynth.tracking.mlflow_sender import require_mlflow
from pathsynth.tracking.outbox import RunHead
from pathsynth.tracking.reachability import answers, wandb_key_place

GLOBAL_STEP, VALIDATION_STEP = "trainer/global_step", "validation/step"
_FEWEST_BYTES_A_ROW = 64
_PATIENCE_SECONDS = 4.0
_LONGEST_REASON = 200


@dataclass(frozen=True)
class RunMetadata:
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


def open_loggers(tracking: TrackingConfig, folder: Path, metadata: RunMetadata) -> list[Logger]:
    """The loggers of one run of the trial in ``folder``, as the settings want them; end them with :func:`close`.

    Raises:
        RequestError: MLflow is not installed, or the class that ``tracking._target_`` names cannot be used.
    """
    loggers: list[Logger] = []
    if tracking.wandb:
        loggers.append(wandb_logger(tracking, folder, metadata))
    if tracking.mlflow and _first_process():
        loggers.append(mlflow_logger(tracking, folder, metadata))
    if tracking.logger:
        loggers.append(named_logger(tracking.logger, folder))
        loggers[-1].log_hyperparams(dict(metadata.config))
    return loggers


def require_loggers(tracking: TrackingConfig, folder: Path) -> None:
    """Refuse loggers that cannot be made before hours are spent on what they should log.

    Raises:
        RequestError: as :func:`open_loggers`.
    """
    if tracking.mlflow:
        require_mlflow()
    if tracking.logger:
        named_logger(tracking.logger, folder)


def mlflow_logger(tracking: TrackingConfig, folder: Path, metadata: RunMetadata) -> MlflowLogger:
    """A new MLflow run, or the one of this identity that continues; the study is its experiment.

    Raises:
        RequestError: MLflow is not installed.
    """
    require_mlflow()
    tags = {"group": metadata.group, "job_type": metadata.job_type, **dict.fromkeys(metadata.tags, "")}
    head = RunHead(metadata.identity, metadata.name, metadata.group, tracking.uri, {key: value for key, value in tags.items() if key})
    logger = MlflowLogger(folder, head, tuple(metadata.best), tuple(metadata.curves.values()))
    logger.describe(metadata.config)
    return logger


def named_logger(arguments: Mapping[str, Any], folder: Path) -> Logger:
    """The Lightning logger that ``_target_`` names, made from the other arguments; it writes to ``folder`` by default.

    Raises:
        RequestError: there is no such class, it is no logger, it does not take these arguments, or a package is missing.
    """
    name = arguments["_target_"]
    try:
        kind = hydra.utils.get_class(name)
        defaults = {"save_dir": str(folder)} if "save_dir" in inspect.signature(kind).parameters else {}
        logger = hydra.utils.instantiate({**defaults, **arguments})
    except Exception as error:  # a user's logger may raise any exception; the setting was wrong
        reason = " ".join(str(error).split())
        raise RequestError(f"tracking._target_={name} cannot be used ({reason}); choose tracking=wandb, csv or none") from error
    if not isinstance(logger, Logger):
        raise RequestError(f"tracking._target_={name} is no Lightning logger; choose tracking=wandb, csv or none")
    return logger


def wandb_logger(tracking: TrackingConfig, folder: Path, metadata: RunMetadata) -> WandbLogger:
    """A new W&B run (or a further part of it), handed to Lightning; :func:`close` must end it before another one begins.

    ``WANDB_MODE``, ``WANDB_PROJECT``, ``WANDB_ENTITY`` and ``WANDB_DIR`` win over the configuration and ``folder``; without a mode
    and without a key, or where the server does not answer or takes no run, the run is kept offline, to be sent later with
    ``wandb sync``. Of several processes only the first has a run.
    """
    if not _first_process():
        return WandbLogger()
    folder = Path(os.environ.get("WANDB_DIR") or folder)
    os.environ.setdefault("WANDB_SILENT", "true")
    # what waits to be sent stays beside the run, not in the home folder
    os.environ.setdefault("WANDB_DATA_DIR", str((folder / "wandb").absolute()))
    folder.mkdir(parents=True, exist_ok=True)
    # WandbLogger's own call would pass `anonymous`, at which W&B warns
    run = _begin(
        id=metadata.identity,
        name=metadata.name,
        group=metadata.group,
        job_type=metadata.job_type,
        tags=metadata.tags,
        config=dict(metadata.config),
        dir=str(folder),
        project=os.environ.get("WANDB_PROJECT", tracking.project),
        entity=os.environ.get("WANDB_ENTITY", tracking.entity),
        mode=_mode(tracking),
        resume="allow",
    )
    if run.offline:
        own = Path(run.dir).parent
        _go_on_after(run, [p for p in folder.glob(f"wandb/*run-*-{metadata.identity}/*.wandb") if p.parent.name != own.name])
    _define(run, metadata)
    return WandbLogger(experiment=run)


def _begin(mode: Literal["online", "offline", "disabled"], **settings: Any) -> wandb.Run:
    """A W&B run; offline where the server takes none, for its key, its project, or a network that wants a login first."""
    try:
        return wandb.init(mode=mode, **settings)
    except wandb.errors.Error as error:
        if mode != "online" or wandb.run is not None:
            raise
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        print(f"W&B takes no run ({reason}); runs are kept offline, and wandb sync sends them later", flush=True)
        os.environ["WANDB_MODE"] = "offline"  # the further runs of this process need not wait for the same answer
        wandb.teardown()  # its service holds the run that did not begin for one in use
        return wandb.init(mode="offline", **settings)


def close(loggers: Sequence[Logger], failed: bool = False) -> None:
    """End the runs of loggers that have one."""
    for run in wandb_runs(loggers):
        run.finish(exit_code=int(failed))
    for logger in mlflow_loggers(loggers):
        logger.end("FAILED" if failed else "FINISHED")


def wandb_runs(loggers: Sequence[Logger]) -> list[wandb.Run]:
    """The W&B runs behind the loggers."""
    return [logger.experiment for logger in loggers if isinstance(logger, WandbLogger) and _first_process()]


def end_stopped(loggers: Sequence[Logger], error: BaseException) -> None:
    """End the MLflow runs of a trial that fails, was stopped or pruned; W&B marks its runs itself as the process ends."""
    for logger in mlflow_loggers(loggers):
        if interruption.cause():
            logger.describe({}, {"state": interruption.cause()})
        logger.end("FAILED" if isinstance(error, Exception) else "KILLED")


def mlflow_loggers(loggers: Sequence[Logger]) -> list[MlflowLogger]:
    """MLflow's among the loggers."""
    return [logger for logger in loggers if isinstance(logger, MlflowLogger)]


def online_address(loggers: Sequence[Logger]) -> str | None:
    """Where the W&B run can be seen; None without one, and for a run that is kept offline."""
    runs = [run for run in wandb_runs(loggers) if not run.offline]
    return runs[0].url if runs else None


def _first_process() -> bool:
    """Whether this is the only process of a training, or the one of them that logs."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _go_on_after(run: wandb.Run, parts: Sequence[Path]) -> None:
    """Number the rows of a resumed run after those of its earlier parts, which offline W&B does not know of.

    The sizes of their files bound the rows in them.
    """
    rows = sum(path.stat().st_size for path in parts) // _FEWEST_BYTES_A_ROW
    if rows:
        run.log({}, step=rows)


def _define(run: wandb.Run, metadata: RunMetadata) -> None:
    for axis in sorted({*metadata.curves.values(), *metadata.best.values()}):
        run.define_metric(axis)
    for pattern, axis in metadata.curves.items():
        run.define_metric(pattern, step_metric=axis)
    for metric, axis in metadata.best.items():
        run.define_metric(metric, step_metric=axis, summary="max")


def _mode(tracking: TrackingConfig) -> Literal["online", "offline", "disabled"]:
    wanted = os.environ.get("WANDB_MODE") or tracking.mode or ("online" if wandb_key_place() else "offline")
    if wanted == "online" and not _server_answers(os.environ.get("WANDB_BASE_URL") or wandb.setup().settings.base_url):
        wanted = "offline"
    return cast(Literal["online", "offline", "disabled"], wanted)


@cache
def _server_answers(address: str) -> bool:
    """Whether the W&B server can be reached; if not, print so once for all runs of this process."""
    if answers(address, _PATIENCE_SECONDS):
        return True
    remedy = "its W&B runs are kept offline, and wandb sync sends them later"
    print(f"{address} did not answer within {_PATIENCE_SECONDS:.0f} s; {remedy}", flush=True)
    return False
