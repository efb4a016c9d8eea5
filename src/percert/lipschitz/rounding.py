"""How far floating point can move what a network computes: a bound, layer by layer, not a sample.

The standard model of rounding (Higham, Accuracy and Stability of Numerical Algorithms, chapter 3):
a sum of n products, in whatever order, is off by at most gamma_n times the sum of their absolute
values. With f the exact layer, g the computed one, L the bound of f, and z, z' its exact and
computed input,

    |g(z') - f(z)| <= |g(z') - f(z')| + L |z' - z|,

so an error passes a layer as any change does, and the layer adds its own, which grows with the
length of z'. Both lengths are carried from layer to layer; each line is derived in
docs/concepts/certificates.md.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from percert.lipschitz.centre import Centre
from percert.lipschitz.effective import UNIT, gamma
from percert.lipschitz.fixed_layers import (
    Abs,
    AddConstant,
    Flatten,
    FlipConcat,
    HalfAbs,
    L2Pool,
    MaxMin,
    NormOnePool,
    SpaceToDepth,
    SubtractMean,
    Truncate,
    ZeroChannelPad,
)
from percert.lipschitz.mirror import (
    MirrorFold,
    MirrorHaar,
    MirrorLift,
    MirrorSpaceToDepth,
    MirrorZeroPad,
)
from percert.lipschitz.network import FoldedMix, FoldedReflector, FoldedSLL, LipschitzNetwork
from percert.lipschitz.orthogonal import OrthogonalMix, Shift
from percert.lipschitz.reflector import ReflectorConv
from percert.lipschitz.sll import SLLConv, SLLDense


@dataclass(frozen=True)
class Signal:
    """What is known of every input of a layer: ``norm`` >= |z|, ``error`` >= |z' - z|.

    ``pixels`` is the number of places that a convolution visits, 1 once the features are flat.
    """

    norm: float
    error: float
    pixels: int

    def then(self, own: float, *, grown: float = 0.0) -> "Signal":
        """After a 1-Lipschitz layer with an error of its ``own``, which maps 0 to ``grown``."""
        return replace(self, norm=self.norm + grown, error=self.error + own)

    @property
    def reach(self) -> float:
        """The length of the computed input."""
        return self.norm + self.error


def has_rounding(network: nn.Module) -> bool:
    """Whether every layer of ``network`` is of a kind whose rounding is bounded here."""
    if type(network) is FlipConcat:
        return has_rounding(network.get_submodule("network"))
    if type(network) is LipschitzNetwork or type(network) is nn.Sequential:
        inside = network.layers if isinstance(network, LipschitzNetwork) else network
        return all(has_rounding(layer) for layer in inside.children())
    return type(network) in RULES


def rounding(network: nn.Module, signal: Signal, dtype: torch.dtype) -> Signal:
    """What is known of the output of ``network``, computed in ``dtype``, from that of its input.

    The exact network is the one with the effective weights as they are held. The bound is infinite
    where it proves nothing: for less than float32. Raises ``ValueError`` for a layer that is not
    one of percert's.

    >>> layer, signal = OrthogonalMix(64).eval(), Signal(norm=10.0, error=0.0, pixels=256)
    >>> for dtype in (torch.float32, torch.float64):
    ...     print(f"{rounding(layer, signal, dtype).error:.0e}")
    3e-04
    5e-13
    """
    unit = UNIT.get(dtype, math.inf)
    if type(network) is FlipConcat:
        # |(z + z', |z - z'|)| / 2 is at most the longer of the two, and so is its error.
        inner = rounding(network.get_submodule("network"), signal, dtype)
        return inner.then(gamma(1, unit) * inner.reach * math.sqrt(2))
    if type(network) is LipschitzNetwork or type(network) is nn.Sequential:
        inside = network.layers if isinstance(network, LipschitzNetwork) else network
        for layer in inside.children():
            signal = rounding(layer, signal, dtype)
        return signal
    rule = RULES.get(type(network))
    if rule is None:
        raise ValueError(f"{type(network).__name__}: no bound of its rounding is known")
    return rule(network, signal, unit)


Rule = Callable[[nn.Module, Signal, float], Signal]


def _moves(layer: nn.Module, signal: Signal, unit: float) -> Signal:
    """Values are moved, change their sign, are dropped or joined by zeros: nothing is rounded."""
    return signal


def _folds(layer: nn.Module, signal: Signal, unit: float) -> Signal:
    factor = int(layer.factor)  # type: ignore[arg-type]  # nn.Module's attributes are untyped
    return replace(signal, pixels=signal.pixels // factor**2)


def _flat(layer: nn.Module, signal: Signal, unit: float) -> Signal:
    return replace(signal, pixels=1)


def _haar(layer: nn.Module, signal: Signal, unit: float) -> Signal:
    """Sums of four values times +-1/2; the matrix of absolute values has norm 2."""
    quarter = replace(signal, pixels=signal.pixels // 4)
    return quarter.then(2 * gamma(4, unit) * signal.reach)


def _mirror_fold(layer: nn.Module, signal: Signal, unit: float) -> Signal:
    """Two values, added and multiplied by the root of 1/2; absolute values: norm root 2."""
    return replace(signal, pixels=1).then(math.sqrt(2) * gamma(4, unit) * signal.reach)


def _mean(layer: nn.Module, signal: Signal, unit: float) -> Signal:
    """x - mean(x): sums of all pixels of a channel, one division, one subtraction."""
    return signal.then(2 * gamma(signal.pixels + 3, unit) * signal.reach)


def _pool(layer: nn.Module, signal: Signal, unit: float) -> Signal:
    """Sums of k x k values, divided, multiplied; orthonormal rows of one sign: norm 1."""
    terms = int(layer.size) ** 2  # type: ignore[arg-type]  # nn.Module's attributes are untyped
    pooled = replace(signal, pixels=signal.pixels // terms)
    return pooled.then(gamma(terms + 3, unit) * signal.reach)


def _lengths(layer: nn.Module, signal: Signal, unit: float) -> Signal:
    """Sums of one square a pixel, which cannot cancel, and a root: relative to each length."""
    own = gamma(signal.pixels + 3, unit) * signal.reach
    return replace(signal, pixels=1).then(own)


def _mix(layer: nn.Module, signal: Signal, unit: float) -> Signal:
    """W x + b, |W| <= 1: gamma of |W| |x| + |b|."""
    assert isinstance(layer, OrthogonalMix | FoldedMix)
    weight, _ = layer.effective()
    amplified, bias = layer.sizes()
    bias *= math.sqrt(signal.pixels)
    own = gamma(weight.shape[1] + 1, unit) * (amplified * signal.reach + bias)
    return signal.then(own, grown=bias)


def _sll(layer: nn.Module, signal: Signal, unit: float) -> Signal:
    """x - R^T relu(R x + b), |R|^2 <= 2."""
    assert isinstance(layer, SLLDense | SLLConv | FoldedSLL)
    weight, _ = layer.effective()
    amplified, bias = layer.sizes()
    bias *= math.sqrt(signal.pixels)
    norm = math.sqrt(2)
    places = math.prod(weight.shape[2:])
    inward = gamma(weight.shape[1] * places + 1, unit) * (amplified * signal.reach + bias)
    hidden = norm * signal.reach + bias + inward
    outward = gamma(weight.shape[0] * places + 1, unit) * amplified * hidden
    back = norm * inward + outward
    # The last subtraction rounds what comes out.
    result = signal.reach + norm * bias + back
    return signal.then(back + unit * result, grown=norm * bias)


def _reflect(layer: nn.Module, signal: Signal, unit: float) -> Signal:
    """x - F^T R R^T F x + b: six products, |F| <= 1 of two factors and |R|^2 <= 2, and two sums."""
    assert isinstance(layer, ReflectorConv | FoldedReflector)
    rows, columns, back, _ = layer.effective()
    across, down, widest, bias = layer.sizes()
    bias *= math.sqrt(signal.pixels)
    norm, reach, error = math.sqrt(2), signal.reach, 0.0
    # Of each factor its norm, the terms of its sums, and its amplification.
    for grows, terms, amplified in (
        (1.0, rows.shape[0], across),
        (1.0, columns.shape[0], down),
        (norm, back.shape[1], widest),
        (norm, back.shape[2], widest),
        (1.0, columns.shape[1], down),
        (1.0, rows.shape[1], across),
    ):
        error = grows * error + gamma(terms, unit) * amplified * (reach + error)
        reach *= grows
    own = error + gamma(2, unit) * (signal.reach + reach + error + bias)
    return signal.then(own, grown=bias)


def _centre(layer: nn.Module, signal: Signal, unit: float) -> Signal:
    """x - c: one subtraction, and 0 goes to -c."""
    assert isinstance(layer, Centre)
    shift = float(layer.centre.double().norm()) * (1 + 1e-9)
    return signal.then(unit * (signal.reach + shift), grown=shift)


def _added(layer: nn.Module, signal: Signal, unit: float) -> Signal:
    """x + s, s being rounded twice when it is made: one addition, and 0 goes to s."""
    assert isinstance(layer, AddConstant)
    shift = layer.length * (1 + 1e-9)
    return signal.then(unit * (signal.reach + 3 * shift), grown=shift)


#: Exact types, as in the auditor: a subclass may compute anything.
RULES: dict[type[nn.Module], Rule] = {
    **dict.fromkeys((ZeroChannelPad, Truncate, Shift, MaxMin, MirrorZeroPad, Abs, HalfAbs), _moves),
    **dict.fromkeys((SpaceToDepth, MirrorLift, MirrorSpaceToDepth), _folds),
    Flatten: _flat,
    MirrorHaar: _haar,
    MirrorFold: _mirror_fold,
    SubtractMean: _mean,
    Centre: _centre,
    AddConstant: _added,
    NormOnePool: _pool,
    L2Pool: _lengths,
    **dict.fromkeys((OrthogonalMix, FoldedMix), _mix),
    **dict.fromkeys((SLLDense, SLLConv, FoldedSLL), _sll),
    **dict.fromkeys((ReflectorConv, FoldedReflector), _reflect),
}
