"""Muon moves kernels by orthogonal matrices, and everything else as AdamW does."""

import pytest
import torch
from torch import nn

from cnn_classifier.training.muon import Muon, newton_schulz
from cnn_classifier.training.optim import build_optimizer

RECIPE = {"_target_": "cnn_classifier.training.muon.Muon", "lr": 0.1, "weight_decay": 0.0, "adamw_lr": 0.01}


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 2))


def learn(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        optimizer.zero_grad()
        net(images).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("shape", [(8, 27), (27, 8), (16, 16)])
def test_the_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.rand(shape, generator=torch.Generator().manual_seed(2)) - 0.5
    values = torch.linalg.svdvals(newton_schulz(matrix, ns_steps=5))
    assert newton_schulz(matrix, ns_steps=5).shape == shape
    assert 0.5 < values.min() <= values.max() < 1.4


def test_a_kernel_moves_by_its_rate_in_all_directions() -> None:
    net = network()
    before = net[0].weight.detach().clone()
    learn(net, build_optimizer(RECIPE, net), steps=1)
    moved = (net[0].weight - before).reshape(8, -1).detach()
    assert 0.03 < torch.linalg.svdvals(moved).min() <= torch.linalg.svdvals(moved).max() < 0.14


def test_what_is_no_kernel_moves_as_adamw_moves_it() -> None:
    ours, theirs = network(), network()
    for net in (ours, theirs):
        net[0].requires_grad_(False)  # what is to be the same must see the same
    learn(ours, Muon(ours.parameters(), weight_decay=0.1, adamw_lr=0.01))
    learn(theirs, torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1))
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_weight_decay_falls_on_kernels_and_matrices_alone() -> None:
    optimizer = build_optimizer(RECIPE | {"weight_decay": 0.1}, network())
    assert sorted((group["weight_decay"], group["params"][0].ndim) for group in optimizer.param_groups) == [
        (0.0, 1),
        (0.1, 2),
        (0.1, 4),
    ]


def test_it_goes_on_from_what_it_saved() -> None:
    whole, parts = network(), network()
    learn(whole, build_optimizer(RECIPE, whole), steps=4)
    first = build_optimizer(RECIPE, parts)
    learn(parts, first, steps=2)
    second = build_optimizer(RECIPE, parts)
    second.load_state_dict(first.state_dict())
    learn(parts, second, steps=2)
    for mine, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_scaled_gradients_are_unscaled_as_the_scaler_says() -> None:
    plain, scaled = network(), network()
    optimizers = [build_optimizer(RECIPE, net) for net in (plain, scaled)]
    learn(plain, optimizers[0], steps=1)
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    (scaled(images).square().sum() * 1024).backward()
    optimizers[1].grad_scale, optimizers[1].found_inf = torch.tensor(1024.0), torch.tensor(0.0)
    optimizers[1].step()
    for mine, other in zip(plain.parameters(), scaled.parameters(), strict=True):
        torch.testing.assert_close(mine, other)
