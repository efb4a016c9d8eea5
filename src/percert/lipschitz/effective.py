"""The effective weights of a layer, computed once, and what rounding can do with them.

What a layer computes with (a Cayley transform, a scaled kernel) follows from its parameters, and is
cached as long as these stand. How far rounding can move its output depends on how much larger the
terms are than the result that they are summed to (:func:`amplification`).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from percert.device import without_autocast

#: Unit roundoff of what networks are computed in.
UNIT = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}


def amplification(weight: Tensor) -> float:
    """An upper bound of the norm of |W|, the operator with the absolute values of W's weights.

    ``weight`` is a matrix ``(out, in)`` or the kernel ``(out, in, k, k)`` of a stride-1 convolution
    with zero padding: the root of the largest row sum times the largest column sum (Schur).

    >>> amplification(torch.tensor([[3.0, -4.0]])), amplification(-torch.ones(1, 1, 3, 3))
    (5.29..., 9.0...)
    """
    # Sums of so many terms of one sign are off by less than 1e-9 of themselves in float64.
    size = weight.detach().abs().double()
    rows = size.flatten(1).sum(1).max()
    columns = size.transpose(0, 1).flatten(1).sum(1).max()
    return float((rows * columns).sqrt()) * (1 + 1e-9)


def weight_sizes(weight: Tensor, bias: Tensor) -> tuple[float, float]:
    """What rounding analysis asks of a layer: the amplification of its weight, |bias|."""
    return amplification(weight), float(bias.detach().double().norm())


def gamma(terms: int, unit: float) -> float:
    """n u / (1 - n u): the relative rounding of n operations in any order (Higham, Lemma 3.1).

    Infinite where it says nothing.

    >>> gamma(1000, UNIT[torch.float64]) < 1.2e-13
    True
    """
    share = terms * unit
    return share / (1 - share) if share < 1 else float("inf")


class EffectiveWeights:
    """Caches what a layer computes with, in evaluation only: all of it together, or none.

    What is cached is dropped when a parameter or buffer is replaced, moved, changes its dtype or is
    edited in place (an optimiser step, ``load_state_dict``), and when the layer changes between
    training and evaluation. Nothing is cached in training mode, nor while a gradient towards the
    parameters is wanted. Copies and pickles of a layer start empty. The one change it cannot see is
    an in-place edit through ``parameter.data`` in evaluation mode, which hides from autograd's
    version counter: call :meth:`forget`, or ``layer.eval()``. Until then the layer is the one that
    it was, whole, and as proven: forward reads nothing but what is cached here.
    """

    def __init__(self) -> None:
        self._seen: tuple[tuple[Tensor, int], ...] | None = None
        self._value: tuple[Tensor, ...] = ()
        self._sizes: tuple[float, ...] | None = None

    def get(
        self, layer: nn.Module, compute: Callable[[], tuple[Tensor, ...]]
    ) -> tuple[Tensor, ...]:
        """``compute()``, or what it gave before if nothing that it depends on has changed."""
        parameters = (*layer.parameters(recurse=False), *layer.buffers(recurse=False))
        wanted = torch.is_grad_enabled() and any(p.requires_grad for p in parameters)
        # Inference tensors have no version counter. A compiler could not guard on a version.
        hidden = torch.compiler.is_compiling() or any(p.is_inference() for p in parameters)
        if layer.training or wanted or hidden:
            # Not under autocast: a matrix whose inverse is rounded to bf16 is not orthogonal.
            with without_autocast(parameters[0].device):
                return compute()
        if not self._unchanged(parameters):
            try:
                for parameter in parameters:
                    parameter.detach().data_ptr()
            except RuntimeError:
                # Inside a torch.func transform new tensors are wrappers that die with it.
                return compute()
            # Not in inference mode: what is cached must serve later calls that want gradients
            # towards their input. Not under autocast: a scale rounded to bf16 proves nothing.
            with (
                torch.inference_mode(False),
                torch.no_grad(),
                without_autocast(parameters[0].device),
            ):
                self._value = tuple(value.detach() for value in compute())
                self._sizes = None
                # The alias shares memory and version counter, and keeps the memory from being
                # given to another parameter at the same address.
                self._seen = tuple((p.detach(), p._version) for p in parameters)
        return self._value

    def sizes(
        self,
        layer: nn.Module,
        compute: Callable[[], tuple[Tensor, ...]],
        measure: Callable[..., tuple[float, ...]],
    ) -> tuple[float, ...]:
        """``measure(*get(layer, compute))``, kept as long as these are."""
        with torch.no_grad():
            value = self.get(layer, compute)
            if value is not self._value:
                return measure(*value)
            if self._sizes is None:
                self._sizes = measure(*value)
        return self._sizes

    def forget(self) -> None:
        """Drop what is cached."""
        self._seen = None
        self._value = ()
        self._sizes = None

    def _unchanged(self, parameters: tuple[Tensor, ...]) -> bool:
        return self._seen is not None and all(
            p.data_ptr() == alias.data_ptr()
            and p._version == version
            and (p.device, p.dtype, p.shape) == (alias.device, alias.dtype, alias.shape)
            for p, (alias, version) in zip(parameters, self._seen, strict=True)
        )

    def __reduce__(self) -> tuple[type["EffectiveWeights"], tuple[()]]:
        return EffectiveWeights, ()
