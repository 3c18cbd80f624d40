"""The Muon optimizer: momentum updates orthogonalized by a Newton-Schulz iteration."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

# Coefficients of the quintic polynomial of https://kellerjordan.github.io/posts/muon/, with a steep slope at zero.
NS_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
BETAS, EPS = (0.9, 0.999), 1e-8


class Muon(Optimizer):
    """An `Optimizer` that applies Muon to convolution kernels and AdamW to all other parameters.

    As torch's fused optimizers, it skips a step if the tensor `found_inf` is not 0, and divides gradients by
    `grad_scale`. `torch.amp.GradScaler` sets both.

    A small network needs fewer epochs on a few thousand photos than with AdamW alone (docs/results.md).
    `torch.optim.Muon` supports matrices only.

    Args:
        params: The parameters, or parameter groups. The `lr` of a group applies to its kernels; the learning rate of
            its other parameters is scaled by the same factor.
        lr: The learning rate of kernels.
        momentum: The coefficient of the Nesterov momentum of kernels.
        weight_decay: The decoupled weight decay of all parameters.
        adamw_lr: The learning rate of all other parameters.
        ns_steps: The number of Newton-Schulz iterations.

    Raises:
        ValueError: If `lr` is not positive.
    """

    _step_supports_amp_scaling = True  # torch's name for support of `found_inf` and `grad_scale`

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
            raise ValueError(f"lr={lr} is out of range: expected a number above 0")
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
                # Fused: one GPU kernel for all parameters; the step count stays on the device, also after a resume.
                group | {"params": other_params, "lr": adamw_lr * group_lr / lr, "kernels": False, "fused": True},
            ]
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "ns_steps": ns_steps}
        super().__init__([group for group in param_groups if group["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Perform one optimization step.

        Args:
            closure: A function that computes the gradients and returns the loss, optional.
        """
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
        """Update a kernel (out, in, height, width) as a matrix (out, in · height · width)."""
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
        """Update parameters with AdamW."""
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
    """Orthogonalize a matrix: keep its singular vectors and move all singular values close to one.

    The Newton-Schulz iteration is x <- (a + b g + c g²) x with g = x xᵀ. It is computed on g only, the smaller matrix,
    which halves the cost.

    Args:
        matrix: The matrix, shape (rows, columns).
        ns_steps: The number of iterations, at least 1; more iterations move the singular values closer to one.

    Returns:
        A matrix of the same shape.
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
