"""The optimizer: which rule and which learning rate every trained tensor gets. Groups are named, so nothing falls back in silence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import hydra.utils
import torch
from hydra.errors import InstantiationException
from timm.optim import Muon
from torch import nn
from torch.optim import Optimizer

from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.records import OptimizerGroup

GROUP_LR = "group_lr"
"""Key of the optimizer's settings that holds the learning rate of single groups, by name."""

_ROLES = {"lora_A": "down", "lora_B": "up", "lora_magnitude_vector": "magnitude"}
"""peft's names of an adapter's tensors, and the roles that they have: W + scale · up · down, and DoRA's lengths of columns."""


def adapter_groups(named: Iterable[tuple[str, nn.Parameter]]) -> dict[str, list[nn.Parameter]]:
    """An adapter's trained tensors by part and role: ``unet_down``, ``unet_up``, ``unet_magnitude``, ``text_encoder_down``, ….

    Args:
        named: parameters under names like ``unet.mid_block.….lora_A.default.weight``; frozen ones are passed over.

    Raises:
        ValueError: a trained tensor belongs to no adapter.
    """
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        words = name.split(".")
        role = next((role for key, role in _ROLES.items() if key in words), None)
        if role is None:
            raise ValueError(f"{name} is trained and belongs to no adapter")
        groups.setdefault(f"{words[0]}_{role}", []).append(parameter)
    return groups


def build_optimizer(settings: Mapping[str, Any], groups: Mapping[str, Sequence[nn.Parameter]]) -> Optimizer:
    """The optimizer that ``settings`` name, over named groups.

    timm's Muon takes orthogonal steps in a tensor or hands it to AdamW, by the shape. Here each group says which, so that adapters of
    every rank are trained by one rule: every tensor with two or more dimensions gets orthogonal steps, vectors get AdamW's.

    Args:
        settings: ``_target_``, the class's arguments, and ``group_lr`` (learning rates of single groups, by name).
        groups: tensors by the group's name.

    Raises:
        RequestError: there is no such class or group, or the class refuses its arguments or a tensor's shape.
    """
    arguments = {key: value for key, value in settings.items() if key != GROUP_LR}
    rates = _group_rates(settings, groups)
    try:
        factory = hydra.utils.instantiate(arguments, _partial_=True)
        routed = isinstance(factory.func, type) and issubclass(factory.func, Muon)
        described = [
            {"name": name, "params": list(tensors), **({"lr": rates[name]} if name in rates else {}), **(_route(tensors) if routed else {})}
            for name, tensors in groups.items()
        ]
        optimizer = factory(described)
    except (InstantiationException, TypeError, ValueError) as error:
        raise RequestError(f"optimizer cannot be made: {_one_line(error)}; correct optimizer.*") from error
    if isinstance(optimizer, Muon) and not routed:
        raise RequestError(f"optimizer._target_={settings['_target_']} hands tensors to AdamW by their shape; name timm.optim.Muon itself")
    return optimizer


def optimizer_groups(optimizer: Optimizer) -> tuple[OptimizerGroup, ...]:
    """What each group of a new optimizer (before a schedule changes its rates) does."""
    return tuple(
        OptimizerGroup(
            group["name"], _rule(optimizer, group), len(group["params"]), sum(p.numel() for p in group["params"]), _rate(optimizer, group)
        )
        for group in optimizer.param_groups
    )


def format_groups(groups: Sequence[OptimizerGroup]) -> str:
    """One line for the log: "optimizer: muon at 0.006 on unet_down (31 tensors, 210,944 parameters), …"."""
    return "optimizer: " + ", ".join(
        f"{g.rule} at {g.lr:g} on {g.name} ({g.tensors} tensors, {g.parameters:,} parameters)" for g in groups
    )


def check_optimizer(settings: Mapping[str, Any], *, magnitudes: bool, text_encoder: bool) -> None:
    """Build the optimizer on small stand-ins for an adapter's tensors, so that a wrong setting is found before anything is trained.

    Args:
        settings: as for :func:`build_optimizer`.
        magnitudes: the adapter has DoRA's vectors.
        text_encoder: the text encoder has an adapter, too.

    Raises:
        RequestError: as :func:`build_optimizer`.
    """
    shapes: dict[str, list[tuple[int, ...]]] = {"down": [(2, 8), (2, 8, 3, 3)], "up": [(8, 2), (8, 2, 1, 1)]}
    if magnitudes:
        shapes["magnitude"] = [(8,)]
    parts = ("unet", "text_encoder") if text_encoder else ("unet",)
    groups = {
        f"{part}_{role}": [nn.Parameter(torch.zeros(shape)) for shape in chosen] for part in parts for role, chosen in shapes.items()
    }
    build_optimizer(settings, groups)


def _group_rates(settings: Mapping[str, Any], groups: Mapping[str, Sequence[nn.Parameter]]) -> dict[str, float]:
    rates = dict(settings.get(GROUP_LR) or {})
    unknown = [name for name in rates if name not in groups]
    if unknown:
        known = ", ".join(groups)
        raise RequestError(f"optimizer.{GROUP_LR} names {unknown[0]}, and this adapter has the groups {known}; name one of them")
    return rates


def _route(tensors: Sequence[nn.Parameter]) -> dict[str, bool]:
    """Which of timm's two rules a group takes; a group holds matrices (or convolutions) alone or vectors alone.

    Raises:
        ValueError: it holds both.
    """
    matrices = {tensor.ndim > 1 for tensor in tensors}
    if len(matrices) > 1:
        raise ValueError("a group holds matrices and vectors, which Muon updates by different rules")
    return {"use_muon": True} if matrices == {True} else {"use_fallback": True}


def _rule(optimizer: Optimizer, group: Mapping[str, Any]) -> str:
    if isinstance(optimizer, Muon) and group.get("use_fallback"):
        return "nadamw" if group["nesterov"] else "adamw"
    return type(optimizer).__name__.lower()


def _rate(optimizer: Optimizer, group: Mapping[str, Any]) -> float:
    scaled = isinstance(optimizer, Muon) and group.get("use_fallback")
    return float(group["lr"] * group["fallback_lr_scale"] if scaled else group["lr"])


def _one_line(error: Exception) -> str:
    cause = error.__cause__ or error
    return " ".join(str(cause).split())
