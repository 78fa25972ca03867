"""The adapter: LoRA layers on a base's UNet (and text encoder), saved so that plain diffusers loads them and gives the same image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn

from pathsynth.ledger.adapters import CARD_FILE, WEIGHTS_FILE, AdapterCard, read_card
from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.errors import RequestError
from pathsynth.models.base import Base
from pathsynth.models.design import AdapterDesign, target_modules

_TEXT_ATTENTION = ["q_proj", "k_proj", "v_proj", "out_proj"]


def attach(base: Base, design: AdapterDesign, seed: int) -> list[nn.Parameter]:
    """Put a fresh adapter on the base (B is zero: the base is unchanged) and return its parameters.

    The initial weights depend on ``seed`` alone. Dropout draws from torch's global generator.

    Raises:
        RequestError: the targets match no layer, or layers that this kind of adapter cannot be reloaded on.
    """
    targets = target_modules(adaptable_layers(base.unet), design)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        base.unet.add_adapter(_peft_config(design, targets))
        if design.text_encoder:
            base.text_encoder.add_adapter(_peft_config(design, _TEXT_ATTENTION))
    for module in adapted_parts(base).values():
        module.train()
    return [p for module in adapted_parts(base).values() for p in module.parameters() if p.requires_grad]


def _peft_config(design: AdapterDesign, targets: list[str] | str) -> PeftLoraConfig:
    return PeftLoraConfig(
        r=design.rank,
        lora_alpha=design.alpha,
        lora_dropout=design.dropout,
        init_lora_weights="gaussian" if design.init == "gaussian" else True,
        target_modules=targets,
        use_dora=design.dora,
        use_rslora=design.rslora,
    )


def adaptable_layers(unet: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of the weight of each linear layer and convolution, by name."""
    return {name: tuple(module.weight.shape) for name, module in unet.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))}


def adapter_state(base: Base) -> dict[str, Tensor]:
    """The adapter's tensors without the base's, named as in its file: ``unet.…`` and, where it is adapted, ``text_encoder.…``."""
    return {
        f"{part}.{name}": tensor.detach().clone()
        for part, module in adapted_parts(base).items()
        for name, tensor in get_peft_model_state_dict(module).items()
    }


def restore(base: Base, state: Mapping[str, Tensor]) -> None:
    """Put tensors of :func:`adapter_state` back on the attached adapter."""
    for part, module in adapted_parts(base).items():
        prefix = f"{part}."
        set_peft_model_state_dict(module, {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)})


def adapted_parts(base: Base) -> dict[str, nn.Module]:
    """The base's modules that have an adapter, by their names in the pipeline."""
    parts = {"unet": base.unet, "text_encoder": base.text_encoder}
    return {name: module for name, module in parts.items() if getattr(module, "peft_config", None)}


def peft_config_of(module: nn.Module) -> PeftLoraConfig:
    """How the one adapter of an adapted module is made."""
    return cast(dict[str, PeftLoraConfig], module.peft_config)["default"]


def save_adapter(folder: Path, base: Base, card: AdapterCard) -> None:
    """Write the attached adapter, with the settings by which diffusers loads it and, as ``pathsynth.*``, the card's fields.

    Without its metadata an adapter whose alpha is not its rank would reload silently wrong.
    """
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"format": "pt", LORA_ADAPTER_METADATA_KEY: json.dumps(_peft_settings(base), sort_keys=True), **_provenance(card)}
    save_file({name: tensor.contiguous().cpu() for name, tensor in adapter_state(base).items()}, folder / WEIGHTS_FILE, metadata=metadata)
    write_json(folder / CARD_FILE, asdict(card))


def _peft_settings(base: Base) -> dict[str, Any]:
    """What diffusers builds the layers from, in the form in which its own scripts save it."""
    return {
        f"{part}.{key}": sorted(value) if isinstance(value, set) else value
        for part, module in adapted_parts(base).items()
        for key, value in peft_config_of(module).to_dict().items()
    }


def _provenance(card: AdapterCard) -> dict[str, str]:
    """The card as strings, which is all that the header of a safetensors file holds."""
    return {f"pathsynth.{key}": value if isinstance(value, str) else json.dumps(value) for key, value in asdict(card).items()}


def load_adapter(folder: Path, base: Base) -> AdapterCard:
    """Load a saved adapter onto its base.

    Raises:
        RequestError: the adapter was trained on another base, or the folder is incomplete.
    """
    card = read_card(folder)
    if card.base != base.identity:
        raise RequestError(
            f"the adapter in {folder} belongs to base {card.base}, not to {base.identity}; choose its own base"
        )
    base.pipeline.load_lora_weights(str(folder), weight_name=WEIGHTS_FILE)
    for module in adapted_parts(base).values():
        module.requires_grad_(False)
    return card


def unload_adapter(base: Base) -> None:
    """Take the adapter off, leaving the base as it was loaded."""
    base.pipeline.unload_lora_weights()


def save_fused(adapter: Path, base: Base, folder: Path) -> None:
    """Write the base's whole pipeline with a saved adapter's weights added to its own.

    Raises:
        RequestError: the adapter was trained on another base, or the folder is incomplete.
    """
    load_adapter(adapter, base)
    base.pipeline.fuse_lora()
    base.pipeline.unload_lora_weights()
    base.pipeline.save_pretrained(folder, safe_serialization=True)
