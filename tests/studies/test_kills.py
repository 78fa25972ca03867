"""A study that is killed, again and again and in the middle of every kind of write, ends as the undisturbed one."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from pathsynth.ledger.weights import weights_digest
from tests.forked import fork, run_forked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

STUDY = [
    "run",
    "-m",
    "lora.rank=1,2",
    "tracking=none",
    "data.n_train=90",
    "data.n_val=36",
    "data.n_test=18",
    "gate.epochs=1",
    "judge.epochs=1",
    "lora.targets=attention",
    "trainer.max_steps=6",
    "training.batch_size=4",
    "training.checkpoint_every=1",
    "callbacks.regeneration.every=3",
    "callbacks.regeneration.n=1",
    "sampling.steps=2",
    "sampling.attempts=2",
    "sampling.batch_size=8",
    "evaluate.n=2",
    "study.name=killed",
    "study.retry_failed=100",
    "study.lease_seconds=5",
]
SINGLE = [{"lora.rank=1,2": "lora.rank=2"}.get(word, word) for word in STUDY if word != "-m"]
RANDOM_KILLS = 20
RANDOM_STOPS = 9
WRITES = ["step-00000:2", "attempts.jsonl:1", "attempts.parquet:1", "stage.json:1", "result.json:1", "state.json:7", ".partial -> :3"]
FURTHER_WRITES = ["/images/:2", "/rejected/:3", "adapter.json:1", "manifest.json:1", ".held:3"]
OF_A_TRIAL, FURTHER_OF_A_TRIAL = ["step-00000:2"], ["attempts.jsonl:1", "adapter.json:1"]


def thorough(write: str):
    """A case for the thorough tests alone."""
    return pytest.param(write, marks=pytest.mark.thorough)


@pytest.fixture(scope="module")
def home(tmp_path_factory, small_base_folder) -> Path:
    """Where studies run; the base and the hook that kills lie beside them."""
    folder = tmp_path_factory.mktemp("kills")
    shutil.copytree(small_base_folder, folder / "base")
    (folder / "hook").mkdir()
    shutil.copy(Path(__file__).with_name("killing.py"), folder / "hook" / "sitecustomize.py")
    return folder


def start(folder: Path, study: Sequence[str] = STUDY, **variables: str) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    path = os.pathsep.join(filter(None, [str(folder.parent / "hook"), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, **variables}
    command = [sys.executable, "-m", "pathsynth", *study, f"base.path={folder.parent / 'base'}"]
    log = (folder / "log.txt").open("ab")
    return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment, start_new_session=True)


def finish(folder: Path) -> None:
    """Run the study to its end; a first run may find trials that a kill made fail, and tries them again."""
    code = start(folder).wait(300)
    assert code == 0, (folder / "log.txt").read_text()[-3000:]


def outcome(folder: Path) -> dict[str, object]:
    """All that a study leaves, without times, process numbers and where it lies.

    Of adapters the tensors: the order of a file's metadata differs from process to process.
    """
    found: dict[str, object] = {}
    for trial in sorted((folder / "multirun" / "killed").glob("*/manifest.json")):
        trial = trial.parent
        state = json.loads((trial / "state.json").read_text())
        result = json.loads((trial / "result.json").read_text())
        rows = pd.read_parquet(trial / "attempts.parquet").sort_values(["label", "slot", "attempt"])
        found[trial.name] = {
            "state": (state["state"], state["identity"]),
            "metrics": result["metrics"],
            "confusions": result["extras"],
            "adapter": weights_digest(trial / "adapter" / "pytorch_lora_weights.safetensors"),
            "history": (trial / "history.csv").read_text(),
            "attempts": rows.to_csv(index=False),
            "images": {str(p.relative_to(trial)): p.read_bytes() for p in sorted(trial.rglob("*.png"))},
        }
    store = folder / "multirun" / ".stages"
    found["stages"] = sorted(f"{p.parent.name}/{p.name}" for p in store.glob("*/*") if p.suffix != ".lease")
    return found


@pytest.fixture(scope="module")
def undisturbed(home) -> dict[str, object]:
    finish(home / "undisturbed")
    found = outcome(home / "undisturbed")
    assert len(found) == 3
    assert all(Path(name).suffix == "" for name in found["stages"])
    return found


@pytest.mark.thorough
def test_a_trial_that_is_started_afresh_gives_the_bits_of_one_that_is_forked(home, undisturbed):
    """The trials of a sweep are forks of a server that has loaded torch; a single one is not."""
    assert start(home / "single", SINGLE).wait(300) == 0
    assert_is_one_of(outcome(home / "single"), undisturbed)


def assert_is_one_of(single: dict[str, object], study: dict[str, object]) -> None:
    stages = set(single.pop("stages"))
    assert single == {name: study[name] for name in single}
    assert len(single) == 1
    assert stages < set(study["stages"])


def test_killed_at_random_moments(home, undisturbed, signal_tree):
    moments = random.Random(0)
    folder = home / "random"
    killed = 0
    while killed < RANDOM_KILLS:
        process = start(folder)
        time.sleep(moments.uniform(0.3, 14))
        ended = process.poll() is not None
        signal_tree(process.pid, signal.SIGKILL)
        process.wait(30)
        killed += not ended
        if ended:  # it came to its end before all kills were spent: another continues with the next
            assert outcome(folder) == undisturbed
            folder = home / f"random-{killed}"
    finish(folder)
    assert outcome(folder) == undisturbed


def test_stopped_in_good_order_at_random_moments(home, undisturbed):
    """With torch, checkpoints and images; every moment of the start: tests/commands/test_stop_moments.py."""
    moments = random.Random(2)
    folder = home / "stopped"
    for number in range(RANDOM_STOPS):
        process = start(folder)
        time.sleep(moments.uniform(2, 14))
        process.send_signal((signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[number % 3])
        sent = time.monotonic()
        code = process.wait(30)
        assert time.monotonic() - sent < 25, "20 seconds are a trial's, and it was asked once"
        states = [json.loads(path.read_text())["state"] for path in (folder / "multirun" / "killed").glob("*/state.json")]
        assert set(states) <= {"interrupted", "done", "waiting"}, (code, states)
        if code == 0:
            assert outcome(folder) == undisturbed
            folder = home / f"stopped-{number}"
    finish(folder)
    assert outcome(folder) == undisturbed


@pytest.fixture
def prepared(home, undisturbed) -> Path:
    """A folder in which gate, judge and cache are there already, so that each case takes seconds."""
    folder = Path(tempfile.mkdtemp(dir=home))
    for stage in ("gate", "judge", "cache"):
        shutil.copytree(home / "undisturbed" / "multirun" / ".stages" / stage, folder / "multirun" / ".stages" / stage)
    return folder


@pytest.mark.parametrize("write", [*WRITES, *map(thorough, FURTHER_WRITES)])
def test_all_processes_are_killed_inside_a_write(prepared, undisturbed, write):
    """As by a power cut: the trial is carried out in the process of its command."""
    words, killed = (*SINGLE, f"base.path={prepared.parent / 'base'}"), prepared / "killed"
    fork(prepared, words, prepared / "log.txt", "tests.studies.killing", KILL_IN=write, KILL_ONCE=str(killed)).join(300)
    assert killed.exists(), "nothing was killed: no such write"
    code, output = run_forked(prepared, *words)
    assert code == 0, output
    assert_is_one_of(outcome(prepared), undisturbed)


@pytest.mark.parametrize("write", [*OF_A_TRIAL, *map(thorough, FURTHER_OF_A_TRIAL)])
def test_a_trial_is_killed_inside_a_write(prepared, undisturbed, write):
    """Its command lives, and continues with the next trial."""
    start(prepared, KILL_IN=write, KILL_ONCE=str(prepared / "killed")).wait(300)
    assert (prepared / "killed").exists(), "nothing was killed: no such write"
    finish(prepared)
    assert outcome(prepared) == undisturbed


def test_two_operators_of_which_one_is_killed_and_one_stands_still(home, undisturbed, signal_tree):
    moments = random.Random(1)
    folder = home / "two"
    operators = [start(folder), start(folder)]
    for turn in range(6):
        time.sleep(moments.uniform(3, 10))
        victim = operators[turn % 2]
        if turn % 3 == 2:
            signal_tree(victim.pid, signal.SIGSTOP)
            time.sleep(7)  # longer than the lease
            signal_tree(victim.pid, signal.SIGCONT)
        else:
            signal_tree(victim.pid, signal.SIGKILL)
            victim.wait(30)
            operators[turn % 2] = start(folder)
    for process in operators:
        process.wait(300)
    finish(folder)
    assert outcome(folder) == undisturbed
