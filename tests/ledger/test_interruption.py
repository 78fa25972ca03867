from __future__ import annotations

import os
import signal
import sys

import pytest

from pathsynth.ledger import interruption
from pathsynth.ledger.interruption import Interrupted, check, listen, note, requested, serve, unserved_seconds, was_dropped


@pytest.fixture
def listening(monkeypatch):
    former = {number: signal.getsignal(number) for number in interruption.SIGNALS}
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(interruption, "_request", None)
    listen()
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


def test_nothing_is_requested_of_a_process_that_does_not_listen():
    note()
    check()
    assert not requested()
    assert unserved_seconds() == 0


@pytest.mark.parametrize("number", interruption.SIGNALS)
def test_a_signal_raises_once_and_every_check_again(listening, number):
    check()
    with pytest.raises(Interrupted):
        os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)
    assert requested()
    assert unserved_seconds() > 0
    for _ in range(2):
        with pytest.raises(Interrupted):
            check()
    serve()
    check()
    assert unserved_seconds() == 0


def test_a_request_that_a_destructor_swallowed_is_known_and_raised_at_the_next_step(listening):
    class Deaf:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    Deaf()
    assert was_dropped()
    assert not was_dropped()
    with pytest.raises(Interrupted):
        check()


def test_a_noted_request_raises_at_the_next_step(listening):
    note()
    with pytest.raises(Interrupted):
        check()
