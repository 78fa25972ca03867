"""An adapter to start from is known by its header, whichever script wrote it, before anything is trained."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from pathsynth.ledger.errors import RequestError
from pathsynth.models.adapter_file import SETTINGS_KEY, nonfinite, read_adapter, start_faults
from pathsynth.models.design import AdapterDesign

LAYERS = {
    "mid.attn1.to_q": (8, 8),
    "mid.attn1.to_k": (8, 8),
    "mid.attn1.to_v": (8, 8),
    "mid.attn1.to_out.0": (8, 8),
    "conv_in": (8, 4, 3, 3),
}
ATTENTION = [name for name in LAYERS if "attn" in name]


def diffusers_names(rank: int = 2, layers=ATTENTION):
    down = {f"unet.{name}.lora_A.weight": np.zeros((rank, 8), np.float32) for name in layers}
    return down | {f"unet.{name}.lora_B.weight": np.zeros((8, rank), np.float32) for name in layers}


def kohya_names(alpha: float, rank: int = 2):
    named = {}
    for name in ATTENTION:
        layer = f"lora_unet_{name.replace('.', '_')}"
        named[f"{layer}.lora_down.weight"] = np.zeros((rank, 8), np.float16)
        named[f"{layer}.lora_up.weight"] = np.zeros((8, rank), np.float16)
        named[f"{layer}.alpha"] = np.array(alpha, np.float16)
    return named


def old_names(rank: int = 2):
    names = [name.replace("attn1.", "attn1.processor.").replace("to_out.0", "to_out") for name in ATTENTION]
    return {f"unet.{name}_lora.down.weight": np.zeros((rank, 8), np.float32) for name in names}


def faults(folder, tensors, design, settings=None, layers=LAYERS):
    metadata = {SETTINGS_KEY: json.dumps(settings)} if settings else None
    save_file(tensors, folder / "a.safetensors", metadata=metadata)
    return start_faults(read_adapter(folder), design, layers)


FITTING = [
    (diffusers_names(), AdapterDesign(2, 2), None),
    (diffusers_names(), AdapterDesign(2, 8), {"unet.lora_alpha": 8}),
    (kohya_names(0.5), AdapterDesign(2, 0.5), None),
    (old_names(), AdapterDesign(2, 2), None),
]


@pytest.mark.parametrize("tensors, design, settings", FITTING)
def test_an_adapter_of_the_same_design_fits_whichever_script_wrote_it(tmp_path, tensors, design, settings):
    assert faults(tmp_path, tensors, design, settings) == []


@pytest.mark.parametrize(
    ("tensors", "design", "settings", "remedy"),
    [
        (diffusers_names(4), AdapterDesign(2, 2), None, "has rank 4 and alpha 4, and lora asks for 2 and 2; set lora.rank=4 lora.alpha=4"),
        (kohya_names(0.5), AdapterDesign(2, 2), None, "has alpha 0.5, and lora asks for 2; set lora.alpha=0.5"),
        (diffusers_names(4), AdapterDesign(8, 8), {"unet.lora_alpha": 8}, "has rank 4, and lora asks for 8; set lora.rank=4 lora.alpha=8"),
        (diffusers_names(layers=list(LAYERS)), AdapterDesign(2, 2), None, "set lora.targets=attention+conv"),
        (diffusers_names(layers=["up.to_q"]), AdapterDesign(2, 2), None, "has a layer that this base's UNet lacks (up_to_q)"),
        (diffusers_names(), AdapterDesign(2, 2, text_encoder=True), None, "set lora.text_encoder=false"),
        (diffusers_names(), AdapterDesign(2, 2, dora=True), None, "is no DoRA; set lora.dora=false"),
        (diffusers_names(), AdapterDesign(2, 2), {"unet.lora_alpha": 2, "unet.use_rslora": True}, "set lora.rslora=true"),
    ],
)
def test_another_design_is_refused_with_the_keys_to_set(tmp_path, tensors, design, settings, remedy):
    (fault,) = faults(tmp_path, tensors, design, settings)
    assert remedy in fault


def test_ranks_that_differ_among_layers_are_refused(tmp_path):
    tensors = diffusers_names(2, ATTENTION[:2]) | diffusers_names(4, ATTENTION[2:])
    (fault,) = faults(tmp_path, tensors, AdapterDesign(2, 2))
    assert "has ranks 2, 4 in different layers" in fault


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ({"conv_in.weight": np.zeros((1, 1), np.float32)}, "holds no LoRA in the layout of diffusers or kohya (but conv_in.weight)"),
        ({"lora_te1_text_model_x.lora_down.weight": np.zeros((2, 8), np.float32)}, "is one for Stable Diffusion XL"),
        ({"base_model.model.x.lora_A.weight": np.zeros((2, 8), np.float32)}, "holds no LoRA in the layout"),
    ],
)
def test_what_is_no_adapter_of_such_a_base_is_refused(tmp_path, tensors, text):
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(RequestError) as refusal:
        read_adapter(tmp_path)
    assert text in str(refusal.value)


def test_a_file_may_be_named_and_several_in_a_folder_are_refused(tmp_path):
    for name in ("a", "b"):
        save_file(diffusers_names(), tmp_path / f"{name}.safetensors")
    assert read_adapter(tmp_path / "b.safetensors").path.name == "b.safetensors"
    with pytest.raises(RequestError, match=r"holds 2 safetensors files \(a.safetensors, b.safetensors\)"):
        read_adapter(tmp_path)
    (tmp_path / "a.pt").touch()
    with pytest.raises(RequestError, match="is no safetensors file"):
        read_adapter(tmp_path / "a.pt")


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_numbers_that_are_not_finite_are_found(tmp_path, wrong, kind):
    file = tmp_path / "a.safetensors"
    save_file({"x": np.zeros(3, kind)}, file)
    assert nonfinite(file) == ""
    save_file({"x": np.zeros(3, kind), "y": np.array([0, wrong], kind)}, file)
    assert nonfinite(file) == "y"


def test_numbers_of_bfloat16_are_looked_at_too(tmp_path):
    import torch
    from safetensors.torch import save_file as save_tensors

    file = tmp_path / "a.safetensors"
    save_tensors({"x": torch.tensor([1.0, -3.5], dtype=torch.bfloat16)}, file)
    assert nonfinite(file) == ""
    save_tensors({"x": torch.tensor([1.0, float("nan")], dtype=torch.bfloat16)}, file)
    assert nonfinite(file) == "x"
