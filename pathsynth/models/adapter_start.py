"""A training that goes on from a saved adapter: of this program, of diffusers' own scripts, or of kohya's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_peft, convert_unet_state_dict_to_peft
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pathsynth.ledger.adapters import WEIGHTS_FILE
from pathsynth.ledger.errors import RequestError
from pathsynth.models.base import Base
from pathsynth.models.lora import adapted_parts, adapter_state, peft_config_of, restore


def start_from(base: Base, folder: Path) -> None:
    """Give the attached adapter the tensors of a saved one.

    Raises:
        RequestError: the folder holds no adapter, or one of other layers, another rank or another scale than the attached.
    """
    name = _weights_name(folder)
    try:
        with safe_open(folder / name, framework="pt") as file:
            unknown = [key for key in file.keys() if "dora_scale" in key]  # noqa: SIM118 - no mapping
        state, alphas, settings = StableDiffusionPipeline.lora_state_dict(str(folder), weight_name=name, return_lora_metadata=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise RequestError(f"lora.start={folder} cannot be read as an adapter ({str(error).splitlines()[0]}); name another") from error
    if unknown:
        raise RequestError(f"the adapter in {folder} is a DoRA that diffusers cannot convert ({unknown[0]}); name another")
    found = _as_attached(base, state)
    attached = adapter_state(base)
    if "text_encoder" not in adapted_parts(base) and any(key.startswith("text_encoder.") for key in found):
        raise RequestError(f"the adapter in {folder} adapts the text encoder, too; set lora.text_encoder=true")
    unlike = [key for key, tensor in attached.items() if key not in found or found[key].shape != tensor.shape]
    if unlike or len(found) != len(attached):
        raise RequestError(
            f"the adapter in {folder} has other layers or another rank than lora asks for "
            f"({unlike[0] if unlike else sorted(set(found) - set(attached))[0]}); "
            "set lora.rank, lora.targets, lora.dora and lora.text_encoder to its own"
        )
    _require_scale(base, folder, settings, alphas)
    restore(base, {key: found[key].to(tensor) for key, tensor in attached.items()})


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


def _as_attached(base: Base, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names that the attached adapter gives them, whichever script wrote them."""
    unet = _of("unet", state)
    if unet and not any(".lora_A." in key for key in unet):
        unet = convert_unet_state_dict_to_peft(unet)
    text = _of("text_encoder", state)
    if text:
        text = convert_state_dict_to_peft(convert_state_dict_to_diffusers(text))
    if not hasattr(base.text_encoder, "text_model"):  # newer transformers name the layers of a text encoder without it
        text = {key.removeprefix("text_model."): tensor for key, tensor in text.items()}
    parts = {"unet": unet, "text_encoder": text}
    return {f"{part}.{key}": tensor for part, tensors in parts.items() for key, tensor in tensors.items()}


def _of(part: str, state: Mapping[str, Any]) -> dict[str, Any]:
    prefix = f"{part}."
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _require_scale(base: Base, folder: Path, settings: Mapping[str, Any] | None, alphas: Mapping[str, float] | None) -> None:
    """The saved scale must be the attached one, or the same tensors would act more or less strongly.

    A file says it in diffusers' metadata or in kohya's alphas; for one that says nothing diffusers takes alpha = rank.
    """
    for part, module in adapted_parts(base).items():
        attached = peft_config_of(module)
        own = _of(part, settings or {})
        told = set((own.get("alpha_pattern") or {}).values()) | ({own["lora_alpha"]} if own else _alphas(part, alphas) or {attached.r})
        rslora = bool(own.get("use_rslora"))
        if told != {attached.lora_alpha}:
            raise RequestError(f"the adapter in {folder} has alpha {', '.join(f'{a:g}' for a in sorted(told))}; set lora.alpha to it")
        if rslora != attached.use_rslora:
            had = "has" if rslora else "lacks"
            raise RequestError(f"the adapter in {folder} {had} the scale of rsLoRA; set lora.rslora={str(rslora).lower()}")


def _alphas(part: str, alphas: Mapping[str, float] | None) -> set[float]:
    return {float(alpha) for key, alpha in (alphas or {}).items() if key.startswith(f"{part}.")}
