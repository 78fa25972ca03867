"""What an adapter is made of, and which layers of a UNet it adapts; no torch, so that a planner can tell."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pathsynth.config import LoraConfig
from pathsynth.config.schema import REGEX
from pathsynth.ledger.errors import RequestError
from pathsynth.vocabulary.spelling import nearest_hint

Shapes = Mapping[str, tuple[int, ...]]
"""A UNet's linear layers and convolutions by name: the shape of each one's weight, (out, in) or (out, in, k, k)."""

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
class AdapterDesign:
    """What an adapter is made of; the fields are those of ``LoraConfig``, where they are explained."""

    rank: int
    alpha: float
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "attention"
    dora: bool = False
    rslora: bool = False
    init: str = "gaussian"
    text_encoder: bool = False


def design(lora: LoraConfig) -> AdapterDesign:
    """The design that the settings ask for; without an alpha it is as large as the rank."""
    options = (lora.dropout, lora.targets, lora.dora, lora.rslora, lora.init, lora.text_encoder)
    return AdapterDesign(lora.rank, lora.alpha or lora.rank, *options)


def target_modules(layers: Shapes, design: AdapterDesign) -> list[str] | str:
    """What peft takes for ``design.targets``: a list of ends of names, or a pattern.

    Raises:
        RequestError: the targets match no layer, or layers that this kind of adapter cannot be reloaded on.
    """
    targets = design.targets
    wanted: list[str] | str
    if isinstance(targets, tuple):
        wanted = list(targets)
        for end in wanted:
            _require_layer(layers, end)
    elif targets == "all-linear":
        wanted = [name for name, shape in layers.items() if len(shape) == 2]
    else:
        wanted = targets.removeprefix(REGEX) if targets.startswith(REGEX) else TARGETS[targets]
    matched = list(matching(layers, wanted))
    if not matched:
        raise RequestError(f"lora.targets={targets} matches no layer of this base's UNet; choose another")
    convolutions = [name for name in matched if len(layers[name]) > 2]
    if design.dora and convolutions:
        raise RequestError(
            f"lora.dora=true cannot be reloaded on convolutions ({convolutions[0]} and {len(convolutions) - 1} more); "
            "set lora.targets to attention or all-linear"
        )
    return wanted


def matching(layers: Shapes, wanted: list[str] | str) -> Iterator[str]:
    """The layers that peft adapts for what :func:`target_modules` gives."""
    for name in layers:
        ends = isinstance(wanted, list) and any(name == end or name.endswith(f".{end}") for end in wanted)
        if ends or (isinstance(wanted, str) and re.fullmatch(wanted, name)):
            yield name


def largest_rank(layers: Shapes, names: list[str]) -> int:
    """The rank above which no layer's update can gain anything: the largest of their shorter sides, kernels unrolled."""
    return max(min(layers[name][0], math.prod(layers[name][1:])) for name in names)


def _require_layer(layers: Shapes, end: str) -> None:
    if not any(True for _ in matching(layers, [end])):
        known = {name.rsplit(".", 1)[-1] for name in layers}
        raise RequestError(f"lora.targets: no linear layer or convolution is called {end}{nearest_hint(end, sorted(known))}")
