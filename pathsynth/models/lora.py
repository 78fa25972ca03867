"""The adapter: LoRA layers on a base's UNet, saved so that plain diffusers loads them and gives the same image."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from diffusers.training_utils import _collate_lora_metadata
from diffusers.utils import convert_unet_state_dict_to_peft
from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from pathsynth.config.schema import REGEX
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
"""Module names (ends of them) that a group of ``lora.targets`` adapts; ``all-linear`` is read off the UNet."""


@dataclass(frozen=True)
class AdapterCard:
    """What an adapter belongs to and how it was made; stands beside the weights as JSON."""

    base: str
    label_space: str
    classes: tuple[str, ...]
    data: str
    rank: int
    alpha: int
    targets: str | tuple[str, ...]
    seed: int
    step: int


@dataclass(frozen=True)
class AdapterDesign:
    """What an adapter is made of; the fields are those of ``LoraConfig``, where they are explained."""

    rank: int
    alpha: int
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "attention"
    dora: bool = False
    rslora: bool = False
    init: str = "gaussian"


def attach(base: Base, design: AdapterDesign, seed: int) -> list[nn.Parameter]:
    """Put a fresh adapter on the base's UNet (B is zero: the base is unchanged) and return its parameters.

    The initial weights depend on ``seed`` alone. Dropout draws from torch's global generator.

    Raises:
        RequestError: the targets match no layer, or layers that this kind of adapter cannot be reloaded on.
    """
    config = PeftLoraConfig(
        r=design.rank,
        lora_alpha=design.alpha,
        lora_dropout=design.dropout,
        init_lora_weights="gaussian" if design.init == "gaussian" else True,
        target_modules=_target_modules(base.unet, design),
        use_dora=design.dora,
        use_rslora=design.rslora,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        base.unet.add_adapter(config)
    base.unet.train()
    return [p for p in base.unet.parameters() if p.requires_grad]


def _target_modules(unet: nn.Module, design: AdapterDesign) -> list[str] | str:
    """What peft takes for ``design.targets``: a list of ends of names, or a pattern."""
    targets = design.targets
    wanted: list[str] | str
    if isinstance(targets, tuple):
        wanted = list(targets)
        for end in wanted:
            _require_module(unet, end)
    elif targets == "all-linear":
        wanted = [name for name, module in unet.named_modules() if isinstance(module, nn.Linear)]
    else:
        wanted = targets.removeprefix(REGEX) if targets.startswith(REGEX) else TARGETS[targets]
    matched = list(_matched(unet, wanted))
    if not matched:
        raise RequestError(f"lora.targets={targets} matches no layer of this base's UNet; choose another")
    convolutions = [name for name, module in matched if isinstance(module, nn.Conv2d)]
    if design.dora and convolutions:
        raise RequestError(
            f"lora.dora=true cannot be reloaded on convolutions ({convolutions[0]} and {len(convolutions) - 1} more); "
            "set lora.targets to attention or all-linear"
        )
    return wanted


def _matched(unet: nn.Module, wanted: list[str] | str) -> Iterator[tuple[str, nn.Module]]:
    for name, module in unet.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            ends = isinstance(wanted, list) and any(name == end or name.endswith(f".{end}") for end in wanted)
            if ends or (isinstance(wanted, str) and re.fullmatch(wanted, name)):
                yield name, module


def _require_module(unet: nn.Module, end: str) -> None:
    if not any(True for _ in _matched(unet, [end])):
        known = {name.rsplit(".", 1)[-1] for name, module in unet.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))}
        close = difflib.get_close_matches(end, sorted(known), n=1)
        raise RequestError(f"lora.targets: no linear layer or convolution is called {end}" + (f"; nearest: {close[0]}" if close else ""))


def adapter_state(base: Base) -> dict[str, Tensor]:
    """The adapter's tensors by name, without the base's."""
    return {name: tensor.detach().clone() for name, tensor in get_peft_model_state_dict(base.unet).items()}


def restore(base: Base, state: dict[str, Tensor]) -> None:
    """Put tensors of :func:`adapter_state` back on the attached adapter."""
    set_peft_model_state_dict(base.unet, state)


def start_from(base: Base, folder: Path) -> None:
    """Give the attached adapter the tensors of a saved one, of this program or of another that diffusers reads (kohya's, say).

    Raises:
        RequestError: the folder holds no adapter, or one of another shape than the attached.
    """
    try:
        state, alphas = StableDiffusionPipeline.lora_state_dict(str(folder), weight_name=_weights_name(folder))
    except (OSError, ValueError, RuntimeError) as error:
        raise RequestError(f"lora.start={folder} cannot be read as an adapter ({str(error).splitlines()[0]}); name another") from error
    found = {name.removeprefix("unet."): tensor for name, tensor in state.items() if name.startswith("unet.")}
    if found and not any(".lora_A." in name for name in found):
        found = convert_unet_state_dict_to_peft(found)
    attached = adapter_state(base)
    unlike = [name for name, tensor in attached.items() if name not in found or found[name].shape != tensor.shape]
    if unlike or len(found) != len(attached):
        raise RequestError(
            f"the adapter in {folder} has other layers or another rank than lora asks for "
            f"({unlike[0] if unlike else sorted(set(found) - set(attached))[0]}); set lora.rank, lora.targets and lora.dora to its own"
        )
    _require_scale(base, folder, alphas)
    restore(base, {name: found[name].to(tensor) for name, tensor in attached.items()})


def _weights_name(folder: Path) -> str:
    """The one file of weights in an adapter's folder.

    Raises:
        RequestError: there is none, or there are several.
    """
    if (folder / WEIGHTS_FILE).is_file():
        return WEIGHTS_FILE
    files = sorted(path.name for path in folder.glob("*.safetensors"))
    if len(files) != 1:
        raise RequestError(f"{folder} holds {len(files) or 'no'} safetensors files; an adapter's folder has one, as {WEIGHTS_FILE}")
    return files[0]


def _require_scale(base: Base, folder: Path, alphas: dict[str, float] | None) -> None:
    """The saved alpha must be the attached one, or the same tensors would act more or less strongly."""
    attached = next(iter(base.unet.peft_config.values())).lora_alpha
    told = {read_card(folder).alpha} if (folder / CARD_FILE).is_file() else {float(alpha) for alpha in (alphas or {}).values()}
    if told - {attached}:
        raise RequestError(f"the adapter in {folder} has alpha {', '.join(f'{a:g}' for a in sorted(told))}; set lora.alpha to it")


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


def save_fused(adapter: Path, base: Base, folder: Path) -> None:
    """Write the base's whole pipeline with a saved adapter's weights added to its own.

    Raises:
        RequestError: the adapter was trained on another base, or the folder is incomplete.
    """
    load_adapter(adapter, base)
    base.pipeline.fuse_lora()
    base.pipeline.unload_lora_weights()
    base.pipeline.save_pretrained(folder, safe_serialization=True)
