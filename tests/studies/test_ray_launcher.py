"""What a launcher on Ray can say and do before Ray is started, and how a job crosses to its workers."""

from __future__ import annotations

import os
import pickle
import re
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict

from pathsynth.config.ray import RayConfig, ray_config
from pathsynth.config.shipped import conf_folder
from pathsynth.ledger.errors import RequestError
from pathsynth.studies.execution.ray_cluster import Variables, require_ray
from pathsynth.studies.execution.ray_worker import NotSharedError, PackedJob, Place, carry_out, see
from pathsynth.studies.planning.workers import workers

PLAIN, BIG, WITH_GPUS = {"CPU": 2.0}, {"CPU": 16.0, "a100": 1.0}, {"CPU": 8.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("asked", "nodes", "at_once"),
    [
        ({}, [PLAIN, BIG], 18),
        ({}, [PLAIN, WITH_GPUS], 4),  # a GPU each, so none on the node without
        ({"num_gpus": 0}, [PLAIN, WITH_GPUS], 10),
        ({"num_gpus": 0.5}, [WITH_GPUS], 8),
        ({"num_cpus": 3}, [PLAIN, BIG], 5),  # what is left of two nodes is no third place
        ({"num_cpus": 0.1, "num_gpus": 0.1}, [{"CPU": 0.3, "GPU": 1.0}], 3),
        ({"resources": {"a100": 0.5}}, [PLAIN, BIG], 2),
        ({"n_jobs": 3}, [PLAIN, BIG], 3),
        ({"n_jobs": -1}, [PLAIN], 2),
        ({"num_cpus": 17}, [PLAIN, BIG], 0),
        ({}, [], 0),
    ],
)
def test_a_cluster_runs_at_once_what_its_nodes_have_room_for(asked, nodes, at_once):
    assert RayConfig(**asked).at_once(nodes) == at_once


def test_what_no_node_has_is_refused_with_the_most_that_one_has():
    with pytest.raises(RequestError, match="no node of the Ray cluster has num_cpus=9, num_gpus=1 for a trial .*: num_cpus=8, num_gpus=4"):
        RayConfig(num_cpus=9).require_room([PLAIN, WITH_GPUS])
    RayConfig(num_cpus=8).require_room([PLAIN, WITH_GPUS])


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"num_cpu": 2}, "unknown key hydra.launcher.num_cpu; nearest: hydra.launcher.num_cpus"),
        ({"num_cpus": 0}, "hydra.launcher.num_cpus: input should be greater than 0, got 0"),
        ({"address": "ray://10.0.0.1:10001"}, "hydra.launcher.address=ray://10.0.0.1:10001 is for Ray's client; start the command on"),
        ({"resources": {"GPU": 1}}, "hydra.launcher.resources.GPU is what hydra.launcher.num_gpus asks for; set that"),
        ({"resources": {"a100": 0}}, "hydra.launcher.resources.a100=0 asks for nothing; leave it out"),
        ({"resources": {"a100": "x"}}, "hydra.launcher.resources.a100: input should be a valid number"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(settings, line):
    with pytest.raises(RequestError) as refusal:
        ray_config(settings)
    assert str(refusal.value).startswith(line)


def test_without_ray_the_line_says_what_to_install(monkeypatch):
    require_ray()
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RequestError, match=r"install it: pip install 'pathsynth\[ray\]'"):
        require_ray()


def test_workers_get_our_variables_and_ray_writes_none_down_that_is_secret():
    environment = {
        "PATHSYNTH_OUTCOMES": "/multirun/x",
        "WANDB_MODE": "offline",
        "WANDB_API_KEY": "0123",
        "WANDB_BASE_URL": "https://me:word@wandb.example.org",
        "MLFLOW_TRACKING_URI": "postgresql+psycopg2://me:word@db.example.org/curves",
        "HF_HOME": "/shared/hf",
        "HF_TOKEN": "hf_x",
        "HUGGING_FACE_HUB_TOKEN": "hf_y",
        "MKL_NUM_THREADS": "3",
        "OMP_NUM_THREADS": "",
        "PYTHONPATH": "/shared/mine",
        "HOME": "/home/me",
    }
    variables = Variables.of(environment, threads=2)
    assert variables.plain == {
        "PATHSYNTH_OUTCOMES": "/multirun/x",
        "WANDB_MODE": "offline",
        "HF_HOME": "/shared/hf",
        "MKL_NUM_THREADS": "3",
        "OMP_NUM_THREADS": "2",
        "PYTHONPATH": "/shared/mine",
    }
    secrets = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MLFLOW_TRACKING_URI", "WANDB_API_KEY", "WANDB_BASE_URL"]
    assert sorted(variables.secrets) == secrets
    assert Variables.of({"OMP_NUM_THREADS": "5"}, threads=2).plain["OMP_NUM_THREADS"] == "5"


@pytest.fixture
def composed(monkeypatch, tmp_path):
    """A job as a sweep composes it, with its ``hydra`` node."""
    monkeypatch.setenv("PATHSYNTH_STARTED", "now")
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        words = ["hydra/launcher=ray", "tracking=none", "seed=7", "study.question='at ${now:%f}: 1e3, yes, ${hydra:job.num}'"]
        config = compose("run", [*words, f"multirun={tmp_path}", "hydra.mode=MULTIRUN"], return_hydra_config=True)
    with open_dict(config):
        config.hydra.job.name, config.hydra.runtime.output_dir = "pathsynth", str(tmp_path)
    return config


def test_a_job_crosses_in_plain_values_and_is_the_same_over_there(composed):
    with open_dict(composed):
        composed.hydra.job.id, composed.hydra.job.num = "pathsynth_3", 3
    HydraConfig.instance().set_config(composed)
    said = composed.study.question
    packed = PackedJob.of(3, composed)
    assert b"omegaconf" not in pickle.dumps(packed)
    there = packed.unpack()
    assert OmegaConf.get_type(there, "hydra") is HydraConf
    both = [OmegaConf.to_container(config, resolve=False, enum_to_str=True) for config in (there, composed)]
    assert both[0] == both[1]
    HydraConfig.instance().set_config(there)
    assert there.study.question == said, "the time is that of the command"
    with pytest.raises(Exception, match="not in struct"):
        there.lora.rnak = 3


def test_a_worker_carries_out_a_job_where_the_command_is(composed, tmp_path, monkeypatch, capfd):
    """In this very process, which stands in for the worker's."""
    monkeypatch.chdir("/")
    place = Place(str(tmp_path), ("/nowhere/modules",), {"WANDB_API_KEY": "0123"})
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)

    def function(config) -> float:
        hydra = HydraConfig.get()
        os.system(f"echo job {hydra.job.num} in $(pwd) with $WANDB_API_KEY")
        if hydra.job.num == 5:
            raise OSError("gone")
        return config.seed / 10

    monkeypatch.setenv("WANDB_API_KEY", "")
    output = tmp_path / "4" / "output.txt"
    for elsewhere, folder in ((Place("/nowhere", (), {}), str(output.parent)), (place, "/nowhere/multirun/4")):
        with pytest.raises(NotSharedError, match="/nowhere"):
            carry_out(function, PackedJob.of(4, composed), elsewhere, folder)
    assert carry_out(function, PackedJob.of(4, composed), place, str(output.parent)) == (True, 0.7)
    assert output.read_text() == f"job 4 in {tmp_path} with 0123\n"
    completed, error = carry_out(function, PackedJob.of(5, composed), place, str(tmp_path / "5"))
    assert (completed, str(error)) == (False, "gone")
    assert capfd.readouterr().out == ""
    assert "/nowhere/modules" in sys.path


def test_a_machine_that_does_not_share_the_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here, probe = Place(str(tmp_path), (), {}), tmp_path / "multirun" / "probe"
    assert see(here, str(probe), "x") == str(probe.parent)
    probe.parent.mkdir()
    probe.write_text("of another")
    assert see(here, str(probe), "x") == str(probe.parent)
    probe.write_text("x")
    assert see(here, str(probe), "x") == ""
    assert see(Place("/nowhere/mine", (), {}), str(probe), "x") == "/nowhere/mine"


@pytest.mark.parametrize(("asked", "expected"), [({}, 4), ({"num_cpus": 1.5}, 2), ({"num_cpus": 8}, 1), ({"n_jobs": 3}, 3)])
def test_a_worker_shares_its_machine_with_as_many_as_have_room(composed, monkeypatch, asked, expected):
    monkeypatch.setattr("pathsynth.studies.planning.workers.cores", lambda: 4)
    for key, value in asked.items():
        composed.hydra.launcher[key] = value
    assert workers(composed.hydra) == expected


def test_the_page_and_the_preset_name_the_settings_there_are():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "ray.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    named = re.findall(r"hydra\.launcher\.(\w+)", page)
    preset = OmegaConf.load(conf_folder() / "hydra" / "launcher" / "ray.yaml")
    assert set(table) == set(RayConfig.model_fields) == {str(key) for key in preset if not str(key).startswith("_")}
    assert set(named) <= set(table)
    assert ray_config({key: value for key, value in preset.items() if key in table and key != "address"}) == RayConfig()
