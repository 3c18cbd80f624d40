"""Muon: momentum that is made orthogonal before it moves the weights, so that all directions learn alike."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

# Of the quintic that Keller Jordan chose to be steep at zero: https://kellerjordan.github.io/posts/muon/
NS_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
BETAS, EPS = (0.9, 0.999), 1e-8


class Muon(Optimizer):
    """Muon for the kernels of convolutions, AdamW for everything else.

    Like torch's fused optimisers it leaves everything as it is in a step for which `found_inf`, a tensor on its device,
    is not 0, and divides gradients by `grad_scale`; `torch.amp.GradScaler` sets both.

    A small network learns some thousand photos in fewer epochs than with AdamW alone (docs/results.md).
    `torch.optim.Muon` takes matrices only.

    Args:
        params: Parameters, or groups of them; a group's `lr` holds for its kernels, in proportion for the others.
        lr: The rate for kernels.
        momentum: Nesterov's.
        weight_decay: Apart from the gradient, for kernels and others alike.
        adamw_lr: The rate for what is no kernel.
        ns_steps: Of the iteration that makes a matrix orthogonal.
    """

    _step_supports_amp_scaling = True  # torch's word for heeding `found_inf`

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Mapping[str, Any]],
        *,
        lr: float = 0.1,
        momentum: float = 0.6,
        weight_decay: float = 0.05,
        adamw_lr: float = 2e-3,
        ns_steps: int = 3,
    ) -> None:
        if lr <= 0:
            raise ValueError(f"`lr`={lr} is out of range; expected a rate above 0")
        param_list: list[Any] = list(params)
        input_groups: list[dict[str, Any]] = [dict(group) for group in param_list if isinstance(group, Mapping)]
        input_groups = input_groups or [{"params": param_list}]
        param_groups: list[dict[str, Any]] = []
        for group in input_groups:
            group_lr = group.pop("lr", lr)
            kernels = [parameter for parameter in group["params"] if parameter.ndim == 4]
            other_params = [parameter for parameter in group["params"] if parameter.ndim != 4]
            param_groups += [
                group | {"params": kernels, "lr": group_lr, "kernels": True},
                # Fused: one kernel for all, and their count of steps stays on the device, also after a resume.
                group | {"params": other_params, "lr": adamw_lr * group_lr / lr, "kernels": False, "fused": True},
            ]
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "ns_steps": ns_steps}
        super().__init__([group for group in param_groups if group["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move the weights once."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params_with_grad = [parameter for parameter in group["params"] if parameter.grad is not None]
            if group["kernels"]:
                for kernel in params_with_grad:
                    self._muon_step(kernel, group)
            elif params_with_grad:
                self._adamw_step(params_with_grad, group)
        return loss

    def _muon_step(self, kernel: Tensor, group: Mapping[str, Any]) -> None:
        """Muon's step, one matrix a kernel: (out, in, height, width) as (out, in · height · width)."""
        state = self.state[kernel]
        if not state:
            state["momentum"] = torch.zeros_like(kernel)
        found_inf: Tensor | None = getattr(self, "found_inf", None)
        backups = [] if found_inf is None else [(tensor, tensor.clone()) for tensor in (kernel, state["momentum"])]
        grad: Any = kernel.grad
        if (scale := getattr(self, "grad_scale", None)) is not None:
            grad = grad / scale
        momentum = state["momentum"].mul_(group["momentum"]).add_(grad)
        update = grad.add(momentum, alpha=group["momentum"])
        matrix = newton_schulz(update.reshape(len(update), -1), group["ns_steps"])
        aspect = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
        kernel.mul_(1 - group["lr"] * group["weight_decay"])
        kernel.add_(matrix.view_as(kernel), alpha=-group["lr"] * aspect)
        for tensor, backup in backups:
            torch.where(torch.as_tensor(found_inf) > 0, backup, tensor, out=tensor)

    def _adamw_step(self, params_with_grad: list[Tensor], group: Mapping[str, Any]) -> None:
        """AdamW's step."""
        for parameter in params_with_grad:
            if not self.state[parameter]:
                self.state[parameter].update(
                    step=torch.zeros((), device=parameter.device),
                    mean=torch.zeros_like(parameter),
                    square=torch.zeros_like(parameter),
                )
        states = [self.state[parameter] for parameter in params_with_grad]
        adamw(
            params_with_grad,
            [parameter.grad for parameter in params_with_grad if parameter.grad is not None],
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=EPS,
            maximize=False,
            grad_scale=getattr(self, "grad_scale", None),
            found_inf=getattr(self, "found_inf", None),
        )


def newton_schulz(matrix: Tensor, ns_steps: int) -> Tensor:
    """A matrix with the same singular vectors, and all singular values near one (Newton and Schulz's iteration).

    The iteration is x <- (a + b g + c g²) x with g = x xᵀ. It runs on g, the smaller matrix, alone: half the work.

    Args:
        matrix: (rows, columns).
        ns_steps: At least 1; more bring the values closer to one.
    """
    a, b, c = NS_COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if is_tall else matrix
    wide = wide / (wide.norm() + 1e-7)
    gram = wide @ wide.T
    product: Tensor | None = None
    for step in range(ns_steps):
        polynomial = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal().add_(a)
        product = polynomial if product is None else polynomial @ product
        if step + 1 < ns_steps:
            gram = polynomial @ gram @ polynomial
    result = wide if product is None else product @ wide
    return result.T if is_tall else result
