"""Lightning's own words: passed on, or refused with the reason; none is forgotten."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest

from pathsynth.config import LightningConfig, parse_config
from pathsynth.config.lightning import CHANGING, OWNED, WATCHING, changing
from pathsynth.ledger.errors import RequestError

TRAINER = {"max_steps": 10, "precision": "32-true", "gradient_clip_val": 1.0}
TRAINING = {"batch_size": 8, "warmup_steps": 0, "ema_decay": 0.0}
VALUES: dict[str, Any] = {"command": "classify", "study": {"name": "demo"}, "tracking": {}, "trainer": TRAINER, "training": TRAINING}

TYPED = ("max_steps", "accumulate_grad_batches", "precision", "gradient_clip_val")
"""Keys of ours that Lightning calls the same."""


def parsed(key: str, value: Any):
    values = copy.deepcopy(VALUES)
    values["trainer"][key] = value
    return parse_config(values).trainer


def refusal(key: str, value: Any) -> str:
    with pytest.raises(RequestError) as caught:
        parsed(key, value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_argument_of_lightnings_trainer_is_decided_on():
    pl = pytest.importorskip("pytorch_lightning")
    known = [name for name in inspect.signature(pl.Trainer.__init__).parameters if name != "self"]
    decided = [*WATCHING, *CHANGING, *OWNED, *TYPED]
    assert sorted(decided) == sorted(known)
    assert sorted(LightningConfig.model_fields) == sorted([*WATCHING, *CHANGING])


@pytest.mark.parametrize("key", OWNED)
def test_what_is_settled_elsewhere_is_refused_with_the_place(key):
    assert refusal(key, 1) == f"trainer.{key} cannot be set: {OWNED[key]}"


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("log_every_n_step", 5, "unknown key trainer.log_every_n_step; nearest: trainer.log_every_n_steps"),
        ("acelerator", "cpu", "unknown key trainer.acelerator; nearest: trainer.accelerator"),
        ("log_every_n_steps", 0, "trainer.log_every_n_steps: input should be greater than or equal to 1, got 0"),
        ("accelerator", "gpuu", "trainer.accelerator: should be one of auto, cpu"),
        ("devices", 3, "training.batch_size=8 cannot be shared out among trainer.devices=3; set a multiple"),
        ("devices", -1, "trainer.devices: input should be greater than or equal to 1, got -1"),
        ("profiler", "slow", "trainer.profiler: should be one of simple, advanced"),
    ],
)
def test_a_wrong_one_is_reported_in_one_line(key, value, told):
    assert refusal(key, value).startswith(told)


def test_the_others_are_kept_as_they_are():
    assert parsed("log_every_n_steps", 5).log_every_n_steps == 5
    assert parsed("devices", 1).devices == 1
    assert parsed("deterministic", "warn").deterministic == "warn"
    assert parsed("deterministic", True).deterministic is True


def test_callbacks_that_only_watch_change_nothing():
    monitor = {"_target_": "pytorch_lightning.callbacks.LearningRateMonitor"}
    stop = {"_target_": "pytorch_lightning.callbacks.EarlyStopping", "monitor": "finetune/loss"}
    mine = {"_target_": "my.LearningRateMonitor"}
    assert changing({"a": monitor, "b": stop, "c": mine}) == {"b": stop, "c": mine}


def test_a_callback_without_a_class_is_refused():
    with pytest.raises(RequestError, match=r"callbacks\.mine\._target_ should name a class"):
        parse_config({**VALUES, "callbacks": {"mine": {"monitor": "x"}}})
