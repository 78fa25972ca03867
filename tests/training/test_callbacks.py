"""Callbacks that a configuration names, and what else a fine-tune takes from Lightning."""

from __future__ import annotations

import pytest
from pytorch_lightning.callbacks import EarlyStopping, LearningRateMonitor

from pathsynth.ledger.errors import RequestError
from pathsynth.tracking.metric_names import monitored_names
from pathsynth.training.callbacks import callback_faults, named_callbacks

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
        ({"_target_": "pytorch_lightning.callbacks.ModelCheckpoint"}, "set training.checkpoint_every"),
        ({"_target_": "collections.OrderedDict"}, "collections.OrderedDict makes a OrderedDict, which is no Callback"),
    ],
)
def test_a_wrong_one_is_reported_in_one_line_that_names_it(configured, told):
    with pytest.raises(RequestError) as caught:
        named_callbacks({"mine": configured}, has_logger=True)
    assert "callbacks.mine" in str(caught.value) and told in str(caught.value)
    assert "\n" not in str(caught.value)


def faults(monitor: str, **arguments) -> list[str]:
    return callback_faults({"stop": {**STOP, "monitor": monitor, **arguments}}, monitored_names(["mucus"], validates=True))


@pytest.mark.parametrize("monitor", ["finetune/loss", "finetune/held_out_loss", "validation/macro_f1", "validation/acceptance_mucus"])
def test_what_is_logged_may_be_monitored(monitor):
    assert faults(monitor) == []


def test_a_monitor_that_nothing_logs_is_refused_with_the_nearest_name():
    (fault,) = faults("val/macro_f1")
    assert fault == "callbacks.stop monitors val/macro_f1, which this fine-tune does not log; nearest: validation/macro_f1"
    assert callback_faults({"stop": {**STOP, "monitor": "validation/macro_f1"}}, monitored_names([], validates=False))
    assert faults("val/macro_f1", strict=False) == []


def test_each_wrong_callback_has_its_line():
    wrong = {"one": {"_target_": "no.such.Callback"}, "two": {"_target_": "pytorch_lightning.callbacks.EarlyStoping"}}
    assert [fault.split()[0] for fault in callback_faults(wrong, [])] == ["callbacks.one", "callbacks.two"]
