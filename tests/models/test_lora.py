"""Adapters: saved with their base's identity, read back exactly, loaded by plain diffusers to the same image."""

from __future__ import annotations

import shutil
from dataclasses import fields

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pathsynth.ledger.adapters import AdapterCard, read_card
from pathsynth.ledger.errors import RequestError
from pathsynth.models.adapter_start import start_from
from pathsynth.models.base import load_base
from pathsynth.models.design import AdapterDesign
from pathsynth.models.lora import (
    adapter_state,
    attach,
    load_adapter,
    restore,
    save_adapter,
    save_fused,
    unload_adapter,
)
from pathsynth.sampling.draw import CandidateDrawer
from pathsynth.sampling.slots import Slot, Stream, attempt_at

PROMPT = "a histopathological image of an area with mucus"


def card(base: str, rank: int, alpha: int, targets: str) -> AdapterCard:
    return AdapterCard(base, "colorectal tissue", ("mucus",), "test", rank, alpha, targets, 0, 1)


def trained_adapter(folder, base_folder, rank=2, alpha=4, targets="attention+conv", **design):
    """A base with an adapter that does something, saved to ``folder``."""
    base = load_base(str(base_folder), None, "base-1", None, 32)
    parameters = attach(base, AdapterDesign(rank, alpha, targets=targets, **design), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in parameters:
            p.copy_(torch.randn(p.shape, generator=generator) * 0.2)
    base.unet.eval()
    base.text_encoder.eval()
    save_adapter(folder, base, card("base-1", rank, alpha, targets))
    return base


def attempts(n: int):
    return [attempt_at(Slot(Stream.VAL, 0, i, PROMPT), 0, 0) for i in range(n)]


KINDS = [
    (2, 8, "attention", {}),
    (4, 2, "attention+conv", {}),
    (2, 2, "all", {}),
    (2, 4, "all-linear", {}),
    (2, 4, ("to_q", "conv1"), {}),
    (2, 4, r"regex:.*attn2\.to_[kv]", {}),
    (4, 2, "attention+conv", {"rslora": True}),
    (2, 4, "attention", {"dora": True}),
    (2, 4, "all-linear", {"dora": True, "rslora": True}),
    (2, 4, "attention+conv", {"text_encoder": True}),
    (2, 8, "attention", {"text_encoder": True, "rslora": True}),
]


@pytest.mark.parametrize(("rank", "alpha", "targets", "design"), KINDS)
def test_reloads_exactly(small_base_folder, tmp_path, rank, alpha, targets, design):
    trained = trained_adapter(tmp_path / "adapter", small_base_folder, rank, alpha, targets, **design)
    fresh = load_base(str(small_base_folder), None, "base-1", None, 32)
    plain = CandidateDrawer(fresh, 32, 3, 3.0).latents(attempts(2))
    load_adapter(tmp_path / "adapter", fresh)
    expected, loaded = (CandidateDrawer(base, 32, 3, 3.0).latents(attempts(2)) for base in (trained, fresh))
    assert torch.equal(expected, loaded)
    assert not torch.allclose(plain, loaded, atol=1e-2)
    unload_adapter(fresh)
    assert torch.equal(CandidateDrawer(fresh, 32, 3, 3.0).latents(attempts(2)), plain)


@pytest.mark.parametrize(
    ("rank", "alpha", "targets", "design"), [KINDS[1], *(pytest.param(*kind, marks=pytest.mark.slow) for kind in KINDS[2:])]
)
def test_plain_diffusers_draws_the_same_image(small_base_folder, tmp_path, rank, alpha, targets, design):
    trained = trained_adapter(tmp_path / "adapter", small_base_folder, rank, alpha, targets, **design)
    ours = CandidateDrawer(trained, 32, 4, 3.0)(attempts(1))[0]
    pipeline = StableDiffusionPipeline.from_pretrained(small_base_folder, safety_checker=None, requires_safety_checker=False)
    pipeline.load_lora_weights(tmp_path / "adapter")
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(attempts(1)[0].seed))
    theirs = pipeline(PROMPT, latents=noise, num_inference_steps=4, guidance_scale=3.0, output_type="np").images[0]
    assert np.array_equal(np.rint(theirs * 255).astype(np.uint8), ours)


def test_initial_adapter_leaves_the_base_as_it_is_and_depends_on_the_seed_alone(small_base_folder):
    states = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        base = load_base(str(small_base_folder), None, "base-1", None, 32)
        before = CandidateDrawer(base, 32, 2, 1.0).latents(attempts(1))
        attach(base, AdapterDesign(2, 2), seed=5)
        base.unet.eval()
        assert torch.equal(CandidateDrawer(base, 32, 2, 1.0).latents(attempts(1)), before)
        states.append(adapter_state(base))
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert any(t.abs().max() > 0 for t in states[0].values())


@pytest.mark.slow
def test_restore_puts_saved_tensors_back(small_base_folder):
    base = load_base(str(small_base_folder), None, "base-1", None, 32)
    parameters = attach(base, AdapterDesign(2, 2), seed=0)
    state = adapter_state(base)
    with torch.no_grad():
        for p in parameters:
            p.add_(1)
    restore(base, state)
    assert all(torch.equal(adapter_state(base)[k], v) for k, v in state.items())


def test_every_target_group_adapts_other_layers(small_base_folder):
    counts = {}
    for targets in ("attention", "attention+conv", "all-linear", "all"):
        base = load_base(str(small_base_folder), None, "base-1", None, 32)
        counts[targets] = len(attach(base, AdapterDesign(1, 1, targets=targets), seed=0))
    assert counts["attention"] < min(counts["attention+conv"], counts["all-linear"]) < counts["all"]


@pytest.mark.parametrize(
    ("design", "told"),
    [
        ({"targets": ("to_q", "to_qq")}, "no linear layer or convolution is called to_qq; nearest: to_q"),
        ({"targets": "regex:nothing"}, "regex:nothing matches no layer"),
        ({"targets": "attention+conv", "dora": True}, "cannot be reloaded on convolutions"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(small_base_folder, design, told):
    base = load_base(str(small_base_folder), None, "base-1", None, 32)
    with pytest.raises(RequestError, match=told) as refusal:
        attach(base, AdapterDesign(2, 2, **design), seed=0)
    assert "\n" not in str(refusal.value)


def test_an_alpha_that_is_no_whole_number_trains_saves_and_starts(small_base_folder, tmp_path):
    trained = trained_adapter(tmp_path / "adapter", small_base_folder, 2, 0.5, "attention")
    assert read_card(tmp_path / "adapter").alpha == 0.5
    fresh = load_base(str(small_base_folder), None, "base-1", None, 32)
    attach(fresh, AdapterDesign(2, 0.5), seed=9)
    start_from(fresh, tmp_path / "adapter" / "pytorch_lora_weights.safetensors")
    expected, started = adapter_state(trained), adapter_state(fresh)
    assert all(torch.equal(expected[name], started[name]) for name in expected)


SOURCES = ["ours", "diffusers", "diffusers, no metadata", "kohya"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("design", [AdapterDesign(2, 4), AdapterDesign(2, 2, text_encoder=True), AdapterDesign(2, 4, rslora=True)])
def test_a_training_starts_from_a_saved_adapter_or_refuses_another_scale(small_base_folder, tmp_path, source, design):
    options = {"text_encoder": design.text_encoder, "rslora": design.rslora}
    trained = trained_adapter(tmp_path / "adapter", small_base_folder, 2, design.alpha, "attention", **options)
    if source != "ours":
        foreign(tmp_path / "adapter", source, design.alpha)
    fresh = load_base(str(small_base_folder), None, "base-1", None, 32)
    attach(fresh, design, seed=9)
    says_its_scale = source in ("ours", "diffusers") or (source == "kohya" and not design.rslora) or design.alpha == 2
    if not says_its_scale:
        with pytest.raises(RequestError, match=r"has alpha 2, and lora asks for 4; set lora\.alpha=2|set lora\.rslora=false"):
            start_from(fresh, tmp_path / "adapter")
        return
    start_from(fresh, tmp_path / "adapter")
    expected, found = adapter_state(trained), adapter_state(fresh)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def foreign(folder, source: str, alpha: float) -> None:
    """Make an adapter of ours look like one of diffusers' scripts or kohya's."""
    (folder / "adapter.json").unlink()
    weights = folder / "pytorch_lora_weights.safetensors"
    with safe_open(weights, framework="pt") as file:
        metadata = file.metadata() if source == "diffusers" else {"format": "pt"}
    tensors = {name: tensor.clone() for name, tensor in load_file(weights).items()}
    save_file(as_kohya(tensors, alpha) if source == "kohya" else tensors, folder / "other_name.safetensors", metadata=metadata)
    weights.unlink()


def as_kohya(tensors: dict[str, torch.Tensor], alpha: float) -> dict[str, torch.Tensor]:
    """The names that kohya's scripts give the layers of a UNet and of a text encoder."""
    named = {}
    for name, tensor in tensors.items():
        layer, _, end = name.rpartition(".lora_")
        part, _, place = layer.partition(".")
        path = f"lora_unet_{place.replace('.', '_')}" if part == "unet" else f"lora_te_text_model_{place.replace('.', '_')}"
        named[f"{path}.lora_{'down' if end.startswith('A') else 'up'}.weight"] = tensor
        named[f"{path}.alpha"] = torch.tensor(float(alpha))
    return named


@pytest.mark.parametrize(
    ("saved", "design", "told"),
    [
        ({}, AdapterDesign(4, 4), "has rank 2, and lora asks for 4; set lora.rank=2 lora.alpha=4"),
        ({}, AdapterDesign(2, 4, targets="attention+conv"), "other layers or another rank"),
        ({}, AdapterDesign(2, 2), "has alpha 4, and lora asks for 2; set lora.alpha=4"),
        ({"rslora": True}, AdapterDesign(2, 4), "has the scale of rsLoRA; set lora.rslora=true"),
        ({}, AdapterDesign(2, 4, rslora=True), "lacks the scale of rsLoRA; set lora.rslora=false"),
        ({"text_encoder": True}, AdapterDesign(2, 4), "adapts the text encoder, too; set lora.text_encoder=true"),
        ({}, AdapterDesign(2, 4, text_encoder=True), "does not adapt the text encoder; set lora.text_encoder=false"),
    ],
)
def test_an_adapter_of_another_shape_or_scale_is_no_start(small_base_folder, tmp_path, saved, design, told):
    trained_adapter(tmp_path / "adapter", small_base_folder, 2, 4, "attention", **saved)
    base = load_base(str(small_base_folder), None, "base-1", None, 32)
    attach(base, design, seed=0)
    before = adapter_state(base)
    with pytest.raises(RequestError, match=told):
        start_from(base, tmp_path / "adapter")
    assert all(torch.equal(tensor, before[name]) for name, tensor in adapter_state(base).items())


def test_a_start_that_cannot_be_read_is_refused_in_one_line(small_base_folder, tmp_path):
    base = trained_adapter(tmp_path / "adapter", small_base_folder, 2, 4, "attention")
    weights = tmp_path / "adapter" / "pytorch_lora_weights.safetensors"
    whole = weights.read_bytes()
    save_file({"lora_unet_mid_block_x.dora_scale": torch.ones(1)}, weights)
    with pytest.raises(RequestError, match="a DoRA that diffusers cannot convert"):
        start_from(base, tmp_path / "adapter")
    weights.write_bytes(whole[:500])
    with pytest.raises(RequestError, match=r"^lora\.start=\S+ cannot be read as an adapter [^\n]*$"):
        start_from(base, tmp_path / "adapter")
    weights.unlink()
    with pytest.raises(RequestError, match="holds no safetensors files"):
        start_from(base, tmp_path / "adapter")


def test_the_file_itself_tells_where_an_adapter_comes_from(small_base_folder, tmp_path):
    trained_adapter(tmp_path / "adapter", small_base_folder, 2, 4, "attention")
    with safe_open(tmp_path / "adapter" / "pytorch_lora_weights.safetensors", framework="pt") as file:
        told = file.metadata()
    assert (told["pathsynth.base"], told["pathsynth.rank"], told["pathsynth.alpha"], told["pathsynth.data"]) == ("base-1", "2", "4", "test")
    assert {f"pathsynth.{f.name}" for f in fields(AdapterCard)} <= set(told)


def test_another_base_is_refused(small_base_folder, tmp_path):
    trained_adapter(tmp_path / "adapter", small_base_folder)
    other = load_base(str(small_base_folder), None, "base-2", None, 32)
    with pytest.raises(RequestError, match="belongs to base base-1, not to base-2"):
        load_adapter(tmp_path / "adapter", other)


def test_incomplete_adapters_and_bases_are_refused_in_one_line(small_base_folder, tmp_path):
    with pytest.raises(RequestError, match="holds no adapter"):
        read_card(tmp_path)
    trained_adapter(tmp_path / "adapter", small_base_folder)
    (tmp_path / "adapter" / "adapter.json").write_text("{}")
    with pytest.raises(RequestError, match="not an adapter card"):
        read_card(tmp_path / "adapter")
    broken = tmp_path / "broken"
    shutil.copytree(small_base_folder, broken)
    weights = next((broken / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(RequestError, match="incomplete or damaged") as refusal:
        load_base(str(broken), None, "x", None, 32)
    assert "\n" not in str(refusal.value)


@pytest.mark.slow
def test_a_fused_pipeline_draws_what_base_and_adapter_draw(small_base_folder, tmp_path):
    trained_adapter(tmp_path / "adapter", small_base_folder)
    base = load_base(str(small_base_folder), None, "base-1", None, 32)
    load_adapter(tmp_path / "adapter", base)
    expected = CandidateDrawer(base, 32, 3, 3.0).latents(attempts(2))
    unload_adapter(base)
    plain = CandidateDrawer(base, 32, 3, 3.0).latents(attempts(2))
    save_fused(tmp_path / "adapter", base, tmp_path / "fused")
    fused = CandidateDrawer(load_base(str(tmp_path / "fused"), None, "fused", None, 32), 32, 3, 3.0).latents(attempts(2))
    assert torch.allclose(fused, expected, atol=1e-4)
    assert not torch.allclose(fused, plain, atol=1e-2)
