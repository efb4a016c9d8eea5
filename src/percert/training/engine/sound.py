"""Where numbers stopped being numbers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class NonFiniteError(ValueError):
    """A loss or a gradient that is NaN or infinite: in which step, and in which layer."""


def non_finite(value: Any) -> bool:
    """Whether a tensor, or any in a tuple or list, holds NaN or infinity.

    >>> non_finite((torch.ones(2), torch.tensor([float("nan")])))
    True
    """
    if isinstance(value, Tensor):
        return value.is_floating_point() and not bool(value.isfinite().all())
    if isinstance(value, (tuple, list)):
        return any(map(non_finite, value))
    return False


def blame(network: nn.Module, again: Callable[[], Any]) -> str:
    """What is wrong, in a few words: a weight, or the first layer whose output is not finite.

    ``again`` repeats the forward pass of the batch.
    """
    for name, parameter in network.named_parameters():
        if non_finite(parameter):
            return f"the weight {name}"
    for name, parameter in network.named_parameters():
        if parameter.grad is not None and non_finite(parameter.grad):
            gradient = f"the gradient of {name}"
            break
    else:
        gradient = ""
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(module: nn.Module, given: Any, output: Any) -> None:
            if not found and non_finite(output):
                kind = type(module).__name__
                found.append(
                    f"layer {name} ({kind}), whose input is "
                    + ("not finite either" if non_finite(given) else "finite")
                )

        return look

    handles = [
        module.register_forward_hook(watch(name))
        for name, module in network.named_modules()
        if name and not list(module.children())
    ]
    try:
        with torch.no_grad():
            again()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else gradient or "the loss itself, of finite embeddings"
