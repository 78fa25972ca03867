"""What the command line refuses, shows and answers quickly."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from pathsynth.__main__ import CONFIG_COMMANDS, FILE_COMMANDS, dispatch
from pathsynth.commands import extras


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """Commands in this process, started in an empty folder; the answer is (status, what is on stderr, files written)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(*arguments: str) -> tuple[int, str, list[str]]:
        monkeypatch.setenv("PATHSYNTH_STARTED", "")
        code = dispatch(list(arguments))
        return code, capsys.readouterr().err, [p.name for p in tmp_path.iterdir()]

    return run


REFUSED = [
    (["rum"], "no command 'rum'; nearest: run"),
    (["stats"], "no command 'stats'; nearest: status"),
    (["xyzzy"], "no command 'xyzzy'; commands: run, pretrain"),
    (["status", "--foo"], "--foo"),
    (["status", "nowhere"], "no folder nowhere"),
    (["status", "nowhere", "--json"], "no folder nowhere"),
    (["rerun", "nowhere"], "nowhere is no trial's folder"),
    (["rerun"], "Missing argument 'folder'"),
    (["gc", "nowhere"], "no stages in nowhere"),
    (["report", "nowhere"], "no folder nowhere"),
    (["run", "--foo"], "unrecognized arguments: --foo"),
    (["run", "lora.rnk=3"], "no key 'lora.rnk' in run; nearest: lora.rank"),
    (["run", "lrao.rank=3"], "nearest: lora.rank"),
    (["run", "dta=phantom"], "no key 'dta' in run; nearest: data"),
    (["run", "data=phantm"], "no choice 'phantm' for data; nearest: phantom"),
    (["run", "study=demoo"], "no choice 'demoo' for study; nearest: demo"),
    (["run", "lora.rank=1,2"], "add -m"),
    (["run", "lora.rank=[1"], "cannot be read"),
    (["run", "lora.rank=-3"], "lora.rank: input should be greater than or equal to 1, got -3"),
    (["run", "lora.rank=many"], "lora.rank must be a whole number, not 'many'"),
    (["run", "lora.rank=1.5"], "lora.rank must be a whole number, not 1.5"),
    (["run", "lora.dora=maybe"], "lora.dora must be true or false, not 'maybe'"),
    (["run", "sampling.attempts=0"], "sampling.attempts: input should be greater than or equal to 1, got 0"),
    (["run", "trainer.precision=8"], "trainer.precision"),
    (["run", "optimizer.lr=-1"], "optimizer.lr should be a number greater than 0"),
    (["run", "+tracking.api_key=abc"], "tracking.api_key looks like a secret"),
    (["run", "+lora.rnak=3"], "unknown key lora.rnak; nearest: lora.rank"),
    (["run", "data=pathmnist", "data.root=/nowhere"], "no pathmnist.npz in /nowhere"),
    (["run", "multirun=/proc/x"], "/proc/x: No such file or directory; it is gone, or cannot be made there"),
    (["run", "base=local"], "set base.path"),
    (["run", "base.path=/nowhere"], "no base at /nowhere"),
    (["run", "study.name=../up"], "study.name"),
    (["run", "study=demo", "lora.dropout=3"], "lora.dropout"),
    (["run", "-m", "lora.rank=1,-2"], "lora.rank: input should be greater than or equal to 1, got -2"),
    (["run", "-m", "lora.rank=1,2", "data=phantm"], "no choice 'phantm'"),
    (["finetune", "evaluate.n=5"], "no key 'evaluate.n' in finetune"),
    (["generate", "prompt=H&E of a (cat), it's"], "names no class"),
    (["generate", "prompt=mucus or debris"], "names several classes"),
    (["generate", "labels=adipose,mucs"], "nearest: mucus"),
    (["generate", "n=0"], "n: input should be greater than or equal to 1"),
    (["generate", "lora.rank=4"], "lora.rank=4 has no effect: data=ready trains nothing; leave it out, or choose other data"),
    (["generate", "data.size=32"], "draws 28 px images, not 32"),
    (["run", "hydra/launcher=jobli"], "no choice 'jobli' for hydra/launcher; nearest: joblib; choices: basic, joblib"),
    (["run", "-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=0", "seed=0,1"], "hydra.launcher.n_jobs=0 runs nothing"),
    (["run", "-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=two", "seed=0,1"], "'two' of type 'str' could not be converted"),
    (["run", "-m", "hydra/launcher=ray", "hydra.launcher.num_cpus=0", "seed=0,1"], "hydra.launcher.num_cpus: input should be greater"),
    (["run", "-m", "hydra/launcher=ray", "hydra.launcher.num_cpus=99999", "seed=0,1"], "no node of the Ray cluster has num_cpus=99999"),
    (["run", f"study.name={'n' * 300}"], "study.name has 300 bytes, and a folder's name has 255 at most"),
    (["run", "trainer.max_steps=1e18"], "trainer.max_steps: input should be less than or equal to 1000000000"),
    (["generate", "n=1e9", "sampling.calls=20"], "asks for 9,000,000,000 images, and the slots of"),
    (["run", "callbacks.regeneration.n=1e9"], "callbacks.regeneration.n=1000000000 asks for"),
    (["run", "data=ready"], "only generate can use it"),
]


@pytest.mark.parametrize("arguments, told", REFUSED, ids=[" ".join(a) for a, _ in REFUSED])
def test_a_wrong_request_is_refused_in_one_line_and_writes_nothing(here, arguments, told):
    code, err, files = here(*arguments)
    lines = [line for line in err.strip().splitlines() if not line.startswith("checking jobs: ")]  # on a busy machine
    assert (code, len(lines), files) == (2, 1, [])
    assert lines[0].startswith("pathsynth")
    assert told in lines[0]


SEVERAL = [
    (["lora.rank=-3", "sampling.attempts=0", "lora.dropout=3"], ["lora.rank: input", "lora.dropout: input", "sampling.attempts: input"]),
    (["lora.rank=500", "lora.start=/nowhere", "data=pathmnist", "data.root=/nowhere"], ["lora.start=", "lora.rank=500", "no pathmnist"]),
    (["-m", "lora.rank=400,500", "evaluate.n=1e9"], ["lora.rank=400", "evaluate.n=1000000000", "lora.rank=500"]),
]


@pytest.mark.parametrize("arguments, told", SEVERAL)
def test_all_faults_are_reported_at_once_a_line_each(here, arguments, told):
    code, err, files = here("run", *arguments)
    assert (code, files) == (2, [])
    shown = [line for line in err.strip().splitlines() if not line.startswith("checking jobs: ")]  # on a busy machine
    lines = [line.removeprefix("pathsynth run: ") for line in shown]
    assert [line[: len(start)] for line, start in zip(lines, told, strict=True)] == told


def test_a_base_of_the_hub_without_network_or_cache_is_refused_at_once(here, monkeypatch):
    monkeypatch.setattr("pathsynth.stages.fingerprints._cached", lambda *_: False)
    started = time.monotonic()
    code, err, files = here("run", "base=sd15")
    assert (code, files) == (2, [])
    assert "neither in the hub's cache nor reachable" in err
    assert time.monotonic() - started < 10


def test_hydra_full_error_shows_the_traceback(here, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    code, err, _ = here("run", "data=phantm")
    assert code == 2
    assert "Traceback" in err


def test_hydras_own_flags_work(here, capsys):
    assert dispatch(["run", "lora.rank=3", "--cfg", "job", "--resolve", "-p", "lora"]) == 0
    assert "rank: 3" in capsys.readouterr().out
    assert dispatch(["generate", "prompt=H&E, it's", "--cfg", "job"]) == 0
    assert "prompt: H&E, it's" in capsys.readouterr().out
    assert dispatch(["run", "--info", "defaults"]) == 0
    assert dispatch(["run", "--help"]) == 0
    assert "classifier" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["run", "pretrain", "classify", "finetune", "generate", "evaluate"])
def test_every_command_composes_and_is_complete(here, capsys, command):
    from hydra import compose, initialize_config_dir

    from pathsynth.config import from_hydra
    from pathsynth.config.shipped import conf_folder

    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        for study in ("none", "demo", "rank_lr_steps"):
            assert from_hydra(compose(command, [f"study={study}"])).command == command


MODULES = "import sys; from pathsynth.__main__ import dispatch; dispatch(sys.argv[1:]); print('torch' in sys.modules, file=sys.stderr)"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["status"], ["run", "--cfg", "job"], ["run", "lora.rank=0"], ["run", "base.path=/nowhere"]]
)
def test_no_torch_before_a_trial_starts(tmp_path, arguments):
    (tmp_path / "multirun").mkdir()
    ended = subprocess.run([sys.executable, "-c", MODULES, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert ended.stderr.splitlines()[-1] == "False"


def test_a_plain_status_does_not_wait_for_typer(tmp_path):
    (tmp_path / "multirun").mkdir()
    program = "import sys; from pathsynth.__main__ import dispatch; dispatch(['status']); print('typer' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert ended.stdout.splitlines() == ["no trials in multirun", "False"]


def study_of(root, trials: int) -> None:
    for i in range(trials):
        folder = root / "multirun" / "big" / f"rank={i}-{i:06x}"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
        (folder / "state.json").write_text(json.dumps({"state": "done", "identity": "x", "stage": "evaluate"}))


@pytest.mark.parametrize(("arguments", "loaded"), [(["--help"], {"typer"}), (["status"], {"rich"})])
def test_help_and_status_load_next_to_nothing(tmp_path, arguments, loaded):
    """So they answer at once. A time could not be compared: one machine is three times as slow as another, or as itself an hour later."""
    study_of(tmp_path, 200)
    shown = "print(*{name.partition('.')[0] for name in sys.modules})"
    program = f"import sys; from pathsynth.__main__ import dispatch; dispatch(sys.argv[1:]); {shown}"
    ended = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    modules = set(ended.stdout.splitlines()[-1].split())
    light = {"typer", "rich", "shellingham", "packaging", "typing_extensions", "annotated_doc", "pathsynth"}
    installed = {name for name in packages_distributions() if not name.startswith("_")}
    assert loaded <= modules & installed <= light


def test_status_shows_every_trial_with_its_state(tmp_path, here, capsys):
    study_of(tmp_path, 2)
    folder = tmp_path / "multirun" / "big" / "rank=0-000000"
    (folder / "state.json").write_text(json.dumps({"state": "failed", "identity": "x", "stage": "gate", "reason": "killed by signal 9"}))
    assert dispatch(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("rank=0-000000" in line and "failed" in line and "killed by signal 9" in line for line in lines)
    assert any("rank=1-000001" in line and "done" in line for line in lines)


def test_help_loads_neither_hydra_nor_torch(tmp_path):
    program = "import sys; from pathsynth.__main__ import dispatch; dispatch(['--help']); print({'hydra', 'torch'} & {*sys.modules})"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert ended.stdout.splitlines()[-1] == "set()"


def test_help_names_the_extras_that_are_not_installed(here, capsys, monkeypatch):
    real = extras.installed_version
    monkeypatch.setattr(extras, "installed_version", lambda name: None if name in ("optuna", "submitit") else real(name))
    assert dispatch(["--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Not installed: optuna (a search)" in told and told.endswith("To have one: pip install 'pathsynth[optuna]'")
    assert dispatch(["status", "--help"]) == 0
    assert "Not installed" not in capsys.readouterr().out


def test_help_lists_every_command_and_version_is_reported(here, capsys):
    assert dispatch([]) == dispatch(["--help"]) == 0
    out = capsys.readouterr().out
    for command in (*CONFIG_COMMANDS, *FILE_COMMANDS):
        assert f"\n  {command} " in out
    panels = dict(re.findall(r"^Commands to (\w+):\n((?:  .*\n)+)", out, re.MULTILINE))
    assert list(panels) == ["make", "look", "share", "maintain"]
    assert [f"  {name} " in panel for name, panel in zip(("run", "report", "publish", "gc"), panels.values(), strict=True)] == [True] * 4
    assert dispatch(["--version"]) == 0
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert capsys.readouterr().out == f"pathsynth {project['version']}\n"
    assert dispatch(["status", "--help"]) == 0
    assert "one trial" in capsys.readouterr().out


HELP = [(["-h"], "Commands"), (["help"], "Commands"), (["help", "gc"], "--yes"), (["gc", "-h"], "--yes")]


@pytest.mark.parametrize(("arguments", "told"), HELP)
def test_help_is_found_under_every_name(here, capsys, arguments, told):
    assert dispatch(arguments) == 0
    assert told in capsys.readouterr().out


@pytest.mark.parametrize("arguments", ["--help", "status", "help run"])
def test_a_pipe_that_closes_early_is_quiet(tmp_path, arguments):
    (tmp_path / "multirun").mkdir()
    command = f"set -o pipefail; {sys.executable} -m pathsynth {arguments} | true"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")


ENDS = """
import atexit, os, signal, sys
from pathsynth.__main__ import main
atexit.register(os.kill, os.getpid(), signal.{name})
sys.argv = ["pathsynth", "--version"]
main()
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_request_to_stop_that_comes_as_the_process_ends_changes_nothing(name):
    ended = subprocess.run([sys.executable, "-c", ENDS.format(name=name)], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_file_that_ends_too_early_is_no_ctrl_c(tmp_path, monkeypatch, capsys):
    """Typer takes Python's exception for it as the end of what is typed."""

    def cut() -> None:
        raise EOFError("Compressed file ended before the end-of-stream marker was reached")

    monkeypatch.setitem(FILE_COMMANDS, "doctor", ("", cut))
    monkeypatch.chdir(tmp_path)
    assert dispatch(["doctor"]) == 1
    assert "a file that it read ends too early (Compressed file ended" in capsys.readouterr().err
