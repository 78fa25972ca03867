"""A search by Optuna on the command line, with a pipeline that takes no time; the score of a trial is its rank / 100."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tests.postgresql import NEEDS_POSTGRESQL, postgresql

SEARCH = ("hydra/sweeper=optuna", "-m")


def searched(pathsynth, study: str = "runs") -> optuna.Study:
    journal = JournalStorage(JournalFileBackend(str(pathsynth.folder / "multirun" / study / "search.journal")))
    return optuna.load_study(study_name=study, storage=journal)


def proposed(study: optuna.Study) -> list[dict]:
    return [trial.params for trial in study.get_trials(deepcopy=False)]


def test_a_search_finds_the_best_rank_and_goes_on_where_it_ended(pathsynth):
    first = pathsynth.run(*SEARCH, "lora.rank=int(interval(1,40))", "hydra.sweeper.n_trials=4", "hydra.sweeper.seed=3")
    assert first.code == 0, first.err
    assert "search over lora.rank (1 to 40); sampler tpe; 0 of 4 trials" in first.out
    study = searched(pathsynth)
    assert [trial.state for trial in study.get_trials()] == [TrialState.COMPLETE] * 4
    assert all(trial.value == trial.params["lora.rank"] / 100 for trial in study.get_trials())
    assert study.direction.name == "MAXIMIZE"
    assert study.user_attrs["objectives"] == ["macro_f1"], "by which the study page names the score"

    again = pathsynth.run(*SEARCH, "lora.rank=int(interval(1,40))", "hydra.sweeper.n_trials=6", "hydra.sweeper.seed=3")
    assert again.code == 0, again.err
    assert "4 of 6 trials, 4 with a score" in again.out
    assert len(study.get_trials()) == 6
    best = max(trial.params["lora.rank"] for trial in study.get_trials())
    assert f"with lora.rank={best}" in again.out


def test_a_failed_trial_is_no_end_of_the_search(pathsynth):
    pathsynth.told = {"4": {"finetune": "fail"}}
    ended = pathsynth.run(*SEARCH, "lora.rank=2,4,8", "hydra.sweeper.sampler=grid")
    assert ended.code == 1, ended.err
    by_rank = {trial.params["lora.rank"]: trial for trial in searched(pathsynth).get_trials()}
    assert {rank: trial.state for rank, trial in by_rank.items()} == {2: TrialState.COMPLETE, 4: TrialState.FAIL, 8: TrialState.COMPLETE}
    assert "the loss became nan" in by_rank[4].user_attrs["reason"]
    assert "3 of 3 trials, 2 with a score, 1 failed; best: trial" in ended.out


@pytest.mark.slow
def test_each_seed_of_a_proposal_counts(pathsynth):
    ended = pathsynth.run(*SEARCH, "lora.rank=2,4", "seed=0,1,2", "hydra.sweeper.sampler=grid")
    assert ended.code == 0, ended.err
    assert "each with seeds 0, 1, 2" in ended.out
    assert [trial.value for trial in sorted(searched(pathsynth).get_trials(), key=lambda t: t.params["lora.rank"])] == [0.02, 0.04]
    assert sum(line.startswith("evaluate") for line in pathsynth.made) == 6


@pytest.mark.parametrize(
    "wrong, told",
    [
        (["lora.rank=4"], "nothing to search"),
        (["lora.rank=int(interval(0,8))"], "lora.rank"),
        (["lora.rank=2,4", "hydra.sweeper.sampler=tpee"], "tpe, gp, random, qmc, grid"),
        (["lora.rank=2,4", "hydra.sweeper.direction=[maximize,minimize]"], "one direction for each objective"),
        (["lora.rank=2,4", "+hydra.sweeper.n_trial=3"], "nearest: hydra.sweeper.n_trials"),
        (["lora.rank=2,4", "hydra.sweeper.objectives=[macro_f1/jury]"], "names no metric"),
        (["lora.rank=2,4", "hydra.sweeper.objectives=[macro_f1,kid]", "hydra.sweeper.pruner=median"], "single objective"),
        (["optimizer.lr=interval(1e-3,1e-2)", "hydra.sweeper.sampler=grid"], "list its values"),
        (["optimizer.lr=tag(log,interval(0,1))"], "above 0"),
        (["lora.rank=2,4", "hydra.sweeper.pruner=median", "callbacks.regeneration.every=0"], "callbacks.regeneration.every"),
        (["lora.rank=2,4", "hydra.sweeper.pruner=wilcoxon"], "seed=0,1,2"),
        (["lora.rank=2,4", "hydra.sweeper.storage=nosuchdatabase://here"], "cannot be used"),
    ],
)
def test_a_wrong_search_is_refused_before_anything_is_written(pathsynth, wrong, told):
    ended = pathsynth.run(*SEARCH, *wrong)
    assert (ended.code, told in ended.err) == (2, True), ended.err
    assert [line.startswith("checking jobs:") for line in ended.err.splitlines()].count(False) == 1, "the refusal"
    assert not list(pathsynth.folder.glob("multirun/runs/*/state.json"))


@pytest.mark.slow
def test_a_search_in_another_direction_is_another_search(pathsynth):
    assert pathsynth.run(*SEARCH, "lora.rank=2,4", "hydra.sweeper.n_trials=1").code == 0
    ended = pathsynth.run(*SEARCH, "lora.rank=2,4", "hydra.sweeper.n_trials=2", "hydra.sweeper.direction=minimize")
    assert ended.code == 2
    assert "has direction maximize, not minimize" in ended.err


@pytest.mark.slow
def test_several_objectives_and_a_constraint(pathsynth):
    two = ["hydra.sweeper.objectives=[macro_f1,macro_f1/gate]", "hydra.sweeper.direction=[maximize,minimize]"]
    ended = pathsynth.run(*SEARCH, "lora.rank=2,4,8", "hydra.sweeper.sampler=grid", *two, "+hydra.sweeper.constraints.macro_f1=0.05")
    assert ended.code == 0, ended.err
    study = searched(pathsynth)
    over = {t.params["lora.rank"]: t.constraints["macro_f1"] for t in study.get_trials()}
    assert over == pytest.approx({2: -0.03, 4: -0.01, 8: 0.03})
    assert {tuple(t.values) for t in study.get_trials()} == {(0.02, 0.02), (0.04, 0.04), (0.08, 0.08)}
    assert "no other trial beats in every objective" in ended.out


@pytest.mark.slow
def test_a_metric_that_results_do_not_have_is_said(pathsynth):
    ended = pathsynth.run(*SEARCH, "lora.rank=2,4", "hydra.sweeper.n_trials=1", "hydra.sweeper.objectives=[coverage]")
    assert "has no coverage" in ended.out
    assert [trial.state for trial in searched(pathsynth).get_trials()] == [TrialState.FAIL]


@pytest.mark.parametrize("launcher", ["basic", pytest.param("joblib", marks=pytest.mark.slow)])
def test_ctrl_c_stops_a_search_and_the_same_command_goes_on(pathsynth, launcher):
    command = (*SEARCH, "lora.rank=2,4", "hydra.sweeper.sampler=grid", f"hydra/launcher={launcher}")
    pathsynth.told = {"2": {"gate": "wait"}, "4": {"gate": "wait"}}
    process = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", *command)
    pathsynth.wait_for("gate")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130, process.communicate()
    assert TrialState.COMPLETE not in [trial.state for trial in searched(pathsynth).get_trials()]
    pathsynth.told = {}
    ended = pathsynth.run(*command)
    assert ended.code == 0, ended.err
    assert [trial.state for trial in searched(pathsynth).get_trials()] == [TrialState.COMPLETE] * 2


@pytest.mark.slow
def test_a_pruned_trial_is_a_state_of_its_own_and_can_be_taken_up_again(pathsynth):
    pathsynth.told = {str(rank): {"finetune": "validate"} for rank in (9, 8, 7, 1)}
    pruner = "hydra.sweeper.pruner={_target_: optuna.pruners.MedianPruner, n_startup_trials: 1}"
    ended = pathsynth.run(*SEARCH, "lora.rank=9,8,7,1", "hydra.sweeper.sampler=grid", "callbacks.regeneration.every=100", pruner)
    assert ended.code == 0, ended.err
    states = {trial.params["lora.rank"]: trial.state for trial in searched(pathsynth).get_trials()}
    pruned = [rank for rank, state in states.items() if state is TrialState.PRUNED]
    assert pruned
    assert TrialState.COMPLETE in states.values()
    state = pathsynth.state(f"*rank={pruned[0]}-")
    assert (state["state"], state["reason"], state["stage"]) == ("pruned", "pruned at step 100", "finetune")
    assert f"{len(pruned)} pruned" in ended.out

    ended = pathsynth.run(f"lora.rank={pruned[0]}", "callbacks.regeneration.every=100")
    assert ended.code == 0, ended.err
    assert pathsynth.state(f"*rank={pruned[0]}-")["state"] == "done"


@pytest.mark.slow
def test_seeds_that_promise_nothing_are_left_out(pathsynth):
    seeds = "seed=" + ",".join(map(str, range(6)))
    ended = pathsynth.run(*SEARCH, "lora.rank=9,1,8,2", seeds, "hydra.sweeper.sampler=grid", "hydra.sweeper.pruner=wilcoxon")
    assert ended.code == 0, ended.err
    states = [trial.state for trial in searched(pathsynth).get_trials()]
    assert TrialState.PRUNED in states
    assert sum(line.startswith("evaluate") for line in pathsynth.made) < 24


def answer(address: str) -> bytes:
    """What a server that is being started answers."""
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(address, timeout=20) as reply:
                return reply.read()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


@pytest.mark.slow
def test_optuna_dashboard_opens_the_journal_with_the_sheets(pathsynth):
    pathsynth.told = {"2": {"evaluate": "sheet"}, "4": {"finetune": "fail"}}
    assert pathsynth.run(*SEARCH, "lora.rank=2,4", "hydra.sweeper.sampler=grid").code == 1
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = pathsynth.folder / "multirun" / "runs"
    command = ["optuna-dashboard", str(place / "search.journal"), "--artifact-dir", str(place / "search.artifacts"), "--port", str(port)]
    dashboard = subprocess.Popen([Path(sys.executable).with_name(command[0]), *command[1:]], stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        (study,) = json.loads(answer(f"{address}/api/studies"))["study_summaries"]
        assert study["study_name"] == "runs"
        shown = json.loads(answer(f"{address}/api/studies/{study['study_id']}"))
        trials = {trial["params"][0]["param_external_value"]: trial for trial in shown["trials"]}
        assert {rank: trial["state"] for rank, trial in trials.items()} == {"2": "Complete", "4": "Fail"}
        assert trials["2"]["values"] == [0.02]
        (sheet,) = trials["2"]["artifacts"]
        assert sheet["filename"] == "first.png"
        assert answer(f"{address}/artifacts/{study['study_id']}/{trials['2']['trial_id']}/{sheet['artifact_id']}") == b"a picture"
    finally:
        dashboard.terminate()
        dashboard.wait(20)


def killed_again_and_again(pathsynth, kills: int, command: tuple[str, ...]) -> int:
    """Start the command, kill it with all that it started, a little later each time; how often it was killed before its end."""
    for number in range(kills):
        process = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", *command)
        end = time.monotonic() + 1.0 + 0.35 * number
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        if process.poll() is not None:
            return number
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    return kills


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_that_is_killed_again_and_again_proposes_what_an_undisturbed_one_does(pathsynth, tmp_path):
    command = (*SEARCH, "lora.rank=int(interval(1,64))", "hydra.sweeper.n_trials=8", "hydra.sweeper.seed=5")
    assert killed_again_and_again(pathsynth, 20, command) >= 3
    ended = pathsynth.run(*command)
    assert ended.code == 0, ended.err
    disturbed = searched(pathsynth)
    assert [trial.state for trial in disturbed.get_trials()] == [TrialState.COMPLETE] * 8
    assert pathsynth.run(*command, "study.name=undisturbed").code == 0
    assert proposed(disturbed) == proposed(searched(pathsynth, "undisturbed"))


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_process_that_was_killed_with_the_journals_lock_does_not_hold_up_the_search(pathsynth):
    command = (*SEARCH, "lora.rank=int(interval(1,64))", "hydra.sweeper.seed=5")
    assert pathsynth.run(*command, "hydra.sweeper.n_trials=1").code == 0
    journal = "multirun/runs/search.journal"
    holder = f"import os; from pathsynth.training.pruning import open_storage as o; o({journal!r})._backend._lock.acquire(); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", holder], cwd=pathsynth.folder).returncode == 9
    ended = pathsynth.run(*command, "hydra.sweeper.n_trials=2")
    assert ended.code == 0, ended.err
    assert [trial.state for trial in searched(pathsynth).get_trials()] == [TrialState.COMPLETE] * 2


@pytest.mark.slow
def test_two_processes_share_one_search(pathsynth):
    command = ("run", f"base.path={pathsynth.base}", "tracking=none", *SEARCH, "lora.rank=int(interval(1,64))", "hydra.sweeper.n_trials=6")
    both = [pathsynth.start(*command) for _ in range(2)]
    ends = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    trials = searched(pathsynth).get_trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 6
    assert sum(line.startswith("evaluate") for line in pathsynth.made) == len({trial.params["lora.rank"] for trial in trials})


@pytest.mark.slow
@pytest.mark.timeout(300)
@NEEDS_POSTGRESQL
def test_a_search_in_a_database_may_be_begun_twice_and_continues(pathsynth):
    with postgresql() as place:
        command = (*SEARCH, "lora.rank=int(interval(1,64))", "hydra.sweeper.seed=5", f"hydra.sweeper.storage={place}")
        opened = f"from pathsynth.training.pruning import open_storage; open_storage({place!r})"
        both = [subprocess.Popen([sys.executable, "-c", opened]) for _ in range(2)]  # a new database: its tables are made once
        assert [process.wait(100) for process in both] == [0, 0]
        assert killed_again_and_again(pathsynth, 2, (*command, "hydra.sweeper.n_trials=40")) >= 1
        ended = pathsynth.run(*command, "hydra.sweeper.n_trials=8")
        assert ended.code == 0, ended.err
        trials = optuna.load_study(study_name="runs", storage=place).get_trials()
        assert {trial.state for trial in trials} == {TrialState.COMPLETE} and len(trials) >= 8
        assert all(trial.value == trial.params["lora.rank"] / 100 for trial in trials)
        assert not (pathsynth.folder / "multirun" / "runs" / "search.journal").exists()


@pytest.mark.parametrize("storage", ["postgresql://me:hush-hush@127.0.0.1/db", "mysql+pymysql://me:hush-hush@127.0.0.1/db?charset=utf8"])
def test_a_password_in_the_storage_is_refused_and_kept_nowhere(pathsynth, storage):
    ended = pathsynth.run(*SEARCH, "lora.rank=2,4", f"hydra.sweeper.storage='{storage}'")
    assert (ended.code, "hydra.sweeper.storage holds a password" in ended.err, "PGPASSWORD" in ended.err) == (2, True, True), ended.err
    assert "hush-hush" not in ended.out + ended.err
    written = [path for path in (pathsynth.folder / "multirun").rglob("*") if path.is_file()]
    assert [path for path in written if b"hush-hush" in path.read_bytes()] == []


@pytest.mark.slow
def test_a_proposed_number_is_short_in_a_trials_name(pathsynth):
    ended = pathsynth.run(*SEARCH, "optimizer.lr=tag(log,interval(1e-3,1e-1))", "hydra.sweeper.n_trials=1", "hydra.sweeper.sampler=random")
    assert ended.code == 0, ended.err
    (trial,) = searched(pathsynth).get_trials()
    assert pathsynth.trial("optimizer.lr=").name.startswith(f"optimizer.lr={trial.params['optimizer.lr']:.4g}-")


def test_without_optuna_the_line_says_how_to_install_it(pathsynth):
    site = pathsynth.folder / "stand_in" / "sitecustomize.py"
    hidden = "import importlib.util as u\nreal = u.find_spec\nu.find_spec = lambda name, *a: None if name == 'optuna' else real(name, *a)\n"
    site.write_text(f"{site.read_text()}\n{hidden}")
    ended = pathsynth.run(*SEARCH, "lora.rank=2,4")
    assert (ended.code, "pip install 'pathsynth[optuna]'" in ended.err) == (2, True)


def test_a_dry_run_of_a_search_starts_nothing(pathsynth):
    ended = pathsynth.run(*SEARCH, "lora.rank=2,4", "study.dry_run=true")
    assert ended.code == 0, ended.err
    assert "search over lora.rank (2, 4); 20 trials at most; nothing was started" in ended.out
    assert "multirun" not in pathsynth.files()


@pytest.mark.slow
@pytest.mark.parametrize(
    "edited",
    [
        pytest.param("lr: 7e-3\n_target_: torch.optim.AdamW\n", marks=pytest.mark.thorough, id="edited"),
        pytest.param("lr: [", marks=pytest.mark.thorough, id="broken"),
        pytest.param(None, id="removed"),
    ],
)
def test_a_file_edited_while_a_search_runs_changes_none_of_its_trials(pathsynth, edited):
    own = pathsynth.folder / "conf" / "optimizer" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("lr: 1e-3\n_target_: torch.optim.AdamW\n")
    pathsynth.told = {str(rank): {"finetune": "gate"} for rank in range(1, 41)}
    arguments = ["run", "--config-dir", "conf", f"base.path={pathsynth.base}", "tracking=none", "optimizer=mine"]
    process = pathsynth.start(*arguments, *SEARCH, "lora.rank=int(interval(1,40))", "hydra.sweeper.n_trials=3")
    pathsynth.wait_for("finetune ")
    own.write_text(edited) if edited else own.unlink()
    (pathsynth.folder / "open").touch()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    trials = [json.loads(path.read_text()) for path in (pathsynth.folder / "multirun" / "runs").glob("*/manifest.json")]
    assert [trial["config"]["optimizer"]["lr"] for trial in trials] == [1e-3] * 3
