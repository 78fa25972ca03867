"""A base's folder in diffusers layout, checked by its settings and the headers of its weights before anything is loaded; no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

INDEX = "model_index.json"
_PIPELINES = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline")
"""Classes whose parts are those of Stable Diffusion 1 and 2."""
_PARTS: Mapping[str, tuple[str, str]] = {
    "unet": ("UNet2DConditionModel", "diffusion_pytorch_model"),
    "vae": ("Autoencoder", "diffusion_pytorch_model"),
    "text_encoder": ("CLIPTextModel", "model"),
}
"""Parts with weights: how the name of the class begins, and the file's."""
_SETTINGS: Mapping[str, str] = {
    **dict.fromkeys(_PARTS, "config.json"),
    "scheduler": "scheduler_config.json",
    "tokenizer": "tokenizer_config.json",
}
_SINGLE_FILES = (".safetensors", ".ckpt", ".pt", ".bin")
_LOAD = "StableDiffusionPipeline.from_pretrained"
_COMPLETE = "set base.path to a complete diffusers folder"


@dataclass(frozen=True)
class _Layout:
    """A folder's settings by part; a part whose file is missing or damaged has none."""

    folder: Path
    settings: Mapping[str, Mapping[str, Any]]

    def of(self, part: str, key: str, default: Any) -> Any:
        return self.settings[part].get(key, default)


def layout_faults(path: Path) -> list[str]:
    """What keeps the base at ``path`` from being used, a line each with its remedy; weights are opened, not read.

    A folder that holds no model_index.json has no faults here: :func:`pathsynth.stages.fingerprints.base_source` says that.
    """
    if path.is_file() and path.suffix in _SINGLE_FILES:
        convert = f'StableDiffusionPipeline.from_single_file("{path}").save_pretrained("{path.with_suffix("")}")'
        return [f"base.path={path} is a single file; convert it once with diffusers, {convert}, and set base.path to that folder"]
    if not (path / INDEX).is_file():
        return []
    index, faults = _read(path / INDEX)
    faults += [] if faults else _class_faults(path, index)
    if faults:
        return faults
    settings, faults = {}, []
    for part, name in _SETTINGS.items():
        settings[part], unread = _read(path / part / name)
        faults += unread
    faults += _tokenizer_faults(path / "tokenizer")
    faults += [] if faults else _fit_faults(_Layout(path, settings))
    return faults + [fault for part in _PARTS for fault in _weights_faults(path, part)]


def class_fault(index: Path) -> str:
    """Why a pipeline is none that is drawn with, by its model_index.json alone; empty if it is one."""
    settings, faults = _read(index)
    return next(iter(faults or _class_faults(index.parent, settings)), "")


def unet_layers(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of the weight of each linear layer and convolution of a base's UNet, by name, from the headers of its files.

    Raises:
        OSError, ValueError, KeyError, SafetensorError: they cannot be read.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for file in _weight_files(folder / "unet", _PARTS["unet"][1]):
        shapes |= tensor_shapes(file)
    end = ".weight"
    return {name.removesuffix(end): shape for name, shape in shapes.items() if name.endswith(end) and len(shape) in (2, 4)}


def tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Shapes by name, from the header of a safetensors file.

    Raises:
        OSError, SafetensorError: the file cannot be read, or is cut.
    """
    with safe_open(file, framework="numpy") as opened:
        names: list[str] = opened.keys()  # a safetensors file is no mapping
        return {name: tuple(opened.get_slice(name).get_shape()) for name in names}


def _read(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The settings in a JSON file, and what is wrong with it."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, [f"the base at {_base_of(path)} lacks {path.relative_to(_base_of(path))}; {_COMPLETE}"]
    except (OSError, ValueError) as error:
        return {}, [f"{path} cannot be read ({error}); {_COMPLETE}"]
    return (settings, []) if isinstance(settings, dict) else ({}, [f"{path} holds no settings; {_COMPLETE}"])


def _base_of(path: Path) -> Path:
    return path.parent if path.name == INDEX else path.parent.parent


def _class_faults(folder: Path, index: Mapping[str, Any]) -> list[str]:
    name = index.get("_class_name", _PIPELINES[0])
    if name not in _PIPELINES:
        return [f"the base at {folder} is a {name}, and only bases of {_PIPELINES[0]} (Stable Diffusion 1 and 2) are trained; choose one"]
    faults = []
    for part, (begins, _) in _PARTS.items():
        kind = (index.get(part) or [None, None])[1] if isinstance(index.get(part), list) else None
        if not isinstance(kind, str):
            faults.append(f"{INDEX} of the base at {folder} names no {part}; {_COMPLETE}")
        elif not kind.startswith(begins):
            faults.append(f"the {part} of the base at {folder} is a {kind}, and should be a {begins}…; {_COMPLETE}")
    return faults


def _tokenizer_faults(folder: Path) -> list[str]:
    older = all((folder / name).is_file() for name in ("vocab.json", "merges.txt"))
    if not folder.is_dir() or older or (folder / "tokenizer.json").is_file():
        return []
    return [f"the base at {folder.parent} has no words in tokenizer (tokenizer.json, or vocab.json and merges.txt); {_COMPLETE}"]


def _fit_faults(layout: _Layout) -> list[str]:
    """Parts that do not fit each other, or a UNet that wants more than a text."""
    where = f"the base at {layout.folder}"
    latents = layout.of("vae", "latent_channels", 4)
    faults = [
        f"the UNet of {where} has {key} {channels}, and its autoencoder {latents} latent_channels; choose a text-to-image base"
        for key in ("in_channels", "out_channels")
        if (channels := layout.of("unet", key, 4)) != latents
    ]
    width = layout.of("text_encoder", "hidden_size", 512)
    wanted = layout.of("unet", "encoder_hid_dim", None) or layout.of("unet", "cross_attention_dim", 1280)
    if any(side != width for side in (wanted if isinstance(wanted, list) else [wanted])):
        reads = f"the UNet of {where} has cross_attention_dim {wanted}"
        faults.append(f"{reads}, and its text encoder hidden_size {width}; set base.path to one whose parts fit")
    for key in ("addition_embed_type", "class_embed_type", "num_class_embeds"):
        if layout.of("unet", key, None) is not None:
            faults.append(f"the UNet of {where} needs more than a text ({key}={layout.of('unet', key, None)}); choose another base")
    kind = layout.of("scheduler", "prediction_type", "epsilon")
    if kind not in ("epsilon", "v_prediction"):
        faults.append(f"the scheduler of {where} has prediction_type {kind}; choose a base with epsilon or v_prediction")
    return faults


def _weights_faults(folder: Path, part: str) -> Iterator[str]:
    stem = _PARTS[part][1]
    place = folder / part
    try:
        files = _weight_files(place, stem)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        yield f"{place / stem}.safetensors.index.json cannot be read ({error}); {_COMPLETE}"
        return
    if not files:
        yield _missing(folder, part, stem)
    for file in files:
        try:
            tensor_shapes(file)
        except FileNotFoundError:
            yield f"the base at {folder} lacks {file.relative_to(folder)}; {_COMPLETE}"
        except (OSError, SafetensorError) as error:
            yield f"{file} cannot be read as safetensors ({error}; is it cut short, or a Git LFS pointer?); {_COMPLETE}"


def _weight_files(place: Path, stem: str) -> list[Path]:
    """The files of a part's weights: one, or those that an index lists."""
    if (place / f"{stem}.safetensors").is_file():
        return [place / f"{stem}.safetensors"]
    index = place / f"{stem}.safetensors.index.json"
    if not index.is_file():
        return []
    return [place / name for name in sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))]


def _missing(folder: Path, part: str, stem: str) -> str:
    """What to say of a part without weights of the usual name."""
    lacks = f"the base at {folder} lacks {part}/{stem}.safetensors"
    variant = next(iter(sorted((folder / part).glob(f"{stem}.*.safetensors"))), None)
    if variant:
        name = variant.name.removeprefix(f"{stem}.").removesuffix(".safetensors")
        return f'{lacks} (only {variant.name} is there); save it once, {_LOAD}("{folder}", variant="{name}").save_pretrained(…)'
    pickled = next(iter(sorted((folder / part).glob("*.bin"))), None)
    if pickled:
        save = f'{_LOAD}("{folder}", use_safetensors=False).save_pretrained(…)'
        return f"{lacks} (only {pickled.name}, which may run code when it is loaded); save it once as safetensors, {save}"
    return f"{lacks}; {_COMPLETE}"
