"""After a power cut at any moment: what counts as finished is whole, what was accepted is there, and the next build goes through."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from power_cut import Disk, State, lay_out

from pathsynth.config import parse_config
from pathsynth.ledger import lease
from pathsynth.ledger.atomic import read_json, write_json
from pathsynth.ledger.records import Result, write_result
from pathsynth.ledger.stages import StageStore
from pathsynth.sampling.attempts import AttemptRow, write_attempts
from pathsynth.stages.plan import Plan
from pathsynth.studies.execution import trial as trial_process
from pathsynth.studies.execution.pipeline import Trial
from pathsynth.studies.trials.garbage import find_garbage, remove
from pathsynth.studies.trials.manifest import Manifest, claim, write_manifest
from pathsynth.studies.trials.outcomes import FOLDER_VARIABLE, Outcome, write_outcome
from pathsynth.studies.trials.state import DONE, WAITING, TrialState, read_state, write_state
from pathsynth.studies.trials.trial_table import MANIFEST

IDENTITIES = ("0123456789ab", "ba9876543210")
CONTENT = {"weights": b"whole" * 50, "images/mucus/0.png": b"picture", "attempts.parquet": b"rows"}
REBUILDS_EVERY = 8


def make(folder: Path) -> None:
    for name, content in CONTENT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture
def place() -> Iterator[Path]:
    """In memory where there is such a place: it is thousands of small trees."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        (Path(folder) / "disk").mkdir()
        yield Path(folder)


@pytest.fixture(autouse=True)
def _time_passes(monkeypatch) -> None:
    """After a cut another boot runs: whoever held a lease before is watched for its term, which is over here at once."""
    monkeypatch.setattr(lease._Watch, "over", lambda self, token: True)
    monkeypatch.setattr(lease.Lease, "beat", lambda self, on_lost=None: self)


def through(states: list[tuple[State, tuple[str, ...]]], place: Path, look: Callable[[Path, tuple[str, ...], int], None]) -> int:
    """Lay every state out, in turn, and look at it; how many there were."""
    for number, (state, marks) in enumerate(states):
        root = place / "after"
        root.mkdir()
        lay_out(state, root)
        try:
            look(root, marks, number)
        except AssertionError as fault:
            raise AssertionError(f"{fault}\nafter {marks}: {sorted(state)}") from fault
        shutil.rmtree(root)
    return len(states)


def store_in(root: Path) -> StageStore:
    return StageStore(root / "multirun" / ".stages")


def files(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found.pop("stage.json")
    return found


def look_at_stages(root: Path, marks: tuple[str, ...], number: int) -> None:
    store = store_in(root)
    for identity in IDENTITIES:
        folder = store.read("adapter", identity)
        assert folder is None or files(folder) == CONTENT, f"{identity} counts as finished and is not whole"
        assert folder or identity not in marks, f"{identity} was accepted and is lost"
        if number % REBUILDS_EVERY == 0:
            assert files(store.build("adapter", identity, {}, make)) == CONTENT


def record_builds(place: Path, damaged: bool) -> list[tuple[State, tuple[str, ...]]]:
    """Two stages are built, one after the other, the first in the place of a damaged one."""
    store = store_in(place / "disk")
    if damaged:
        weights = store.build("adapter", IDENTITIES[0], {}, make) / "weights"
        weights.chmod(0o644)
        weights.write_bytes(b"half")
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(place / "disk", patch)
        for identity in IDENTITIES:
            store.build("adapter", identity, {}, make)
            disk.mark(identity)
    return list(disk.states.values())


@pytest.mark.parametrize("damaged", [False, True])
def test_a_stage_that_counts_as_finished_is_whole_and_an_accepted_one_stays(place, damaged):
    assert through(record_builds(place, damaged), place, look_at_stages) > 300


def test_a_model_that_is_reported_of_no_sync_has_states_in_which_stages_are_lost_or_half(place, monkeypatch):
    """The states are such that a build without its syncing would be caught."""
    monkeypatch.setattr(Disk, "_sync", lambda self, node: None)
    states = record_builds(place, damaged=False)
    with pytest.raises(AssertionError, match="counts as finished and is not whole|was accepted and is lost"):
        through(states, place, look_at_stages)


def test_a_stage_that_gc_was_removing_is_whole_or_no_stage(place):
    store = store_in(place / "disk")
    for identity in IDENTITIES:
        store.build("adapter", identity, {}, make)
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(place / "disk", patch)
        disk.mark(IDENTITIES[0])
        manifest = place / "disk" / "multirun" / "study" / "trial" / "manifest.json"
        manifest.parent.mkdir(parents=True)
        write_json(manifest, {"plan": {"stages": [{"name": "adapter", "identity": IDENTITIES[0]}]}})
        assert remove(find_garbage(place / "disk" / "multirun"), place / "disk" / "multirun") == []
        disk.mark("removed")
    assert store.find("adapter", IDENTITIES[1]) is None
    assert through(list(disk.states.values()), place, look_at_stages) > 30


class TrialOnDisk:
    """A trial whose stages are there already, carried out by the real code from its claim to its last word."""

    def __init__(self, root: Path) -> None:
        self.folder, self.built = root / TRIAL, root / "stages"
        plan = Plan.from_json({"stages": [], "base": None, "settings": {}, "identity": "abcdef012345"})
        self.manifest = Manifest("rank=1", parse_config(SETTINGS), plan, ())
        for stage, content in SHOWN.items():
            for name, data in content.items():
                (self.built / stage / name).parent.mkdir(parents=True, exist_ok=True)
                (self.built / stage / name).write_bytes(data)
        write_attempts(self.built / "generate", [ROW])
        write_result(self.built / "evaluate" / "result.json", Result("abcdef012345", {}, {}, (), ()))

    def build(self, manifest: Manifest, plan: Plan, folder: Path, report: object) -> None:
        trial = Trial(manifest.config, plan, StageStore(self.built), folder, lambda *_: None)
        trial.built = {stage: self.built / stage for stage in SHOWN}
        trial.__dict__ |= {"logger": None, "data": SimpleNamespace(space=None)}
        trial.show()

    def carry_out(self) -> None:
        """As a supervisor and its trial's process do."""
        with claim(self.folder, 60, wait=False) as held:
            write_outcome(0, Outcome(self.folder.name, self.folder, "", own=True))
            write_state(self.folder, TrialState(WAITING, self.manifest.plan.identity))
            write_manifest(self.folder, self.manifest)
            reporter = trial_process._Reporter(self.folder, held, read_state(self.folder))
            assert trial_process._carry_out(self.folder, self.manifest, reporter) == 0


TRIAL = Path("multirun", "runs", "rank=1-abcdef")
SETTINGS = {
    "command": "run",
    "study": {"name": "runs"},
    "tracking": {},
    "trainer": {"max_steps": 1, "precision": "32-true", "gradient_clip_val": 0},
    "training": {"batch_size": 1, "warmup_steps": 0, "ema_decay": 0},
}
ROW = AttemptRow(
    *("generate", 0, "mucus", 0, 0, "mucus", 1, 2, 3.0, 2, 1, 0.4, (0.4, 0.6), False, "another class", False),
    *("rejected/mucus/mucus-00000-0.png", "0" * 64),
)
SHOWN = {
    "finetune": {"adapter/adapter.json": b"card", "optimizer.json": b"[]"},
    "generate": {"images/mucus/0.png": b"picture", "images/mucus/1.png": b"another", ROW.image: b"rejected"},
    "evaluate": {"grids/accepted.png": b"sheet"},
}


def look_at_trial(root: Path, marks: tuple[str, ...], number: int) -> None:
    folder = root / TRIAL
    done = read_state(folder).state == DONE
    for record in root.rglob("*.json"):
        if record.parent == folder or record.name == "outcome.json":
            read_json(record)  # raises where it is half
    assert done or not marks or marks[-1] != "done", "a trial was done and is not any more"
    if done:
        assert (folder / "result.json").read_bytes() == (root / "stages" / "evaluate" / "result.json").read_bytes()
        assert read_json(folder / MANIFEST)["optimizer"] == []
        for content in SHOWN.values():
            for name, data in content.items():
                assert name == "optimizer.json" or (folder / name).read_bytes() == data, f"done, and {name} is not whole"


@pytest.mark.slow
def test_a_trial_that_counts_as_done_has_all_its_results(place, monkeypatch):
    """Once for the first time, once again as with study.force=true: what it had is replaced while it is not done."""
    trial = TrialOnDisk(place / "disk")
    monkeypatch.setenv(FOLDER_VARIABLE, str(place / "disk" / "multirun" / "runs" / ".jobs" / "now"))
    monkeypatch.setattr(trial_process, "_build", trial.build)
    monkeypatch.setattr(trial_process, "_log_to", lambda path: None)
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(place / "disk", patch)
        for mark in ("done", "again", "done"):
            if mark == "done":
                trial.carry_out()
            disk.mark(mark)
    assert through(list(disk.states.values()), place, look_at_trial) > 300
