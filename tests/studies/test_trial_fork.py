"""Trials that are forks of a server. The server is real; what it loads, and what a trial does, take no time."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pathsynth.studies.execution import trial_fork
from pathsynth.studies.execution.supervise import supervise
from pathsynth.studies.execution.trial_fork import ForkedTrials, ServerLost, TrialServer, can_fork
from pathsynth.studies.trials.manifest import claim
from pathsynth.studies.trials.outcomes import FOLDER_VARIABLE
from pathsynth.studies.trials.state import DONE, INTERRUPTED, read_state
from pathsynth.studies.trials.stopping import ask_to_stop

MODULES = {
    "fast_trials": """
import atexit, ctypes, gc, os, signal, sys, tempfile, time
from pathlib import Path
from pathsynth.studies.execution import trial
from pathsynth.studies.trials.state import TrialState, write_state

def main(arguments, is_alone):
    folder, what = Path(arguments[0]), os.environ["WHAT"]
    print(f"{folder.name} says {what}", flush=True)
    if what == "done":
        write_state(folder, TrialState("done", pid=os.getpid()))
    if what == "refuse":
        return 2
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "crash":
        ctypes.string_at(0)
    if what == "media":
        with (folder / "places").open("a") as log:
            print(place.name, Path(place.name).is_dir(), file=log)
    if what == "frozen":
        atexit.register(lambda: (folder / "frozen").write_text(str(gc.get_freeze_count())))
    if what == "draw":
        import random
        import numpy
        (folder / "drawn").write_text(f"{random.random()} {numpy.random.rand()}")
    if what == "wait":
        (folder / "waits").write_text(str(os.getpid()))
        end = time.monotonic() + 60
        while time.monotonic() < end and not (folder / "go").exists() and not is_alone():
            time.sleep(0.02)
        write_state(folder, TrialState("done", pid=os.getpid()))
    return 0

class Deprecated:  # as some of torch's are: whoever asks it for its class gets a warning, here an error
    @property
    def __class__(self):
        raise RuntimeError("deprecated")

trial.main = main
deprecated = Deprecated()
place = tempfile.TemporaryDirectory()
import numpy.random
""",
    "with_a_thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n",
    "with_a_gpu": "import sys, types\nis_there = types.SimpleNamespace(is_available=lambda: True)\n"
    "sys.modules['torch'] = types.SimpleNamespace(accelerator=is_there)\n",
    "with_a_temporary_home": "import os, tempfile\nos.environ['MPLCONFIGDIR'] = tempfile.mkdtemp()\n",
    "broken": "raise OSError('a library is damaged')\n",
    "sluggish": "import os, time\nopen(os.environ.get('LOADS', os.devnull), 'w').close()\ntime.sleep(60)\n",
    "late": "import time\ntime.sleep(1.5)\nimport fast_trials\n",
}
ENVIRONMENT_OF_ONE = {"WHAT": "done"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """In which the modules are found that stand in for a trial's libraries."""
    folder = tmp_path_factory.mktemp("modules")
    for name, code in MODULES.items():
        (folder / f"{name}.py").write_text(code)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "2"}


@pytest.fixture(scope="module")
def server(environment) -> Iterator[TrialServer]:
    server = TrialServer(environment, ["fast_trials"])
    assert server.wait_until_ready(lambda: False)
    yield server
    server.end()


@pytest.fixture
def forks() -> Iterator[ForkedTrials]:
    forks = ForkedTrials(["fast_trials"])
    yield forks
    forks.end()


def never() -> bool:
    return False


def ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def wait_for(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def status_of(server: TrialServer, folder: Path, what: str) -> int:
    pid = server.fork(folder, {"WHAT": what})
    assert os.getsid(pid) == pid == os.getpgid(pid), "a session of its own, before anybody hears of it"
    wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    return server.status(pid)


def test_however_a_trial_ends_its_status_is_reported_and_the_next_one_begins(server, tmp_path):
    """Also where OpenBLAS had threads of its own when the server loaded it."""
    ends = {"done": 0, "refuse": 2, "kill": -signal.SIGKILL, "crash": -signal.SIGSEGV}
    assert {what: status_of(server, tmp_path, what) for what in ends} == ends
    assert read_state(tmp_path).state == DONE
    assert psutil.Process(server.pid).children() == [], "nothing is left of those that ended"
    assert psutil.Process(server.pid).num_fds() == 5, "standard streams, the socket and the supervisor"


def test_trials_of_one_server_draw_other_numbers_where_nothing_seeds_them(server, tmp_path):
    drawn = []
    for _ in range(2):
        assert status_of(server, tmp_path, "draw") == 0
        drawn += (tmp_path / "drawn").read_text().split()
    assert len(set(drawn)) == 4


def test_a_trial_frees_at_its_end_what_its_server_had_frozen(server, tmp_path):
    """Libraries that count what is left then would print hundreds of lines."""
    assert status_of(server, tmp_path, "frozen") == 0
    assert (tmp_path / "frozen").read_text() == "0"


def test_a_temporary_folder_that_a_library_makes_as_it_is_loaded_is_each_trials_own(server, tmp_path):
    """W&B keeps media in one, and the first trial that ends removes it."""
    for _ in range(2):
        assert status_of(server, tmp_path, "media") == 0
    (first, is_there), (second, is_there_again) = (line.split() for line in (tmp_path / "places").read_text().splitlines())
    assert (is_there, is_there_again) == ("True", "True")
    assert first != second
    assert not Path(first).exists() and not Path(second).exists()


def test_output_goes_where_that_of_the_supervisor_goes_by_then(server, tmp_path):
    before = os.dup(1)
    with (tmp_path / "output").open("w") as log:
        os.dup2(log.fileno(), 1)
        try:
            status_of(server, tmp_path, "refuse")
        finally:
            os.dup2(before, 1)
            os.close(before)
    assert (tmp_path / "output").read_text() == f"{tmp_path.name} says refuse\n"


def test_a_server_does_not_hear_requests_to_stop_and_its_trials_do(server, tmp_path):
    os.kill(server.pid, signal.SIGTERM)
    pid = server.fork(tmp_path, {"WHAT": "wait"})
    wait_for((tmp_path / "waits").exists)
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    assert server.status(pid) == -signal.SIGTERM


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("with_a_thread", "other threads run"),
        ("with_a_gpu", "there is a GPU"),
        ("with_a_temporary_home", "MPLCONFIGDIR is a temporary folder"),
        ("broken", "a library is damaged"),
        ("no_such_module", "No module named"),
    ],
)
def test_a_server_that_must_not_be_forked_says_why(environment, module, reason):
    server = TrialServer(environment, [module])
    with pytest.raises(ServerLost, match=reason):
        server.wait_until_ready(never)
    server.end()


def test_a_module_of_the_users_folder_is_not_kept_for_the_next_trial(environment, tmp_path, monkeypatch):
    (tmp_path / "fastjsonschema.py").write_text("")  # in the way of a library's
    monkeypatch.chdir(tmp_path)
    server = TrialServer(environment, ["fastjsonschema"])
    with pytest.raises(ServerLost, match="fastjsonschema is a module of"):
        server.wait_until_ready(never)
    server.end()


@pytest.mark.slow
def test_a_server_is_kept_for_trials_of_its_environment(forks, environment, tmp_path):
    """What differs from one trial to the next changes nothing; another number of threads needs a server of its own."""
    parents = []
    for threads, searched in (("1", "a"), ("1", "b"), ("3", "b")):
        folder = tmp_path / f"{threads}-{searched}"
        folder.mkdir()
        mine = {**environment, "OMP_NUM_THREADS": threads, "PATHSYNTH_SEARCH": searched, "PATHSYNTH_LINES": folder.name}
        trial = forks.start(folder, mine, {"WHAT": "wait"}, never)
        assert trial
        wait_for((folder / "waits").exists)
        parents.append(psutil.Process(trial.pid).ppid())
        assert psutil.Process(parents[-1]).environ()["OMP_NUM_THREADS"] == threads
        (folder / "go").touch()
        assert trial.wait(30) == 0
    assert parents[0] == parents[1] != parents[2]
    assert ended(parents[0]) and not ended(parents[2])
    forks.end()
    assert ended(parents[2])


def test_a_trial_outlives_its_server_and_those_after_it_start_afresh(forks, environment, tmp_path, caplog):
    with claim(tmp_path, 60, wait=False) as lease:
        trial = forks.start(tmp_path, environment, {"WHAT": "wait"}, never)
        assert trial
        wait_for((tmp_path / "waits").exists)
        psutil.Process(trial.pid).parent().kill()
        time.sleep(0.3)
        with pytest.raises(subprocess.TimeoutExpired):
            trial.wait(0.3)
        (tmp_path / "go").touch()
        assert trial.wait(30) is None
        assert read_state(tmp_path).state == DONE, "it has said so itself"
        with caplog.at_level(logging.DEBUG):
            state = supervise([sys.executable, "-c", AFRESH, str(tmp_path)], tmp_path, environment, lease, forks=forks)
    assert (state.state, (tmp_path / "afresh").exists()) == (DONE, True)
    assert [record.levelno for record in caplog.records if record.levelno > logging.DEBUG] == []


AFRESH = """
import os, sys
from pathlib import Path
from pathsynth.studies.trials.state import TrialState, write_state
(Path(sys.argv[1]) / "afresh").touch()
write_state(Path(sys.argv[1]), TrialState("done", pid=os.getpid()))
"""


def test_a_trial_whose_server_answers_too_late_does_not_begin(environment, tmp_path, monkeypatch):
    """It has been started afresh by then."""
    monkeypatch.setattr(trial_fork, "_ANSWER_SECONDS", 0.3)
    server = TrialServer(environment, ["fast_trials"])
    assert server.wait_until_ready(never)
    process = psutil.Process(server.pid)
    process.suspend()
    with pytest.raises(ServerLost):
        server.fork(tmp_path, {"WHAT": "wait"})
    process.resume()
    wait_for(lambda: [child.status() for child in process.children()] == [psutil.STATUS_ZOMBIE])
    assert not (tmp_path / "waits").exists()
    server.end()


def test_a_request_to_stop_while_a_server_loads_leaves_no_process(environment, tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "outcomes"))
    ask_to_stop()
    forks, before = ForkedTrials(["sluggish"]), psutil.Process().children()
    with claim(tmp_path, 60, wait=False) as lease:
        state = supervise([sys.executable, "-c", AFRESH, str(tmp_path)], tmp_path, environment, lease, forks=forks)
    assert (state.state, state.reason, state.pid) == (INTERRUPTED, "stopped on request", None)
    assert not (tmp_path / "afresh").exists()
    assert psutil.Process().children() == before


def test_a_lease_is_shown_while_a_server_loads(environment, tmp_path):
    forks = ForkedTrials(["late"])
    with claim(tmp_path, 0.4, wait=False) as lease:
        (token,) = (tmp_path / ".lease").glob("*.held")
        first = token.stat().st_mtime
        state = supervise([], tmp_path, {**environment, **ENVIRONMENT_OF_ONE}, lease, forks=forks)
        assert state.state == DONE
        shown = token.stat().st_mtime
        assert shown - first > 1
        time.sleep(0.4)
        assert token.stat().st_mtime == shown, "a trial shows its lease itself"
    forks.end()


SUPERVISOR = """
import os, sys, time
from pathlib import Path
from pathsynth.studies.execution.trial_fork import TrialServer
server = TrialServer(os.environ, [sys.argv[1]])
folder = Path(sys.argv[2])
if sys.argv[1] == "fast_trials":
    server.wait_until_ready(lambda: False)
    server.fork(folder, {"WHAT": "wait"})
(folder / "server").write_text(str(server.pid))
time.sleep(60)
"""


@pytest.mark.parametrize("module", ["fast_trials", "sluggish"])
def test_no_process_is_left_where_the_supervisor_is_killed(environment, tmp_path, module):
    """While a trial runs, and while the server still loads."""
    begun = tmp_path / "waits"
    variables = environment if module == "fast_trials" else {**environment, "LOADS": str(begun)}
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, module, str(tmp_path)], env=variables)
    wait_for(lambda: (tmp_path / "server").exists() and (tmp_path / "server").read_text())
    wait_for(begun.exists)
    left = [int((tmp_path / "server").read_text()), *(p.pid for p in psutil.Process(supervisor.pid).children(recursive=True))]
    assert len(set(left)) == (2 if module == "fast_trials" else 1)
    supervisor.kill()
    supervisor.wait()
    wait_for(lambda: all(map(ended, left)))


def test_a_server_whose_supervisor_was_killed_before_it_began_says_nothing():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    command = [sys.executable, "-m", "pathsynth.studies.execution.trial_server", str(gone.pid), "broken"]
    with theirs:
        ended = subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.slow
def test_trials_on_a_gpu_are_started_afresh(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert can_fork()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert not can_fork()


@pytest.mark.slow
def test_all_that_a_trial_needs_is_loaded_before_it_is_forked(tmp_path):
    """What is loaded later is loaded by each trial anew; and a thread that a library starts would end forks in silence."""
    server = TrialServer({**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"})
    assert server.wait_until_ready(never)
    server.end()
    list_modules = "import sys, pathsynth.studies.execution.trial_libraries; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", list_modules], capture_output=True, text=True, check=True).stdout.split()
    libraries = {"torch", "torchvision", "pytorch_lightning", "diffusers", "peft", "timm", "torchmetrics", "scipy", "pyarrow", "wandb"}
    own = {"training.finetune", "training.train_classifier", "training.regeneration", "sampling.generation", "metrics.protocol"}
    assert libraries | {f"pathsynth.{name}" for name in own} <= set(loaded)
