"""The Muon optimizer: orthogonal updates of kernels, AdamW for other parameters."""

import pytest
import torch
from torch import nn

from cnn_classifier.training.muon import Muon, newton_schulz
from cnn_classifier.training.optim import build_optimizer

MUON_CONFIG = {"_target_": "cnn_classifier.training.muon.Muon", "lr": 0.1, "weight_decay": 0.0, "adamw_lr": 0.01}


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 2))


def train_steps(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        optimizer.zero_grad()
        net(images).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("shape", [(8, 27), (27, 8), (16, 16)])
def test_newton_schulz_moves_singular_values_close_to_one(shape: tuple[int, int]) -> None:
    matrix = torch.rand(shape, generator=torch.Generator().manual_seed(2)) - 0.5
    values = torch.linalg.svdvals(newton_schulz(matrix, ns_steps=5))
    assert newton_schulz(matrix, ns_steps=5).shape == shape
    assert 0.5 < values.min() <= values.max() < 1.4


def test_kernel_update_has_singular_values_close_to_the_learning_rate() -> None:
    net = network()
    before = net[0].weight.detach().clone()
    train_steps(net, build_optimizer(MUON_CONFIG, net), steps=1)
    update = (net[0].weight - before).reshape(8, -1).detach()
    assert 0.03 < torch.linalg.svdvals(update).min() <= torch.linalg.svdvals(update).max() < 0.14


def test_other_parameters_are_updated_as_by_adamw() -> None:
    muon_net, adamw_net = network(), network()
    for net in (muon_net, adamw_net):
        net[0].requires_grad_(False)  # so that the other layers have the same inputs
    train_steps(muon_net, Muon(muon_net.parameters(), weight_decay=0.1, adamw_lr=0.01))
    train_steps(adamw_net, torch.optim.AdamW(adamw_net.parameters(), lr=0.01, weight_decay=0.1))
    for actual, expected in zip(muon_net.parameters(), adamw_net.parameters(), strict=True):
        torch.testing.assert_close(actual, expected)


def test_weight_decay_applies_to_kernels_and_matrices_only() -> None:
    optimizer = build_optimizer(MUON_CONFIG | {"weight_decay": 0.1}, network())
    assert sorted((group["weight_decay"], group["params"][0].ndim) for group in optimizer.param_groups) == [
        (0.0, 1),
        (0.1, 2),
        (0.1, 4),
    ]


def test_resume_from_state_dict_continues_identically() -> None:
    uninterrupted, resumed = network(), network()
    train_steps(uninterrupted, build_optimizer(MUON_CONFIG, uninterrupted), steps=4)
    first = build_optimizer(MUON_CONFIG, resumed)
    train_steps(resumed, first, steps=2)
    second = build_optimizer(MUON_CONFIG, resumed)
    second.load_state_dict(first.state_dict())
    train_steps(resumed, second, steps=2)
    for expected, actual in zip(uninterrupted.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(actual, expected)


def test_gradients_are_divided_by_grad_scale() -> None:
    plain, scaled = network(), network()
    optimizers = [build_optimizer(MUON_CONFIG, net) for net in (plain, scaled)]
    train_steps(plain, optimizers[0], steps=1)
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    (scaled(images).square().sum() * 1024).backward()
    optimizers[1].grad_scale, optimizers[1].found_inf = torch.tensor(1024.0), torch.tensor(0.0)
    optimizers[1].step()
    for expected, actual in zip(plain.parameters(), scaled.parameters(), strict=True):
        torch.testing.assert_close(actual, expected)
