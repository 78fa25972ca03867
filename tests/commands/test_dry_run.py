"""`study.dry_run=true` says what a command would do, and does nothing."""

from __future__ import annotations

import os

import pytest


def test_a_sweep_is_shown_without_starting_it(pathsynth):
    ended = pathsynth.run("-m", "lora.rank=1,2", "study.dry_run=true")
    assert ended.code == 0, ended.err
    first, second = (line for line in ended.out.splitlines() if " rank=" in line)
    assert "new" in first and "cache (for 2), gate (for 2), judge (for 2), finetune" in first
    assert "cache shared, gate shared, judge shared" in second
    totals = ended.out.splitlines()[-1]
    assert totals.startswith("2 trials, 2 to do: 10 of 10 stages to build, an unknown time for cache, gate")
    assert totals.endswith("GB of images; nothing was started or written")
    assert pathsynth.files() == []


@pytest.mark.slow
def test_what_is_done_is_shown_as_done_and_its_stages_as_there(pathsynth):
    assert pathsynth.run("lora.rank=1").code == 0
    before = sorted(path for path in pathsynth.folder.rglob("*"))
    ended = pathsynth.run("-m", "lora.rank=1,2", "study.dry_run=true")
    done, new = (line for line in ended.out.splitlines() if " rank=" in line)
    assert "done already" in done
    assert "gate there" in new
    assert "2 trials, 1 to do: 3 of 7 stages to build, about" in ended.out
    assert "unknown" not in ended.out
    assert sorted(path for path in pathsynth.folder.rglob("*")) == before


@pytest.mark.slow
def test_a_single_trial_is_shown_too_and_wrong_requests_are_refused(pathsynth):
    ended = pathsynth.run("study.dry_run=true")
    assert (ended.code, pathsynth.files()) == (0, [])
    assert "1 trial, 1 to do: 7 of 7 stages to build" in ended.out
    ended = pathsynth.run("study.dry_run=true", "lora.rank=1000")
    assert (ended.code, pathsynth.files()) == (2, [])
    ended = pathsynth.run("-m", "study.dry_run=true", "hydra/sweeper=basic", "lora.rank=1,2")
    assert (ended.code, pathsynth.files()) == (2, [])


def test_a_launcher_that_cannot_submit_is_reported_with_the_faults_of_the_jobs(pathsynth):
    pathsynth.variables["PATH"] = str(pathsynth.folder)  # without Slurm's programs
    ended = pathsynth.run("-m", "hydra/launcher=slurm", "lora.rank=2,1000")
    assert ended.code == 2
    of_launcher, of_job = [line for line in ended.err.splitlines() if line.startswith("pathsynth run:")]
    assert "there is no srun here" in of_launcher
    assert "lora.rank=1000" in of_job
    assert "multirun" not in pathsynth.files()


def test_a_sweep_in_a_folder_that_slurms_nodes_do_not_see_writes_nothing(pathsynth):
    """The stand-in is a node on which the file is not; nothing is submitted, for there is no sbatch."""
    programs = pathsynth.folder / "bin"
    programs.mkdir()
    (programs / "srun").write_text("#!/bin/sh\necho unseen\n")
    (programs / "srun").chmod(0o755)
    pathsynth.variables["PATH"] = f"{programs}:{os.environ['PATH']}"
    ended = pathsynth.run("-m", "hydra/launcher=slurm", "lora.rank=2,4")
    assert ended.code == 2
    (line,) = [line for line in ended.err.splitlines() if line.startswith("pathsynth run:")]
    assert f"Slurm's nodes cannot see {pathsynth.folder / 'multirun'}; start the command in a folder that all nodes share" in line
    assert not (pathsynth.folder / "multirun").exists()
