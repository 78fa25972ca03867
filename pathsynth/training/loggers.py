"""Loggers of a trial: Lightning's own WandbLogger, offline unless an account is set up; and one function for images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pytorch_lightning.loggers import Logger, WandbLogger

from pathsynth.config import TrackingConfig


def trial_logger(tracking: TrackingConfig, folder: Path, name: str, group: str, identity: str, settings: Mapping) -> WandbLogger | None:
    """The W&B run of a trial (None with ``tracking=none``).

    ``WANDB_MODE``, ``WANDB_PROJECT`` and ``WANDB_ENTITY`` win over the configuration; without a mode and without a key the
    run is kept offline, to be sent later with ``wandb sync``.
    """
    if tracking.name == "none":
        return None
    os.environ.setdefault("WANDB_MODE", tracking.mode or ("online" if _has_key() else "offline"))
    os.environ.setdefault("WANDB_SILENT", "true")
    folder.mkdir(parents=True, exist_ok=True)
    return WandbLogger(
        name=name,
        id=identity,
        group=group,
        save_dir=str(folder),
        project=os.environ.get("WANDB_PROJECT", tracking.project),
        entity=os.environ.get("WANDB_ENTITY", tracking.entity),
        offline=os.environ["WANDB_MODE"] == "offline",
        config=dict(settings),
        resume="allow",
    )


def log_image(loggers: Iterable[Logger], key: str, path: Path, step: int) -> None:
    """Send one picture to the loggers that take pictures."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(key=key, images=[str(path)], step=None, caption=[f"step {step}"])


def _has_key() -> bool:
    """Whether W&B would find an API key, in the environment or in the netrc file, without asking the network."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    return netrc.is_file() and "wandb" in netrc.read_text(errors="ignore")
