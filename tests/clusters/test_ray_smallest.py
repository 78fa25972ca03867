"""Two trials under Ray at its smallest: what tells first that a new version of it does not fit."""

from __future__ import annotations

import pytest


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_two_trials_share_a_gate_and_end_with_their_scores(pathsynth):
    ended = pathsynth.run("-m", "lora.rank=2,4", "hydra/launcher=ray", "hydra.job.env_copy=[STAND_IN]")
    assert ended.code == 0, ended.err
    table = [line.split()[:2] for line in ended.out.splitlines() if line.startswith("rank=") and "n=90" in line]
    assert [(trial.partition("-")[0], state) for trial, state in table] == [("rank=2", "done"), ("rank=4", "done")]
    assert len([line for line in pathsynth.made if line.startswith("gate")]) == 1
