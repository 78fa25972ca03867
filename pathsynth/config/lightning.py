"""Lightning's words in the configuration: which a fine-tune takes, which change its adapter, and why it refuses others. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WATCHING = (
    *("accelerator", "devices", "log_every_n_steps", "profiler"),
    *("enable_model_summary", "enable_autolog_hparams", "detect_anomaly", "inference_mode"),
)
"""Passed on, and no part of an adapter's identity: where it is computed and what is logged of it."""

CHANGING = ("deterministic", "benchmark", "gradient_clip_algorithm")
"""Passed on, and part of the identity where they are set: other arithmetic may give another adapter."""

_STEPS = "a training is counted in steps; set trainer.max_steps"
_BATCHES = "batches are functions of seed and step; set trainer.max_steps, or debug=overfit for a few images"
_VALIDATION = "set callbacks.regeneration.every and n"
_CHECKPOINTS = "the resume points are the trial's own; set training.checkpoint_every"
ONE_MACHINE = "set trainer.devices for several devices of one machine; run trials side by side with hydra/launcher=joblib"
_NOT_DONE = "a fine-tune does not test or predict"

OWNED = {
    "max_epochs": _STEPS,
    "min_epochs": _STEPS,
    "min_steps": _STEPS,
    "max_time": "the adapter would depend on the machine's speed; set trainer.max_steps",
    "limit_train_batches": _BATCHES,
    "overfit_batches": _BATCHES,
    "fast_dev_run": "set debug=fast_dev_run",
    "val_check_interval": _VALIDATION,
    "check_val_every_n_epoch": _VALIDATION,
    "limit_val_batches": _VALIDATION,
    "num_sanity_val_steps": _VALIDATION,
    "limit_test_batches": _NOT_DONE,
    "limit_predict_batches": _NOT_DONE,
    "callbacks": "set the group callbacks, as in +callbacks.mine._target_=my.module.Callback",
    "logger": "set the group tracking",
    "enable_checkpointing": _CHECKPOINTS,
    "plugins": _CHECKPOINTS,
    "default_root_dir": "files go to the trial's folder; set study.name or multirun",
    "enable_progress_bar": "the bar follows the terminal: a bar on one, lines in a log",
    "reload_dataloaders_every_n_epochs": _BATCHES,
    "use_distributed_sampler": _BATCHES,
    "strategy": ONE_MACHINE,
    "num_nodes": ONE_MACHINE,
    "sync_batchnorm": "nothing that is trained has one",
    "barebones": "it turns off the callbacks that keep the adapter",
    "model_registry": "adapters are kept in the trial's folder",
}
"""Arguments of Lightning's Trainer that are settled elsewhere, and where."""


def why_refused(key: str) -> str:
    """Why ``trainer.<key>`` cannot be set; empty for keys that can, and for unknown ones."""
    return OWNED.get(key, "")


_WATCHERS = ("LearningRateMonitor", "DeviceStatsMonitor", "ModelSummary", "RichModelSummary")


def changing(callbacks: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The callbacks that may change an adapter: all but Lightning's own that only watch."""
    watching = {f"pytorch_lightning.callbacks.{name}" for name in _WATCHERS}
    return {name: dict(callback) for name, callback in callbacks.items() if callback["_target_"] not in watching}
