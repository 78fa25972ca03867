"""An adapter's file, of this program, of diffusers' own scripts or of kohya's: what its header says of it; no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize, safe_open

from pathsynth.ledger.adapters import WEIGHTS_FILE
from pathsynth.ledger.errors import RequestError
from pathsynth.models.design import TARGETS, AdapterDesign, Shapes, matching, target_modules
from pathsynth.models.layout import tensor_shapes

SETTINGS_KEY = "lora_adapter_metadata"
"""Where in a header diffusers keeps peft's settings, as JSON."""
_DOWN = re.compile(r"(?P<layer>.+?)(\.lora_A(\.\w+)?|\.lora_down|[._]lora\.down|\.lora_linear_layer\.down)\.weight")
_PREFIXES = {"unet.": "unet", "lora_unet_": "unet", "text_encoder.": "text_encoder", "lora_te_": "text_encoder"}
_OF_XL = ("lora_te1_", "lora_te2_", "text_encoder_2.")
_FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


@dataclass(frozen=True)
class AdapterFile:
    """What a file holds, by part (``unet``, ``text_encoder``).

    ``ranks``: of each layer, under its name with every full stop as ``_`` (kohya's scripts write them so). ``alphas``: all that are
    stated, none where the file states none (diffusers then takes the rank).
    """

    path: Path
    ranks: Mapping[str, Mapping[str, int]]
    alphas: Mapping[str, frozenset[float]]
    rslora: Mapping[str, bool]
    dora: bool
    text_encoder: bool


def weights_file(start: Path) -> Path:
    """The one file of weights that ``lora.start`` names: itself, or in an adapter's folder.

    Raises:
        RequestError: there is none, or there are several.
    """
    if start.is_file():
        if start.suffix != ".safetensors":
            raise RequestError(f"lora.start={start} is no safetensors file; name one, or an adapter's folder")
        return start
    if (start / WEIGHTS_FILE).is_file():
        return start / WEIGHTS_FILE
    files = sorted(start.glob("*.safetensors"))
    if len(files) != 1:
        names = f" ({', '.join(path.name for path in files[:3])})" if files else ""
        raise RequestError(f"lora.start={start} holds {len(files) or 'no'} safetensors files{names}; name an adapter's folder or one file")
    return files[0]


def read_adapter(start: Path) -> AdapterFile:
    """What the file says of its adapter.

    Raises:
        RequestError: it cannot be read, is no adapter, or one of another kind of base.
    """
    path = weights_file(start)
    try:
        shapes = tensor_shapes(path)
        with safe_open(path, framework="numpy") as file:
            settings = json.loads((file.metadata() or {}).get(SETTINGS_KEY, "{}"))
        alphas = _kohya_alphas(path) if any(name.endswith(".alpha") for name in shapes) else {}
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise RequestError(f"lora.start={start} cannot be read as an adapter ({_line(error)}); name another") from error
    _require_lora(path, shapes)
    ranks: dict[str, dict[str, int]] = {}
    for name, shape in shapes.items():
        if (match := _DOWN.fullmatch(name)) and (place := _placed(match["layer"])):
            ranks.setdefault(place[0], {})[place[1]] = shape[0]
    by_part = {part: _of(part, settings) for part in ("unet", "text_encoder")}
    return AdapterFile(
        path,
        ranks,
        {part: _stated(by_part[part]) or alphas.get(part, frozenset()) for part in by_part},
        {part: bool(by_part[part].get("use_rslora")) for part in by_part},
        any("lora_magnitude_vector" in name for name in shapes),
        any(name.startswith(("text_encoder.", "lora_te_")) for name in shapes),
    )


def start_faults(file: AdapterFile, design: AdapterDesign, layers: Shapes | None) -> list[str]:
    """Why a training of ``design`` cannot start from an adapter; ``layers`` of the base's UNet, where they are known."""
    faults = [*_number_faults(file, design), *_switch_faults(file, design)]
    return faults + (_layer_faults(file, design, layers) if layers else [])


def nonfinite(path: Path) -> str:
    """The first tensor of a file that holds NaN or infinity; empty if none does."""
    for name, spec in deserialize(path.read_bytes()):
        if spec["dtype"] in (*_FLOATS, "BF16") and not np.isfinite(_values(spec)).all():
            return str(name)
    return ""


def _number_faults(file: AdapterFile, design: AdapterDesign) -> Iterator[str]:
    """Rank and alpha, in one line with both remedies."""
    ranks = sorted({rank for layers in file.ranks.values() for rank in layers.values()})
    if len(ranks) > 1:
        yield f"the adapter in {file.path} has ranks {_joined(ranks)} in different layers, and a training has one; name another"
        return
    alphas = sorted({alpha for part in file.ranks for alpha in file.alphas[part] or {float(r) for r in ranks}})
    if len(alphas) > 1:
        yield f"the adapter in {file.path} has alphas {_joined(alphas)} in different layers, and a training has one; name another"
        return
    unlike = [
        (name, actual[0], wanted)
        for name, actual, wanted in (("rank", ranks, design.rank), ("alpha", alphas, design.alpha))
        if actual and actual[0] != wanted
    ]
    if unlike:
        has = " and ".join(f"{name} {actual:g}" for name, actual, _ in unlike)
        asks = " and ".join(f"{wanted:g}" for *_, wanted in unlike)
        # alpha follows the rank unless it is set
        names = [name for name, *_ in unlike]
        remedies = [f"lora.{name}={actual:g}" for name, actual in (("rank", ranks[0]), ("alpha", alphas[0])) if name in names]
        if remedies == [f"lora.rank={ranks[0]:g}"]:
            remedies.append(f"lora.alpha={alphas[0]:g}")
        yield f"the adapter in {file.path} has {has}, and lora asks for {asks}; set {' '.join(remedies)}"


def _switch_faults(file: AdapterFile, design: AdapterDesign) -> Iterator[str]:
    for part in file.ranks:
        if file.rslora[part] != design.rslora:
            had = "has" if file.rslora[part] else "lacks"
            yield f"the adapter in {file.path} {had} the scale of rsLoRA; set lora.rslora={str(file.rslora[part]).lower()}"
            break
    if file.dora != design.dora:
        yield f"the adapter in {file.path} is {'a' if file.dora else 'no'} DoRA; set lora.dora={str(file.dora).lower()}"
    if file.text_encoder != design.text_encoder:
        adapts = "adapts the text encoder, too" if file.text_encoder else "does not adapt the text encoder"
        yield f"the adapter in {file.path} {adapts}; set lora.text_encoder={str(file.text_encoder).lower()}"


def _layer_faults(file: AdapterFile, design: AdapterDesign, layers: Shapes) -> list[str]:
    """Whether the UNet's layers are those of ``lora.targets``; if not, which targets they are those of."""
    unet_layers = set(file.ranks.get("unet", {}))
    try:
        wanted = {_flat(name) for name in matching(layers, target_modules(layers, design))}
    except RequestError:
        return []  # said of lora.targets itself
    if unet_layers == wanted:
        return []
    unknown = sorted(unet_layers - {_flat(name) for name in layers})
    if unknown:
        return [f"the adapter in {file.path} has a layer that this base's UNet lacks ({unknown[0]}); name another, or its own base"]
    groups = {**TARGETS, "all-linear": [name for name, shape in layers.items() if len(shape) == 2]}
    fitting = next((group for group, ends in groups.items() if unet_layers == {_flat(name) for name in matching(layers, ends)}), None)
    remedy = f"set lora.targets={fitting}" if fitting else "set lora.targets to its own"
    return [f"the adapter in {file.path} adapts {len(unet_layers)} layers of the UNet, and lora.targets {len(wanted)}; {remedy}"]


def _require_lora(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    of_xl = next((name for name in shapes if name.startswith(_OF_XL)), None)
    if of_xl:
        raise RequestError(f"the adapter in {path} is one for Stable Diffusion XL ({of_xl}); name one of the base's own kind")
    scale = next((name for name in shapes if "dora_scale" in name), None)
    if scale:
        raise RequestError(f"the adapter in {path} is a DoRA that diffusers cannot convert ({scale}); name another")
    if not any((match := _DOWN.fullmatch(name)) and _placed(match["layer"]) for name in shapes):
        first = next(iter(shapes), "no tensor")
        raise RequestError(f"{path} holds no LoRA in the layout of diffusers or kohya (but {first}); name an adapter's folder or file")


def _placed(layer: str) -> tuple[str, str] | None:
    """Part and flat name of a layer; None for those of no part that is known."""
    for prefix, part in _PREFIXES.items():
        if layer.startswith(prefix):
            name = _flat(layer.removeprefix(prefix).replace(".processor.", "."))
            return part, f"{name}_0" if name.endswith("_to_out") else name
    return None


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _of(part: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    prefix = f"{part}."
    return {key.removeprefix(prefix): value for key, value in settings.items() if key.startswith(prefix)}


def _stated(settings: Mapping[str, Any]) -> frozenset[float]:
    """The alphas in peft's settings of a part."""
    if "lora_alpha" not in settings:
        return frozenset()
    return frozenset({float(settings["lora_alpha"]), *map(float, (settings.get("alpha_pattern") or {}).values())})


def _kohya_alphas(path: Path) -> dict[str, frozenset[float]]:
    alphas: dict[str, set[float]] = {}
    for name, spec in deserialize(path.read_bytes()):
        place = _placed(name.removesuffix(".alpha")) if name.endswith(".alpha") else None
        if place:
            alphas.setdefault(place[0], set()).add(float(_values(spec).reshape(-1)[0]))
    return {part: frozenset(values) for part, values in alphas.items()}


def _values(spec: Mapping[str, Any]) -> np.ndarray:
    """The numbers of a tensor; numpy lacks bfloat16, whose bits are the upper half of a float32's."""
    data = bytes(spec["data"])
    if spec["dtype"] == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, {**_FLOATS, "I32": "<i4", "I64": "<i8"}[spec["dtype"]])


def _joined(numbers: list[float] | list[int]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
