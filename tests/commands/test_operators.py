"""Several commands on one study, and a disk that is full or cannot be written any more: nothing that was accepted is lost or made twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

STEPS = dict.fromkeys(("gate", "finetune", "evaluate"), "steps")


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """What a command prints, as it prints it."""
    assert process.stdout
    return iter(process.stdout.readline, "")


def one_line(text: str) -> str:
    """What a command says of a failure: never a traceback."""
    assert "Traceback" not in text
    return text


@pytest.mark.slow
def test_a_disk_that_is_full_fails_the_trial_and_the_same_command_goes_on(pathsynth, small_disk):
    """Full before anything starts, which is refused, and within the trial's start."""
    disk = small_disk(pathsynth.folder / "multirun")
    for free, code, reason in ((0, 2, "fit onto the disk"), (12, 1, "No space left")):
        disk.fill(free)
        ended = pathsynth.run("lora.rank=1", "evaluate.n=1")
        assert (ended.code, reason in ended.err + ended.out or "full" in ended.err + ended.out) == (code, True), ended
        one_line(ended.err + ended.out)
    (disk.place / "filler").unlink()
    assert pathsynth.run("lora.rank=1", "evaluate.n=1", "study.retry_failed=0").code == 0
    assert pathsynth.state("rank=1")["state"] == "done"


@pytest.mark.slow
def test_a_disk_that_becomes_read_only_within_a_trial_ends_the_command_and_the_same_goes_on_later(pathsynth, small_disk):
    disk = small_disk(pathsynth.folder / "multirun")
    pathsynth.told = {"1": {"finetune": "gate"}}
    process = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", "lora.rank=1", "evaluate.n=1")
    pathsynth.wait_for("finetune 1")
    disk.make_read_only()
    (pathsynth.folder / "open").touch()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, (out, err)
    assert "Read-only file system" in one_line(err + out)
    disk.make_writable()
    ended = pathsynth.run("lora.rank=1", "evaluate.n=1")
    assert ended.code == 0, ended.err
    assert pathsynth.state("rank=1")["state"] == "done"


@pytest.mark.slow
def test_without_hard_links_two_commands_make_a_trial_once(pathsynth):
    site = pathsynth.folder / "stand_in" / "sitecustomize.py"
    refuse = "def _refused(*_):\n    raise OSError(1, 'Operation not permitted')\n\nimport os\nos.link = _refused\n"
    site.write_text(site.read_text() + refuse)
    pathsynth.told = {"1": {"finetune": "gate"}}
    arguments = ["run", f"base.path={pathsynth.base}", "tracking=none", "lora.rank=1"]
    one = pathsynth.start(*arguments)
    pathsynth.wait_for("finetune 1")
    two = pathsynth.start(*arguments)
    assert any("another process is running it; waiting for its end" in line for line in lines(two))
    (pathsynth.folder / "open").touch()
    ends = [process.communicate(timeout=60) for process in (one, two)]
    assert [one.returncode, two.returncode] == [0, 0], ends
    assert "done already" in ends[1][0]
    assert len(pathsynth.made) == 7


@pytest.mark.slow
def test_a_command_in_another_container_of_the_same_name_is_waited_for_and_taken_over_when_it_is_gone(pathsynth):
    """One kernel, one host name, two namespaces of process numbers: the number of the holder says nothing."""
    unshare = ["unshare", "--pid", "--fork", "--uts", "--mount-proc", "--kill-child"]
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"no new namespace here: {tried.stderr.strip()}")
    pathsynth.told = {"1": {"finetune": "gate"}}
    arguments = ["run", f"base.path={pathsynth.base}", "tracking=none", "lora.rank=1", "study.lease_seconds=2"]
    container = pathsynth.start(*arguments, before=unshare)
    pathsynth.wait_for("finetune 1")
    pathsynth.told = {}
    two = pathsynth.start(*arguments)
    assert any("another process is running it; waiting for its end" in line for line in lines(two))
    time.sleep(3)  # longer than the term: who works is not taken over
    assert two.poll() is None
    assert [line.rsplit(" ", 1)[0] for line in pathsynth.made].count("finetune 1") == 1
    container.kill()
    container.communicate(timeout=30)
    out, err = two.communicate(timeout=60)
    assert two.returncode == 0, (out, err)
    assert pathsynth.state("rank=1")["state"] == "done"


def accepted(multirun: Path) -> dict[str, object]:
    """Every finished stage: which file it is, and of when. Every result: what it says, for a trial's folder holds copies.

    A process that was frozen as it copied copies the same bytes once more when it wakes.
    """
    stages = {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in multirun.glob(".stages/*/*/stage.json")}
    finished = {name: file for name, file in stages.items() if "." not in Path(name).parent.name}
    return finished | {str(path): path.read_bytes() for path in multirun.glob("runs/*/result.json")}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in (1, 2))])
def test_of_three_commands_one_is_stopped_and_one_stands_still_while_clocks_are_wrong(pathsynth, seed, signal_tree):
    """The first is stopped, the second frozen for longer than its lease and woken; the clocks of the first and the third are wrong."""
    site = pathsynth.folder / "stand_in" / "sitecustomize.py"
    clock = "import os, time\n_real = time.time\ntime.time = lambda: _real() + float(os.environ.get('CLOCK', 0))\n"
    site.write_text(clock + site.read_text())
    dice = random.Random(seed)
    pathsynth.told = {str(rank): STEPS for rank in (1, 2, 3, 4)}
    arguments = ["run", f"base.path={pathsynth.base}", "tracking=none", "-m", "lora.rank=1,2,3,4", "study.lease_seconds=1.5"]
    commands = []
    for hour in (-3600, 0, 3600):
        pathsynth.variables = {"CLOCK": str(hour)}
        commands.append(pathsynth.start(*arguments))
    stopped, frozen, third = commands
    pathsynth.wait_for("gate")
    time.sleep(dice.uniform(0, 3))
    stopped.send_signal(dice.choice([signal.SIGTERM, signal.SIGINT, signal.SIGHUP]))
    time.sleep(dice.uniform(0, 1))
    signal_tree(frozen.pid, signal.SIGSTOP)
    for token in (pathsynth.folder / "multirun").rglob("*.held"):
        told = token.stat()
        os.utime(token, ns=(told.st_atime_ns, told.st_mtime_ns - 3600 * 10**9))  # as after the server's clock was set
    out, err = third.communicate(timeout=240)
    assert third.returncode == 0, (out, err)
    done = accepted(pathsynth.folder / "multirun")
    assert len([name for name in done if name.endswith("result.json")]) == 4
    signal_tree(frozen.pid, signal.SIGCONT)
    ends = {process: process.communicate(timeout=120) for process in (stopped, frozen)}
    assert stopped.returncode in (0, 130), ends[stopped]
    assert frozen.returncode == 0, ends[frozen]
    assert accepted(pathsynth.folder / "multirun") == done, "what was accepted was made again"
    assert [pathsynth.state(f"rank={rank}-")["state"] for rank in (1, 2, 3, 4)] == ["done"] * 4
    for said in (out + err, *(said[0] + said[1] for said in ends.values())):
        one_line(said)
