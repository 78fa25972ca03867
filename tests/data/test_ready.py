"""A ready set: what is written comes back, and what is missing or damaged is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from pathsynth.config import BaseConfig, DataConfig
from pathsynth.config.shipped import assets_folder
from pathsynth.data.catalogue import open_data, ready_set
from pathsynth.data.phantom import phantom_data
from pathsynth.data.ready import read_ready, write_ready
from pathsynth.ledger.adapters import read_card
from pathsynth.ledger.errors import RequestError
from pathsynth.models.image_classifier import load_classifier
from pathsynth.stages.fingerprints import base_source


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    adapter, gate, folder = tmp_path / "a", tmp_path / "g", tmp_path / "ready"
    for place in (adapter, gate, folder):
        place.mkdir()
    save_file({"w": np.ones(3, np.float32)}, adapter / "pytorch_lora_weights.safetensors")
    save_file({"w": np.ones(2, np.float32)}, gate / "classifier.safetensors")
    (gate / "classifier.json").write_text("{}")
    (gate / "scores.json").write_text("{}")
    write_ready(folder, adapter, gate, "b45e", phantom_data(32, 9, 9, 9, 0))
    return folder


def test_words_size_and_weights_come_back(ready):
    found, data = read_ready(ready), phantom_data(32, 9, 9, 9, 0)
    assert (found.size, found.base, found.data, found.prompts) == (32, "b45e", data.name, data.prompts)
    assert (found.adapter / "pytorch_lora_weights.safetensors").is_file()
    assert {p.name for p in found.gate.iterdir()} == {"classifier.safetensors", "classifier.json"}
    assert found.as_data().space == data.space


@pytest.mark.parametrize("part", ["adapter/pytorch_lora_weights.safetensors", "gate/classifier.safetensors"])
def test_other_weights_are_another_set(ready, part):
    before = read_ready(ready).as_data().identity
    save_file({"w": np.zeros(3, np.float32)}, ready / part)
    assert read_ready(ready).as_data().identity != before


def test_a_judge_comes_along_and_halved_weights_are_the_same_numbers_rounded(ready, tmp_path):
    assert read_ready(ready).judge is None
    weights = {"w": np.array([1.0001, 3e-5], np.float32), "steps": np.array([7])}
    save_file(weights, tmp_path / "g" / "classifier.safetensors", {"made by": "a test"})
    parts, data = (tmp_path / "a", tmp_path / "g", "b45e"), phantom_data(32, 9, 9, 9, 0)
    write_ready(tmp_path / "half", *parts, data, judge=tmp_path / "g", half=True)
    found = read_ready(tmp_path / "half")
    assert found.judge and {p.name for p in found.judge.iterdir()} == {"classifier.safetensors", "classifier.json"}
    stored = load_file(found.judge / "classifier.safetensors")
    assert stored["w"].dtype == np.float16 and stored["steps"].dtype == weights["steps"].dtype
    assert np.allclose(stored["w"], weights["w"], rtol=1e-3)
    with safe_open(found.judge / "classifier.safetensors", "np") as kept:
        assert kept.metadata() == {"made by": "a test"}


@pytest.mark.parametrize(
    "name, content, told",
    [
        ("ready.json", None, "no ready set in"),
        ("ready.json", "{", "is damaged"),
        ("ready.json", json.dumps({"size": 32}), "is damaged"),
        ("adapter/pytorch_lora_weights.safetensors", "cut", "is damaged"),
        ("gate/classifier.safetensors", None, "is damaged"),
    ],
)
def test_what_is_missing_or_damaged_is_reported(ready, name, content, told):
    if content is None:
        (ready / name).unlink()
    else:
        (ready / name).write_text(content)
    with pytest.raises(RequestError, match=told) as error:
        read_ready(ready)
    assert "--ready" in str(error.value) and "\n" not in str(error.value)


def test_it_has_no_images_and_one_size(ready):
    with pytest.raises(RequestError, match="has no images"):
        open_data(DataConfig(name="ready", size=32, root=str(ready))).split("val")
    with pytest.raises(RequestError, match="data.size=32"):
        open_data(DataConfig(name="ready", size=28, root=str(ready)))


def test_the_shipped_set_belongs_to_the_shipped_base_and_has_all_its_parts():
    shipped = ready_set(DataConfig(name="ready", size=28))
    assert shipped.base == base_source(BaseConfig(name="tiny", path=str(assets_folder() / "tiny"))).identity
    assert read_card(shipped.adapter).base == shipped.base and shipped.judge
    space = shipped.prompts.space
    gate, judge = (load_classifier(folder, space) for folder in (shipped.gate, shipped.judge))
    assert (gate.spec.architecture, gate.spec.size, gate.spec.classes) == ("resnet18", 28, space.slugs)
    assert judge.spec.architecture != gate.spec.architecture
    assert all(p.dtype == torch.float32 for p in gate.parameters())
    card = (shipped.folder / "README.md").read_text()
    assert "CC BY 4.0" in card and "Not for diagnosis" in card
