"""Jobs are checked all before one is refused, and a long check shows that it continues."""

from __future__ import annotations

import pytest

from pathsynth.ledger.errors import RequestError
from pathsynth.studies.planning.sweep_plan import _Count, check_jobs


def test_faults_of_all_jobs_are_reported_each_once():
    def check(job):
        raise RequestError("lora.rank is too large", *(["the base lacks its UNet"] if job == ["b"] else []))

    with pytest.raises(RequestError) as refusal:
        check_jobs({0: ["a"], 3: ["b"]}, check)
    assert refusal.value.faults == ("lora.rank is too large", "the base lacks its UNet")


def test_very_many_faults_are_counted():
    def check(job):
        raise RequestError(f"fault {job[0]}")

    with pytest.raises(RequestError) as refusal:
        check_jobs({number: [str(number)] for number in range(30)}, check)
    assert len(refusal.value.faults) == 21
    assert refusal.value.faults[-1] == "and 10 more faults of other jobs"


def test_progress_is_reported_after_a_moment_and_then_now_and_again(capsys):
    now = iter([0.0, 0.5, 1.2, 1.2, 3.0, 6.5, 6.5, 7.0, 20.0])
    count = _Count(6, clock=lambda: next(now))
    for _ in range(6):
        count.advance()
    assert capsys.readouterr().err.splitlines() == ["checking jobs: 2 of 6", "checking jobs: 4 of 6"]
