"""A fine-tune shared out among two processes over gloo: the adapter of one process, and no end that a process alone would not have."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pathsynth.ledger.requests import VALIDATION, leave_request
from pathsynth.ledger.stages import STAGES, StageStore

pytestmark = pytest.mark.slow

SMALL = [
    *("data.n_train=90", "data.n_val=36", "data.n_test=18", "gate.epochs=1", "tracking=none", "lora.rank=2", "lora.targets=attention"),
    *("trainer.max_steps=8", "training.batch_size=4", "training.checkpoint_every=1", "training.threads=1", "trainer.accelerator=cpu"),
    *("callbacks.regeneration.every=4", "callbacks.regeneration.n=2", "sampling.steps=2", "sampling.attempts=2"),
]
OUTPUT = "output.txt"
TOLERANCE = 0.05
"""Between the tensors of one process and of two, as a share of what was learnt: gradients are summed in another order, and Muon rounds
them to bfloat16."""


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pathsynth", "finetune", *SMALL, *words]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    output, _ = process.communicate(timeout=400)
    assert process.returncode == code, output
    return output


def trial_of(folder: Path) -> Path:
    return next((folder / "multirun").glob("*/*/state.json")).parent


def state_of(folder: Path) -> dict[str, object]:
    return json.loads((trial_of(folder) / "state.json").read_text())


def adapter_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(trial_of(folder) / "adapter" / "pytorch_lora_weights.safetensors")


@pytest.fixture(scope="module")
def one_process(tmp_path_factory, small_base_folder) -> Path:
    folder = tmp_path_factory.mktemp("one")
    finish(start(folder, f"base.path={small_base_folder}"))
    return folder


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory, small_base_folder, one_process) -> Path:
    """A validation beside the schedule, at its first step."""
    folder = with_gate_and_cache(one_process, tmp_path_factory.mktemp("two"))
    (made,) = (path.parent for path in one_process.glob("multirun/.stages/finetune/*/stage.json"))
    work = StageStore(folder / "multirun" / STAGES).work("finetune", made.name)
    work.mkdir(parents=True)
    leave_request(work / VALIDATION)
    output = finish(start(folder, f"base.path={small_base_folder}", "trainer.devices=2"))
    (folder / OUTPUT).write_text(output, encoding="utf-8")
    return folder


def with_gate_and_cache(finished: Path, folder: Path) -> Path:
    """A folder where no fine-tune was made yet, but what comes before one."""
    for stage in ("gate", "cache"):
        shutil.copytree(finished / "multirun" / ".stages" / stage, folder / "multirun" / ".stages" / stage)
    return folder


def step_of(folder: Path) -> int:
    """Of the newest checkpoint; 0 where there is none."""
    return max((int(path.stem.removeprefix("step-")) for path in folder.glob("multirun/.stages/finetune/**/step-*.ckpt")), default=0)


def ranks(process: subprocess.Popen[str]) -> Iterator[int]:
    """The processes of the fine-tune beside the trial's own, below the command."""
    for trial in children(process.pid):
        yield from (pid for pid in children(trial) if b"LOCAL_RANK=1" in Path(f"/proc/{pid}/environ").read_bytes())


def children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def wait_for(process: subprocess.Popen[str], folder: Path, step: int) -> None:
    while step_of(folder) < step:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def test_two_processes_give_the_adapter_of_one(one_process, two_processes):
    one, two = adapter_of(one_process), adapter_of(two_processes)
    assert one.keys() == two.keys()
    learnt = max(float(tensor.abs().max()) for name, tensor in one.items() if "lora_B" in name)  # B starts at 0
    assert learnt > 3e-4
    assert all(torch.allclose(tensor, two[name], rtol=0, atol=TOLERANCE * learnt) for name, tensor in one.items())
    groups = json.loads((trial_of(one_process) / "optimizer.json").read_text())
    assert {group["rule"] for group in groups} == {"muon"}, "the default optimizer acts on every tensor"


def test_a_validation_that_was_asked_for_is_carried_out_once_by_both(two_processes):
    output = (two_processes / OUTPUT).read_text(encoding="utf-8")
    assert (output.count("validation requested"), output.count("validation requested, step 1: ")) == (1, 1)


def test_every_image_of_a_validation_counts_once(one_process, two_processes):
    histories = [list(csv.DictReader((trial_of(folder) / "history.csv").open())) for folder in (one_process, two_processes)]
    assert [row["step"] for row in histories[1]] == ["4", "8"]
    for one, two in zip(*histories, strict=True):
        assert float(one["train_loss"]) == pytest.approx(float(two["train_loss"]), abs=1e-4)
        assert float(one["held_out_loss"]) == pytest.approx(float(two["held_out_loss"]), abs=1e-4)
        slots = [sum(float(row[f"val_slots_{end}"]) for end in ("accepted", "exhausted", "failed")) for row in (one, two)]
        assert slots == [18, 18]
    sheets = [sorted(p.name for p in folder.glob("multirun/.stages/finetune/*/*.png")) for folder in (one_process, two_processes)]
    assert sheets[0] == sheets[1] and len(sheets[0]) == 4


def test_a_request_to_stop_reaches_both_and_both_go_on_to_the_same_adapter(tmp_path, small_base_folder, two_processes):
    folder = with_gate_and_cache(two_processes, tmp_path)
    words = (f"base.path={small_base_folder}", "trainer.devices=2")
    process = start(folder, *words)
    wait_for(process, folder, 2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert state_of(folder)["state"] == "interrupted"
    finish(start(folder, *words))
    same(folder, two_processes)


def test_a_rank_that_is_killed_fails_the_trial_and_the_same_command_goes_on(tmp_path, small_base_folder, two_processes):
    folder = with_gate_and_cache(two_processes, tmp_path)
    words = (f"base.path={small_base_folder}", "trainer.devices=2")
    process = start(folder, *words)
    wait_for(process, folder, 2)
    (rank,) = ranks(process)
    os.kill(rank, signal.SIGKILL)
    finish(process, 1)
    assert state_of(folder)["state"] == "failed"
    finish(start(folder, *words))
    same(folder, two_processes)


def same(folder: Path, other: Path) -> None:
    one, two = adapter_of(folder), adapter_of(other)
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
