"""The adapter: LoRA layers on a base's UNet, saved so that plain diffusers loads them and gives the same image."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from diffusers.training_utils import _collate_lora_metadata
from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.errors import RequestError
from pathsynth.models.base import Base

WEIGHTS_FILE = "pytorch_lora_weights.safetensors"
CARD_FILE = "adapter.json"

_ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
_CONVOLUTION = ["conv1", "conv2", "conv_shortcut", "conv_in", "conv_out", "downsamplers.0.conv", "upsamplers.0.conv", "proj_in", "proj_out"]
_REST = ["ff.net.0.proj", "ff.net.2", "time_emb_proj", "linear_1", "linear_2"]
TARGETS: dict[str, list[str]] = {
    "attention": _ATTENTION,
    "attention+conv": _ATTENTION + _CONVOLUTION,
    "all": _ATTENTION + _CONVOLUTION + _REST,
}
"""Module names (ends of them) that each choice of ``lora.targets`` adapts."""


@dataclass(frozen=True)
class AdapterCard:
    """What an adapter belongs to and how it was made; stands beside the weights as JSON."""

    base: str
    label_space: str
    classes: tuple[str, ...]
    data: str
    rank: int
    alpha: int
    targets: str
    seed: int
    step: int


def attach(base: Base, rank: int, alpha: int, dropout: float, targets: str, seed: int) -> list[nn.Parameter]:
    """Put a fresh adapter on the base's UNet (gaussian A, zero B: the base is unchanged) and return its parameters.

    The initial weights depend on ``seed`` alone. Dropout draws from torch's global generator.
    """
    config = PeftLoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, init_lora_weights="gaussian", target_modules=TARGETS[targets])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        base.unet.add_adapter(config)
    base.unet.train()
    parameters = [p for p in base.unet.parameters() if p.requires_grad]
    if not parameters:
        raise RequestError(f"lora.targets={targets} matches no layer of this base's UNet; choose another")
    return parameters


def adapter_state(base: Base) -> dict[str, Tensor]:
    """The adapter's tensors by name, without the base's."""
    return {name: tensor.detach().clone() for name, tensor in get_peft_model_state_dict(base.unet).items()}


def restore(base: Base, state: dict[str, Tensor]) -> None:
    """Put tensors of :func:`adapter_state` back on the attached adapter."""
    set_peft_model_state_dict(base.unet, state)


def save_adapter(folder: Path, base: Base, card: AdapterCard) -> None:
    """Write the attached adapter with its LoRA metadata (rank, alpha: without them alpha ≠ rank reloads silently wrong)."""
    folder.mkdir(parents=True, exist_ok=True)
    StableDiffusionPipeline.save_lora_weights(
        folder,
        unet_lora_layers={name: tensor.contiguous().cpu() for name, tensor in adapter_state(base).items()},
        safe_serialization=True,
        **_collate_lora_metadata({"unet": base.unet}),
    )
    write_json(folder / CARD_FILE, asdict(card))


def read_card(folder: Path) -> AdapterCard:
    """The card of a saved adapter.

    Raises:
        RequestError: the folder holds no complete adapter.
    """
    path = folder / CARD_FILE
    if not path.is_file() or not (folder / WEIGHTS_FILE).is_file():
        raise RequestError(f"{folder} holds no adapter ({WEIGHTS_FILE} and {CARD_FILE}); name an adapter folder of this program")
    try:
        fields = json.loads(path.read_text())
        return AdapterCard(**{**fields, "classes": tuple(fields["classes"])})
    except (ValueError, TypeError, KeyError) as error:
        raise RequestError(f"{path} is not an adapter card ({error}); train or export the adapter again") from error


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
    base.unet.requires_grad_(False)
    return card


def unload_adapter(base: Base) -> None:
    """Take the adapter off, leaving the base as it was loaded."""
    base.pipeline.unload_lora_weights()
