"""Which rule and which rate every tensor of an adapter gets: the same at every rank, and never in silence another."""

from __future__ import annotations

import pytest
import torch
from timm.optim import Muon
from torch import nn

from pathsynth.ledger.errors import RequestError
from pathsynth.models.base import load_base
from pathsynth.models.design import AdapterDesign
from pathsynth.models.lora import adapted_parts, attach
from pathsynth.training.optimizer import adapter_groups, build_optimizer, check_optimizer, format_groups, optimizer_groups

MUON = {"_target_": "timm.optim.Muon", "lr": 6e-3}


def groups_of(base_folder, rank: int, **options) -> dict[str, list[nn.Parameter]]:
    base = load_base(str(base_folder), None, "b", 32, 32)
    attach(base, AdapterDesign(rank, rank, **options), seed=0)
    named = [(f"{part}.{name}", p) for part, module in adapted_parts(base).items() for name, p in module.named_parameters()]
    return adapter_groups(named)


def stepped(optimizer: torch.optim.Optimizer) -> None:
    generator = torch.Generator().manual_seed(5)
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.randn(p.shape, generator=generator)
    optimizer.step()


@pytest.mark.parametrize("rank", [1, 2, 4, 16])
def test_muon_takes_orthogonal_steps_in_every_factor_of_every_rank(small_base_folder, rank):
    optimizer = build_optimizer(MUON, groups_of(small_base_folder, rank, targets="attention+conv"))
    before = {p: p.detach().clone() for group in optimizer.param_groups for p in group["params"]}
    stepped(optimizer)
    for p, old in before.items():
        assert "momentum_buffer" in optimizer.state[p], p.shape
        assert "exp_avg" not in optimizer.state[p], p.shape
        step = (old - p.detach()).flatten(1) / (6e-3 * 0.2 * max(p.shape[0], p[0].numel()) ** 0.5)
        values = torch.linalg.svdvals(step)
        assert values.min() > 0.4, (p.shape, values)  # five Newton–Schulz iterations leave singular values around 1
        assert values.max() < 1.4, (p.shape, values)


def test_groups_are_named_and_counted(small_base_folder):
    made = groups_of(small_base_folder, 2, targets="attention", dora=True)
    named = {g.name: g for g in optimizer_groups(build_optimizer({**MUON, "group_lr": {"unet_up": 1e-2}}, made))}
    assert {name: (g.rule, g.lr) for name, g in named.items()} == {
        "unet_down": ("muon", 6e-3),
        "unet_up": ("muon", 1e-2),
        "unet_magnitude": ("adamw", 6e-3),
    }
    assert sum(g.parameters for g in named.values()) == sum(p.numel() for group in made.values() for p in group)
    assert sum(g.tensors for g in named.values()) == sum(len(group) for group in made.values())
    assert "muon at 0.01 on unet_up" in format_groups(tuple(named.values()))


def test_the_text_encoder_has_groups_of_its_own(small_base_folder):
    made = groups_of(small_base_folder, 2, targets="attention", text_encoder=True)
    assert list(made) == ["unet_down", "unet_up", "text_encoder_down", "text_encoder_up"]


def test_another_optimizer_has_one_rule_for_all(small_base_folder):
    made = groups_of(small_base_folder, 2, targets="attention", dora=True)
    found = optimizer_groups(build_optimizer({"_target_": "torch.optim.AdamW", "lr": 3e-3}, made))
    assert {(g.rule, g.lr) for g in found} == {("adamw", 3e-3)}


def test_a_trained_tensor_without_a_role_is_no_adapter():
    with pytest.raises(ValueError, match=r"unet\.conv_in\.weight is trained and belongs to no adapter"):
        adapter_groups([("unet.conv_in.weight", nn.Parameter(torch.zeros(2, 2)))])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"_target_": "timm.optim.Muonn", "lr": 1e-3}, "Muonn"),
        ({"_target_": "nowhere.Adam", "lr": 1e-3}, "nowhere"),
        ({**MUON, "momentun": 0.9}, "momentun"),
        ({**MUON, "weight_decay": -1}, "weight_decay"),
        ({"_target_": "torch.optim.Muon", "lr": 1e-3}, "2D"),  # torch's own has no rule for convolutions
        ({**MUON, "group_lr": {"up": 1e-3}}, "optimizer.group_lr names up, and this adapter has the groups unet_down, unet_up"),
        ({"_target_": f"{__name__}.muon_by_shape", "lr": 1e-3}, "hands tensors to AdamW by their shape"),
    ],
)
def test_a_wrong_optimizer_is_refused_in_one_line(settings, words):
    with pytest.raises(RequestError, match="optimizer") as refused:
        check_optimizer(settings, magnitudes=False, text_encoder=False)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def muon_by_shape(params, lr):
    return Muon(params, lr=lr)
