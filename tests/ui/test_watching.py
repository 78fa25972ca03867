"""What the live page shows of studies, from their files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pathsynth.commands.composition import composed
from pathsynth.config import from_hydra
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.records import Result, write_result
from pathsynth.ledger.requests import VALIDATION, take_request
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.stages.plan import plan
from pathsynth.studies.trials.manifest import Manifest, claim, write_manifest
from pathsynth.studies.trials.validating import ask_for_validation, finetune_work, requested_sheets
from pathsynth.ui.continuing import Job, stopped_jobs
from pathsynth.ui.watching import (
    PAGE,
    cells,
    command_of,
    is_stale,
    newest_sheet,
    report_file,
    scorer_of,
    study_named,
    trial_named,
    views,
    watched,
)
from tests.metric_records import first_attempts_metric


def write_trial(root: Path, study: str, name: str, **state: object) -> Path:
    folder = root / study / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "state.json").write_text(json.dumps(state))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    done = write_trial(tmp_path, "rank", "a", state="done")
    f1 = first_attempts_metric(value=0.5, low=0.4, high=0.6)
    write_result(done / "result.json", Result("x", {}, {}, (f1,), ()))
    running = write_trial(tmp_path, "rank", "b", state="running", stage="finetune", detail="steps", step=30, steps=90, rate=0.5)
    assert claim(running, 60, wait=False)
    write_trial(tmp_path, "other", "c", state="failed", stage="gate", reason="out of memory")
    return tmp_path


def test_each_study_has_its_trials_with_step_rate_and_time_left(root: Path):
    other, rank = watched(root)
    assert (other.name, other.running, other.has_scores) == ("other", False, False)
    assert (rank.name, rank.running, rank.has_scores) == ("rank", True, True)
    done, running = (cells(row, scorer_of(rank)) for row in rank.rows)
    assert done == ("a", "done", "", "", "", "", "0.500 [0.400, 0.600] n=90", "")
    assert running == ("b", "running", "finetune", "30 of 90 steps", "0.5/s", "2 min", "", "")
    assert cells(other.rows[0], "gate")[-1] == "out of memory" and "1 of 2 done, 1 running" in rank.line
    assert watched(root / "nothing") == [] and [s.name for s in watched(root / "rank")] == ["rank"]


def test_the_newest_sheet_is_that_of_the_last_validation_and_of_what_is_over_its_images(root: Path):
    trial = root / "rank" / "b"
    assert newest_sheet(trial) is None and command_of(trial) == ""
    overrides = ("study=demo", "lora.rank=4", "study.name=a b")
    config = from_hydra(composed("run", ["study=demo", "lora.rank=4"]))
    write_manifest(trial, Manifest("rank=4", config, plan(config), overrides))
    assert command_of(trial) == "pathsynth run study=demo lora.rank=4 'study.name=a b'"
    (trial / "sheet.png").write_bytes(b"")
    sheet = newest_sheet(trial)
    assert sheet and sheet.path == trial / "sheet.png"
    identity = next(stage.identity for stage in plan(config).stages if stage.name == "finetune")
    for step, seconds in ((30, 100), (60, 200)):
        path = StageStore(root / STAGES).work("finetune", identity) / "validation" / f"after_regeneration-{step:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        os.utime(path, (seconds, seconds))
    sheet = newest_sheet(trial)
    assert sheet and sheet.path.name == "after_regeneration-000060.png"


def test_of_a_study_the_sheet_of_the_chosen_trial_is_shown_else_of_one_that_runs(root: Path):
    for name in ("a", "b"):
        (root / "rank" / name / "sheet.png").write_bytes(b"")
    assert [(view.study.name, view.sheet_of, bool(view.sheet)) for view in views(root)] == [("other", "", False), ("rank", "b", True)]
    assert views(root, ("rank", "a"))[1].sheet_of == "a"
    (root / "rank" / "a" / "sheet.png").unlink()
    chosen = views(root, ("rank", "a"))[1]
    assert (chosen.sheet_of, chosen.sheet) == ("a", None)


def test_a_page_is_stale_where_a_result_is_newer(root: Path):
    rank = study_named(root, "rank")
    assert is_stale(rank)
    (root / "rank" / PAGE).write_text("page")
    assert not is_stale(rank)
    os.utime(root / "rank" / PAGE, (0, 0))
    assert is_stale(rank)


def test_pages_and_pictures_alone_are_served_and_nothing_beside_the_study(root: Path):
    rank = study_named(root, "rank")
    (root / "rank" / PAGE).write_text("page")
    (root / "rank" / ".jobs").mkdir()
    (root / "rank" / ".jobs" / "x.html").write_text("x")
    (root / "secret.html").write_text("x")
    (root / "rank" / "link.html").symlink_to(root / "secret.html")
    assert report_file(rank, PAGE) == root / "rank" / PAGE
    for path in ("a/state.json", "../secret.html", ".jobs/x.html", "link.html", "none.html", "/etc/hostname", ""):
        with pytest.raises(RequestError, match="no "):
            report_file(rank, path)
    for wrong in (lambda: study_named(root, "none"), lambda: trial_named(rank, "c")):
        with pytest.raises(RequestError, match="no "):
            wrong()


def manifest_for(trial: Path, *overrides: str) -> Manifest:
    """Of a small run, in the folder of all studies that the trial lies in."""
    words = [*overrides, f"multirun={trial.parents[1]}"]
    config = from_hydra(composed("run", words))
    manifest = Manifest(trial.name, config, plan(config), overrides)
    write_manifest(trial, manifest)
    return manifest


def test_a_validation_is_asked_for_once_while_a_trial_is_fine_tuned_and_in_no_other_state(root: Path):
    trial = root / "rank" / "b"
    manifest = manifest_for(trial, "lora.rank=4")
    assert study_named(root, "rank").fine_tuned == (trial,)
    with pytest.raises(RequestError, match="has not begun its first step"):
        ask_for_validation(trial)
    work = finetune_work(trial, manifest)
    work.mkdir(parents=True)
    for _ in range(2):
        ask_for_validation(trial)
    assert [take_request(work / VALIDATION), take_request(work / VALIDATION)] == [True, False]
    (sheet := requested_sheets(trial) / "first_attempts-000031.png").parent.mkdir()
    sheet.write_bytes(b"")
    shown = newest_sheet(trial)
    assert shown and shown.path == sheet
    manifest_for(trial, "lora.rank=4", "callbacks.regeneration.every=0")
    with pytest.raises(RequestError, match="has no validations"):
        ask_for_validation(trial)
    for change, told in (({"stage": "gate"}, "b is at gate"), ({"state": "interrupted"}, "b is interrupted")):
        (trial / "state.json").write_text(json.dumps({"state": "running", "stage": "finetune", **change}))
        with pytest.raises(RequestError, match=f"{told}; a validation can be requested while it is being fine-tuned"):
            ask_for_validation(trial)


def test_what_was_stopped_goes_on_where_it_was_started_and_nothing_else_is_run(root: Path, tmp_path: Path):
    trial = root / "other" / "c"
    manifest_for(trial, "lora.rank=4")
    with pytest.raises(RequestError, match="c was started in another folder"):
        stopped_jobs(study_named(root, "other"))
    (trial / ".hydra").mkdir()
    (trial / ".hydra" / "hydra.yaml").write_text(f"hydra: {{runtime: {{cwd: {tmp_path}}}}}")
    assert stopped_jobs(study_named(root, "other")) == (Job(("run", "lora.rank=4"), tmp_path),)
    (trial / "state.json").write_text(json.dumps({"state": "pruned"}))
    assert stopped_jobs(study_named(root, "other")) == ()
    manifest = json.loads((trial / "manifest.json").read_text())
    manifest["config"]["optimizer"]["_target_"] = "my.Optimizer"
    (trial / "manifest.json").write_text(json.dumps(manifest))
    (trial / "state.json").write_text(json.dumps({"state": "failed"}))
    with pytest.raises(RequestError, match="runs my.Optimizer, which is not part of pathsynth"):
        stopped_jobs(study_named(root, "other"))
