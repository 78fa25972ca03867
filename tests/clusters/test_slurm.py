"""Trials as jobs of a real Slurm, with a pipeline that takes no time; the score of a trial is its rank / 100."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pathsynth.studies.trials.state import read_state
from tests.clusters.conftest import wait_until, words

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(400), pytest.mark.usefixtures("slurm")]

ONE_CORE = ("hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=null")
NODE = socket.gethostname().partition(".")[0]


def states(pathsynth, study: str = "runs") -> dict[int, str]:
    """The state of each trial by its rank, as `pathsynth status` tells it: who was killed could not write it down."""
    found = {}
    for folder in (pathsynth.folder / "multirun" / study).glob("*/state.json"):
        rank = json.loads((folder.parent / "manifest.json").read_text())["config"]["lora"]["rank"]
        found[rank] = read_state(folder.parent).state
    return found


def start(pathsynth, *arguments: str):
    return pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", *arguments)


def let_go_on(pathsynth) -> None:
    """What the stand-in waits for."""
    (pathsynth.folder / "open").touch()


def test_a_sweep_is_an_array_of_jobs_that_a_person_recognises(pathsynth):
    pathsynth.told = {"2": {"finetune": "gate"}, "4": {"finetune": "gate"}}
    pathsynth.variables = {"OMP_NUM_THREADS": ""}
    command = start(pathsynth, "-m", "lora.rank=2,4", "study.name=mine", *ONE_CORE)
    pathsynth.wait_for("finetune 2")
    pathsynth.wait_for("finetune 4")
    assert words("squeue", "-h", "-r", "-t", "R", "-o", "%j").split() == ["mine", "mine"]
    let_go_on(pathsynth)
    out, err = command.communicate(timeout=200)
    assert command.returncode == 0, err
    assert "is not known" not in out, "the node saw the folder"
    assert states(pathsynth, "mine") == {2: "done", 4: "done"}
    assert {line.split()[2] for line in pathsynth.made} == {"1"}, "each job has the threads of its own cores"


def test_no_job_waits_while_another_trains_its_gate(pathsynth):
    pathsynth.told = {"2": {"gate": "gate"}}
    command = start(pathsynth, "-m", "lora.rank=1,2,4,8", *ONE_CORE)
    pathsynth.wait_for("judge 4")
    wait_until(lambda: len(words("squeue", "-h", "-r").splitlines()) == 1, "other jobs are in the queue while the gate is trained")
    assert {line.split()[0] for line in pathsynth.made} == {"cache", "gate", "judge"}
    let_go_on(pathsynth)
    out, err = command.communicate(timeout=200)
    assert command.returncode == 0, err
    assert "first 3 jobs build what several trials share" in out
    assert states(pathsynth) == dict.fromkeys((1, 2, 4, 8), "done")
    assert [line.split()[0] for line in pathsynth.made].count("gate") == 1


def test_a_cancelled_job_ends_alone_and_the_same_command_goes_on(pathsynth):
    pathsynth.told = {"2": {"finetune": "wait"}, "4": {"finetune": "gate"}}
    command = start(pathsynth, "-m", "lora.rank=2,4", *ONE_CORE)
    pathsynth.wait_for("finetune 2")
    pathsynth.wait_for("finetune 4")
    words("scancel", job_of(pathsynth, 2))
    wait_until(lambda: states(pathsynth)[2] == "interrupted", "rank 2 was not stopped")
    assert states(pathsynth)[4] == "running"
    let_go_on(pathsynth)
    command.communicate(timeout=200)
    assert command.returncode == 1
    assert states(pathsynth) == {2: "interrupted", 4: "done"}
    pathsynth.told = {}
    command = start(pathsynth, "-m", "lora.rank=2,4", *ONE_CORE)
    assert command.wait(200) == 0, command.communicate()
    assert states(pathsynth) == {2: "done", 4: "done"}


def job_of(pathsynth, rank: int) -> str:
    """The Slurm job that carries out the trial of that rank, as squeue shows it: <array>_<task>, the one form that scancel always takes."""
    for state in (pathsynth.folder / "multirun" / "runs").glob("*/state.json"):
        if json.loads((state.parent / "manifest.json").read_text())["config"]["lora"]["rank"] == rank:
            environment = Path(f"/proc/{json.loads(state.read_text())['pid']}/environ").read_bytes().decode().split("\0")
            told = dict(line.split("=", 1) for line in environment if line.startswith("SLURM_ARRAY_"))
            return f"{told['SLURM_ARRAY_JOB_ID']}_{told['SLURM_ARRAY_TASK_ID']}"
    raise AssertionError(f"no trial of rank {rank}")


def test_a_trial_that_meets_its_time_limit_queues_again_and_goes_on(pathsynth):
    pathsynth.told = {"2": {"finetune": "gate"}}
    limits = ("hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=50")
    command = start(pathsynth, "-m", "lora.rank=2", *ONE_CORE, *limits)
    pathsynth.wait_for("finetune 2")
    wait_until(lambda: pathsynth.made.count("finetune 2 1") == 2, "it did not continue after its time limit", seconds=240)
    assert pathsynth.made.count("gate 2 1") == 1, "what was finished is not made again"
    let_go_on(pathsynth)
    _, err = command.communicate(timeout=120)
    assert command.returncode == 0, err
    assert states(pathsynth) == {2: "done"}


ARRAY = """\
#!/bin/bash
#SBATCH --array=0-1 --cpus-per-task=1 --requeue --job-name=shared --output={folder}/array-%a.txt --open-mode=append
cd {folder}
exec {python} -m pathsynth run -m base.path={base} tracking=none lora.rank=2,4,8
"""


def array_of_two(pathsynth) -> None:
    """Two jobs of an array, each the whole multirun: they share it by its leases."""
    script = pathsynth.folder / "array.sh"
    script.write_text(ARRAY.format(folder=pathsynth.folder, python=sys.executable, base=pathsynth.base))
    stand_in = os.pathsep.join(filter(None, [str(pathsynth.folder / "stand_in"), os.environ.get("PYTHONPATH")]))
    words("env", f"PYTHONPATH={stand_in}", f"STAND_IN={json.dumps(pathsynth.told)}", "sbatch", str(script))


def back() -> bool:
    """Whether the node serves again; where Slurm did not take it back by itself, it is asked to."""
    if "down" in words("sinfo", "-h", "-o", "%t"):
        subprocess.run(["scontrol", "update", f"nodename={NODE}", "state=resume"], capture_output=True)
    return any(state in words("sinfo", "-h", "-o", "%t") for state in ("idle", "mix", "alloc"))


def test_an_array_shares_a_study_and_survives_a_requeue_and_a_lost_node(pathsynth):
    pathsynth.told = {"2": {"finetune": "gate"}, "4": {"finetune": "gate"}}
    array_of_two(pathsynth)
    pathsynth.wait_for("finetune 2")
    pathsynth.wait_for("finetune 4")
    words("scontrol", "requeue", job_of(pathsynth, 2))  # as a preemption does
    wait_until(lambda: pathsynth.made.count("finetune 2 1") == 2, "rank 2 did not continue after its job was queued again")
    words("scontrol", "update", f"nodename={NODE}", "state=down", "reason=lost")
    wait_until(lambda: "running" not in states(pathsynth).values(), "trials outlived their node")
    wait_until(back, "the node did not come back")
    let_go_on(pathsynth)
    wait_until(lambda: states(pathsynth) == {2: "done", 4: "done", 8: "done"}, "the study did not end", seconds=240)
    wait_until(lambda: not words("squeue", "-h").strip(), "jobs were left")
    assert pathsynth.made.count("evaluate 2 1") == pathsynth.made.count("evaluate 4 1") == 1
