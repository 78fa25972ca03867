"""A base that cannot be used is refused by its settings and headers, with every fault and its remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pathsynth.models.layout import layout_faults, unet_layers


def change(file: Path, **settings) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


def only(faults: list[str]) -> str:
    (fault,) = faults
    assert "\n" not in fault
    return fault


def test_the_embedded_base_has_no_fault_and_its_layers_are_those_of_its_unet(linked_base):
    from diffusers import UNet2DConditionModel

    from pathsynth.models.lora import adaptable_layers

    assert layout_faults(linked_base) == []
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(linked_base / "unet"))
    assert unet_layers(linked_base) == adaptable_layers(unet)


@pytest.mark.parametrize(
    "name", ["StableDiffusionXLPipeline", "StableDiffusion3Pipeline", "StableDiffusionInpaintPipeline", "FluxPipeline"]
)
def test_another_kind_of_pipeline_is_refused_by_its_name(linked_base, name):
    change(linked_base / "model_index.json", _class_name=name)
    assert f"is a {name}, and only" in only(layout_faults(linked_base))


PARTS = [
    ("unet", "config.json"),
    ("vae", "config.json"),
    ("text_encoder", "config.json"),
    ("scheduler", "scheduler_config.json"),
    ("tokenizer", "tokenizer_config.json"),
    ("unet", "diffusion_pytorch_model.safetensors"),
    ("text_encoder", "model.safetensors"),
]


@pytest.mark.parametrize("part, name", PARTS)
def test_a_file_that_is_missing_is_named(linked_base, part, name):
    (linked_base / part / name).unlink()
    assert f"lacks {part}/{name}; set base.path" in only(layout_faults(linked_base))


def test_a_tokenizer_without_words_is_refused(linked_base):
    (linked_base / "tokenizer" / "tokenizer.json").unlink()
    assert "vocab.json and merges.txt" in only(layout_faults(linked_base))


@pytest.mark.parametrize(
    ("part", "settings", "text"),
    [
        ("unet", {"in_channels": 9}, "in_channels 9, and its autoencoder 16"),
        ("unet", {"out_channels": 4}, "out_channels 4, and its autoencoder 16"),
        ("unet", {"cross_attention_dim": 768}, "cross_attention_dim 768, and its text encoder hidden_size 128"),
        ("unet", {"addition_embed_type": "text_time"}, "addition_embed_type=text_time"),
        ("scheduler", {"prediction_type": "sample"}, "prediction_type sample"),
    ],
)
def test_parts_that_do_not_fit_are_refused(linked_base, part, settings, text):
    change(linked_base / part / ("scheduler_config.json" if part == "scheduler" else "config.json"), **settings)
    assert text in only(layout_faults(linked_base))


def test_all_faults_are_reported_at_once(linked_base):
    change(linked_base / "unet" / "config.json", in_channels=9, cross_attention_dim=768)
    weights = linked_base / "vae" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(whole[:1000])
    told = layout_faults(linked_base)
    assert [word in fault for word, fault in zip(("in_channels", "cross_attention_dim", "cut short"), told, strict=True)] == [True] * 3


def test_weights_of_another_form_are_refused_with_the_way_to_convert_them(linked_base, tmp_path):
    weights = linked_base / "unet" / "diffusion_pytorch_model.safetensors"
    variant = weights.with_name("diffusion_pytorch_model.fp16.safetensors")
    weights.rename(variant)
    assert 'variant="fp16").save_pretrained' in only(layout_faults(linked_base))
    variant.rename(weights.with_suffix(".bin"))
    assert "use_safetensors=False).save_pretrained" in only(layout_faults(linked_base))
    single = tmp_path / "v1-5.safetensors"
    single.touch()
    assert f'from_single_file("{single}").save_pretrained(' in only(layout_faults(single))


def test_weights_in_shards_are_followed_by_their_index(linked_base):
    weights = linked_base / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("part-1.safetensors"))
    index = {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}
    weights.with_name("diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    assert "lacks unet/part-2.safetensors" in only(layout_faults(linked_base))
