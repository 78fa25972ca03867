from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.lease import acquire
from pathsynth.ledger.stages import StageStore
from pathsynth.studies.trials.garbage import find_garbage, freed, needed_stages, remove

KEPT, OLD, OPEN = "a" * 12, "b" * 12, "c" * 12


def trial(multirun: Path, name: str, *stages: tuple[str, str], study: str = "runs") -> Path:
    folder = multirun / study / name
    folder.mkdir(parents=True)
    plan = {"stages": [{"name": stage, "identity": identity} for stage, identity in stages]}
    (folder / "manifest.json").write_text(json.dumps({"plan": plan}))
    return folder


def content(size: int):
    return lambda folder: (folder / "weights").write_bytes(b"x" * size)


@pytest.fixture
def store(tmp_path) -> StageStore:
    """A finished stage that a trial needs, one that none does, and one of a failed trial with its checkpoints."""
    store = StageStore(tmp_path / ".stages")
    store.build("gate", KEPT, {}, content(100))
    store.build("gate", OLD, {}, content(1000))
    store.work("finetune", OPEN).mkdir(parents=True)
    trial(tmp_path, "one", ("gate", KEPT), ("finetune", OPEN))
    return store


def found(multirun: Path) -> dict[str, str]:
    return {str(item.path.relative_to(multirun / ".stages")): item.why for item in find_garbage(multirun)}


def test_only_what_no_manifest_names_is_found(store, tmp_path):
    assert found(tmp_path) == {f"gate/{OLD}": "no trial needs it"}
    trial(tmp_path, "two", ("gate", OLD), study="another")
    assert found(tmp_path) == {}
    assert needed_stages(tmp_path) == {("gate", KEPT), ("gate", OLD), ("finetune", OPEN)}


def test_the_same_identity_in_another_stage_is_not_needed(store, tmp_path):
    store.build("judge", KEPT, {}, content(1))
    assert f"judge/{KEPT}" in found(tmp_path)


def test_leftovers_are_found_and_resume_points_stay(store, tmp_path):
    for name in (f"{KEPT}.partial", f"{KEPT}.17.partial", f"{OLD}.work", f"{KEPT}.work", "notes", "deadbeef"):
        (tmp_path / ".stages" / "gate" / name).mkdir()
    assert found(tmp_path) == {
        f"gate/{OLD}": "no trial needs it",
        f"gate/{KEPT}.partial": "left by a killed build",
        f"gate/{KEPT}.17.partial": "left by a killed build",
        f"gate/{OLD}.work": "checkpoints of a finished stage",
        f"gate/{KEPT}.work": "checkpoints of a finished stage",
    }
    (tmp_path / "runs" / "one" / "manifest.json").unlink()
    assert found(tmp_path)[f"finetune/{OPEN}.work"] == "no trial needs it"


def test_removal(store, tmp_path):
    garbage = find_garbage(tmp_path)
    assert remove(garbage, tmp_path) == []
    assert sorted(path.name for path in (tmp_path / ".stages" / "gate").iterdir()) == [KEPT, f"{KEPT}.lease", f"{OLD}.lease"]
    assert store.find("gate", KEPT)
    assert find_garbage(tmp_path) == []
    store.build("gate", OLD, {}, content(5))
    assert store.find("gate", OLD)


def test_what_is_being_built_is_neither_listed_nor_removed(store, tmp_path):
    garbage = find_garbage(tmp_path)
    (tmp_path / ".stages" / "gate" / f"{OLD}.partial").mkdir()
    with acquire(store.lease("gate", OLD), wait=False):
        assert found(tmp_path) == {}
        assert [left.why for left in remove(garbage, tmp_path)] == ["is in use"]
    assert store.find("gate", OLD)


def test_a_trial_that_began_meanwhile_keeps_its_stages(store, tmp_path):
    garbage = find_garbage(tmp_path)
    trial(tmp_path, "two", ("gate", OLD))
    assert [(left.path.name, left.why, left.failed) for left in remove(garbage, tmp_path)] == [(OLD, "is needed now, or is gone", False)]
    assert store.find("gate", OLD)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"plan": {"stages": [1]}}'])
def test_an_unreadable_manifest_refuses_everything(store, tmp_path, text):
    garbage = find_garbage(tmp_path)
    (tmp_path / "runs" / "one" / "manifest.json").write_text(text)
    for refused in (lambda: find_garbage(tmp_path), lambda: remove(garbage, tmp_path)):
        with pytest.raises(RequestError, match=r"one/manifest\.json cannot be read"):
            refused()
    assert store.find("gate", OLD)


def test_a_folder_that_may_not_be_read_refuses_everything(store, tmp_path):
    """Root may read every folder, so as root another user looks, at a copy where that user may go."""
    with tempfile.TemporaryDirectory() as place:
        multirun = Path(place) / "multirun"
        shutil.copytree(tmp_path, multirun)
        Path(place).chmod(0o755)
        multirun.chmod(0o755)
        (multirun / "runs").chmod(0)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            with pytest.raises(RequestError, match="cannot be read"):
                find_garbage(multirun)
        finally:
            if root:
                os.seteuid(0)
            (multirun / "runs").chmod(0o755)


def test_a_folder_without_stages_is_no_folder_of_studies(store, tmp_path):
    with pytest.raises(RequestError, match="no stages in"):
        find_garbage(tmp_path / "runs")


def test_what_a_trial_shows_too_stays_on_the_disk(store, tmp_path):
    garbage = find_garbage(tmp_path)
    alone = freed(garbage)
    assert alone == sum(item.size for item in garbage) > 1000
    os.link(garbage[0].path / "weights", tmp_path / "runs" / "one" / "weights")
    assert freed(garbage) == alone - 1000
    os.link(garbage[0].path / "weights", garbage[0].path / "twice")
    os.unlink(tmp_path / "runs" / "one" / "weights")
    assert freed(garbage) == alone


def test_a_removal_that_fails_halfway_leaves_no_stage(store, tmp_path, monkeypatch):
    garbage = find_garbage(tmp_path)
    real = os.unlink

    def refuse(path, *args, **kwargs):
        if str(path).endswith("weights"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "unlink", refuse)
    (left,) = remove(garbage, tmp_path)
    assert (left.why, left.failed) == ("cannot be removed (Permission denied)", True)
    assert store.find("gate", OLD) is None
    monkeypatch.undo()
    assert remove(find_garbage(tmp_path), tmp_path) == []
