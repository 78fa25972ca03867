"""Callbacks that a configuration names, and what else a fine-tune takes from Lightning."""

from __future__ import annotations

import pytest
from pytorch_lightning.callbacks import EarlyStopping, LearningRateMonitor

from pathsynth.ledger.errors import RequestError
from pathsynth.training.callbacks import named_callbacks

MONITOR = {"_target_": "pytorch_lightning.callbacks.LearningRateMonitor", "logging_interval": "step"}
STOP = {"_target_": "pytorch_lightning.callbacks.EarlyStopping", "monitor": "finetune/loss", "patience": 7}


def test_they_are_made_in_order_with_their_arguments():
    monitor, stop = named_callbacks({"monitor": MONITOR, "stop": STOP}, has_logger=True)
    assert isinstance(monitor, LearningRateMonitor) and monitor.logging_interval == "step"
    assert isinstance(stop, EarlyStopping) and stop.patience == 7


def test_without_a_logger_nobody_monitors_the_rate():
    assert [type(c) for c in named_callbacks({"monitor": MONITOR, "stop": STOP}, has_logger=False)] == [EarlyStopping]
    assert named_callbacks({}, has_logger=True) == []


@pytest.mark.parametrize(
    "configured, told",
    [
        ({"_target_": "no.such.Callback"}, "callbacks.mine cannot be made of no.such.Callback"),
        ({"_target_": "pytorch_lightning.callbacks.EarlyStoping"}, "made of pytorch_lightning.callbacks.EarlyStoping"),
        ({**STOP, "patiance": 3}, "patiance"),
        ({"_target_": "pytorch_lightning.callbacks.EarlyStopping"}, "monitor"),
        ({"_target_": "collections.OrderedDict"}, "collections.OrderedDict is no pytorch_lightning.Callback"),
    ],
)
def test_a_wrong_one_is_told_in_one_line_that_names_it(configured, told):
    with pytest.raises(RequestError) as caught:
        named_callbacks({"mine": configured}, has_logger=True)
    assert "callbacks.mine" in str(caught.value) and told in str(caught.value)
    assert "\n" not in str(caught.value)
