"""The effective weights of a layer, computed once and reused as long as its parameters stand."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

_Key = tuple[tuple[int, int, torch.device, torch.dtype], ...]


class EffectiveWeights:
    """Caches what a layer derives from its parameters, in evaluation only.

    The key is each parameter's address, autograd version, device and dtype: an optimiser step,
    ``load_state_dict`` and a move all change it. Nothing is cached in training mode, nor while a
    gradient towards the parameters is wanted. The one change it cannot see is an in-place edit
    through ``parameter.data``, which hides from autograd's version counter: call :meth:`forget`.
    """

    def __init__(self) -> None:
        self._key: _Key | None = None
        self._value: tuple[Tensor, ...] = ()

    def get(
        self, layer: nn.Module, compute: Callable[[], tuple[Tensor, ...]]
    ) -> tuple[Tensor, ...]:
        """``compute()``, or what it gave before if nothing that it depends on has changed."""
        parameters = tuple(layer.parameters(recurse=False))
        wanted = torch.is_grad_enabled() and any(p.requires_grad for p in parameters)
        if layer.training or wanted or torch.compiler.is_compiling():
            return compute()
        key = tuple((p.data_ptr(), p._version, p.device, p.dtype) for p in parameters)
        if key != self._key:
            with torch.no_grad():
                self._value = compute()
            self._key = key
        return self._value

    def forget(self) -> None:
        """Drop what is cached."""
        self._key = None
        self._value = ()
