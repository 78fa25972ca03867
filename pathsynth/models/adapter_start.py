"""A training that continues from a saved adapter: of this program, of diffusers' own scripts, or of kohya's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_peft, convert_unet_state_dict_to_peft
from torch import Tensor

from pathsynth.ledger.errors import RequestError
from pathsynth.models.adapter_file import read_adapter, start_faults
from pathsynth.models.base import Base
from pathsynth.models.design import AdapterDesign
from pathsynth.models.lora import adapted_parts, adapter_state, peft_config_of, restore


def start_from(base: Base, start: Path) -> None:
    """Give the attached adapter the tensors of a saved one: a file, or the one in a folder.

    Raises:
        RequestError: there is no adapter, or one of other layers, another rank or another scale than the attached.
    """
    file = read_adapter(start)
    faults = start_faults(file, _attached_design(base), None)
    if faults:
        raise RequestError(*faults)
    try:
        state = StableDiffusionPipeline.lora_state_dict(str(file.path.parent), weight_name=file.path.name, return_lora_metadata=True)[0]
    except (OSError, ValueError, RuntimeError) as error:
        raise RequestError(f"lora.start={start} cannot be read as an adapter ({str(error).splitlines()[0]}); name another") from error
    converted = _as_attached(base, state)
    attached = adapter_state(base)
    unlike = [key for key, tensor in attached.items() if key not in converted or converted[key].shape != tensor.shape]
    if unlike or len(converted) != len(attached):
        raise RequestError(
            f"the adapter in {start} has other layers or another rank than lora asks for "
            f"({unlike[0] if unlike else sorted(set(converted) - set(attached))[0]}); "
            "set lora.rank, lora.targets, lora.dora and lora.text_encoder to its own"
        )
    restore(base, {key: converted[key].to(tensor) for key, tensor in attached.items()})


def _attached_design(base: Base) -> AdapterDesign:
    """What a saved adapter must agree with; its layers are compared by their tensors."""
    peft = peft_config_of(base.unet)
    text_encoder = "text_encoder" in adapted_parts(base)
    return AdapterDesign(peft.r, peft.lora_alpha, dora=peft.use_dora, rslora=peft.use_rslora, text_encoder=text_encoder)


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
