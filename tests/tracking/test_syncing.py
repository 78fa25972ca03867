from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pathsynth.tracking.syncing import sync_hint


def offline_run(trial: Path, name: str, sent: str | None = None) -> Path:
    run = trial / "wandb" / f"offline-run-{name}"
    run.mkdir(parents=True)
    (run / f"run-{name}.wandb").touch()
    if sent:
        (run / f"run-{name}.wandb.{sent}").touch()
    return run


def test_the_hint_sends_every_run_of_the_study_one_by_one(tmp_path, monkeypatch):
    study = tmp_path / "my runs" / "it's"
    made = [offline_run(study / "rank=1-aa", "1"), offline_run(study / "rank=2-bb", "2"), offline_run(study / "rank=2-bb", "3")]
    monkeypatch.chdir(tmp_path)
    hint = sync_hint([study / "rank=1-aa"])
    assert hint
    (tmp_path / "wandb").write_text("#!/bin/sh\necho \"$1 $2\" >> sent\n")
    (tmp_path / "wandb").chmod(0o755)
    subprocess.run(["sh", "-c", hint.split(": ", 1)[1]], check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, cwd=tmp_path)
    assert (tmp_path / "sent").read_text().splitlines() == [f"sync {run.relative_to(tmp_path)}" for run in made]


def test_a_study_elsewhere_is_reported_with_its_whole_path(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    offline_run(tmp_path / "runs" / "a", "1")
    assert f"in {tmp_path}/runs/*/wandb/offline-run-*;" in str(sync_hint([tmp_path / "runs" / "a"]))


def test_runs_in_the_folder_that_wandb_dir_names_are_sent_from_there(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "all"))
    monkeypatch.chdir(tmp_path)
    assert sync_hint([tmp_path / "runs" / "a"]) is None
    offline_run(tmp_path / "all", "1")
    assert f"in all/{'wandb/offline-run-*'};" in str(sync_hint([tmp_path / "runs" / "a"]))


@pytest.mark.parametrize("sent", ["synced", "syncstate", None])
def test_nothing_is_said_where_nothing_waits(tmp_path, sent):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    if sent:
        offline_run(tmp_path / "runs" / "a", "1", sent)
    assert sync_hint([tmp_path / "runs" / "a"]) is None
    assert sync_hint([]) is None
