"""The check of debug=overfit."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pathsynth.ledger.errors import StageError
from pathsynth.training.overfit import FallingLoss

TRAINER = SimpleNamespace(global_step=9)


def trained(*losses: float) -> FallingLoss:
    measured = iter(losses)
    check = FallingLoss(lambda _: next(measured))
    check.on_train_start(TRAINER, None)
    return check


def test_a_loss_that_fell_is_reported(capsys):
    trained(0.5, 0.25).on_train_end(TRAINER, None)
    assert capsys.readouterr().out == "the loss fell: 0.5000 before the first step, 0.2500 after step 9\n"


@pytest.mark.parametrize("after", [0.5, 0.495, 0.7, float("nan")])
def test_one_that_did_not_is_a_failure(after):
    with pytest.raises(StageError, match=r"did not fall: 0\.5000 before the first step, .* after step 9; raise optimizer\.lr"):
        trained(0.5, after).on_train_end(TRAINER, None)


def test_a_training_that_goes_on_is_compared_with_its_beginning(capsys):
    begun = trained(0.5)
    later = FallingLoss(lambda _: 0.4)
    later.load_state_dict(begun.state_dict())
    later.on_train_start(TRAINER, None)
    later.on_train_end(TRAINER, None)
    assert "0.5000 before" in capsys.readouterr().out
