"""All that is wrong with a request is told at once, before anything is written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from safetensors.numpy import save_file

from pathsynth.commands.quoting import quote_free_text
from pathsynth.config import RunConfig, from_hydra
from pathsynth.config.shipped import conf_folder
from pathsynth.ledger.errors import RequestError
from pathsynth.models.design import AdapterDesign, matching, target_modules
from pathsynth.models.layout import unet_layers
from pathsynth.stages.plan import plan
from pathsynth.studies.planning.preflight import planned


def settings(*overrides: str, command: str = "run") -> RunConfig:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return from_hydra(compose(command, quote_free_text(list(overrides), False)))


def faults(*overrides: str, command: str = "run") -> list[str]:
    with pytest.raises(RequestError) as refusal:
        planned(settings(*overrides, command=command))
    assert all("\n" not in fault for fault in refusal.value.faults)
    return list(refusal.value.faults)


def adapter(base, rank: int, targets: str = "attention") -> dict[str, np.ndarray]:
    layers = unet_layers(base)
    names = matching(layers, target_modules(layers, AdapterDesign(rank, rank, targets=targets)))
    return {f"unet.{name}.lora_A.weight": np.zeros((rank, 4), np.float32) for name in names}


@pytest.mark.parametrize("command", ["run", "finetune", "generate", "evaluate"])
def test_a_request_without_faults_has_the_plan_that_it_had(command):
    config = settings(command=command)
    assert planned(config) == plan(config)


def test_faults_of_base_and_data_are_reported_together(linked_base, tmp_path):
    index = linked_base / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "_class_name": "StableDiffusionXLPipeline"}))
    of_base, of_data = faults(f"base.path={linked_base}", "data=folder", f"data.root={tmp_path / 'none'}")
    assert "StableDiffusionXLPipeline" in of_base
    assert str(tmp_path / "none") in of_data


def test_a_base_and_data_that_are_not_there_are_reported_together(tmp_path):
    of_data, of_base = faults(f"base.path={tmp_path / 'no base'}", "data=folder", f"data.root={tmp_path / 'no data'}")
    assert "no data" in of_data
    assert "no base" in of_base


def test_faults_of_the_start_the_rank_and_the_sampler_are_reported_together(linked_base, tmp_path):
    save_file(adapter(linked_base, 2), tmp_path / "a.safetensors")
    start, rank, steps = faults(
        *(f"lora.start={tmp_path / 'a.safetensors'}", "lora.rank=129", "lora.targets=attention"),
        *("sampling.scheduler=EulerDiscreteScheduler", "sampling.steps=1000", "data=folder", "data.root=/nowhere"),
    )[:3]
    assert "has rank 2 and alpha 2" in start
    assert "lora.rank=129 is more than any of the" in rank
    assert "128 is the largest" in rank
    assert steps


def test_a_start_that_fits_is_planned_as_a_folder_and_as_a_file_alike(linked_base, tmp_path):
    save_file(adapter(linked_base, 2), tmp_path / "a.safetensors")
    asks = ["lora.rank=2", "lora.targets=attention"]
    by_folder, by_file = (planned(settings(f"lora.start={start}", *asks)) for start in (tmp_path, tmp_path / "a.safetensors"))
    assert by_folder.identity == by_file.identity


def test_a_start_whose_training_diverged_is_refused(linked_base, tmp_path):
    tensors = adapter(linked_base, 2)
    tensors[next(iter(tensors))][0, 0] = np.nan
    save_file(tensors, tmp_path / "a.safetensors")
    (fault,) = faults(f"lora.start={tmp_path}", "lora.rank=2", "lora.targets=attention")
    assert "holds numbers that are not finite" in fault


def test_targets_that_the_base_lacks_are_refused_before_the_gate_is_trained():
    (fault,) = faults("lora.targets=[to_qq]")
    assert fault.endswith("is called to_qq; nearest: to_q")
    (fault,) = faults("lora.dora=true", "lora.targets=attention+conv")
    assert "cannot be reloaded on convolutions" in fault


def test_whole_alphas_are_one_adapter_however_they_are_written():
    assert plan(settings("lora.alpha=16.0")).identity == plan(settings("lora.alpha=16")).identity
    assert plan(settings("lora.alpha=0.5")).identity != plan(settings("lora.alpha=1")).identity
