"""The audit of one layer: what its code computes, never what its class promises."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.centre import Centre
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
from percert.lipschitz.network import LipschitzNetwork
from percert.lipschitz.operator_norms import (
    dense_norm,
    jacobian,
    jacobian_norm,
    operator_matrix,
    singular_values,
)
from percert.lipschitz.orthogonal import OrthogonalMix, Shift
from percert.lipschitz.reflector import ReflectorConv
from percert.lipschitz.sll import SLLConv, SLLDense
from percert.lipschitz.sll_audit import LENGTHS, NEAR_FORMULA, sll_upper

#: How far rounding may push a norm of 1.
TOLERANCE = 1e-6
#: Convolutions are iterated on at most this many pixels a side: a lower bound at any larger size.
LARGEST_SIDE = 32

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerAudit:
    """One layer: ``lower <= norm <= upper``, as computed, and whether that proves its bound."""

    name: str
    type: str
    lower: float
    upper: float
    passed: bool
    note: str


def audit_layer(
    layer: nn.Module, shape: Shape, name: str, generator: torch.Generator
) -> list[LayerAudit]:
    """Audits a layer for inputs of ``shape`` (without batch); of a container, every layer inside.

    ``lower`` is power iteration through the layer's own forward in float64, ``upper`` comes from
    its weights. Passes where lower <= upper <= 1 + 1e-6. A type that the auditor does not know
    fails, whatever it computes: its upper bound is infinite.
    """
    kind = type(layer).__name__
    problem = _tampered(layer)
    if type(layer) in CONTAINERS and not problem:
        return _inside(layer, shape, name, generator)
    upper_of = KNOWN.get(type(layer))
    if upper_of is None or problem:
        note = problem or f"{kind} is not a layer that the auditor knows"
        return [LayerAudit(name, kind, 0.0, math.inf, False, note)]
    layer = copy.deepcopy(layer).eval().requires_grad_(False)
    exact = copy.deepcopy(layer).double()
    upper, note = upper_of(layer, exact, shape, generator)
    lower = _lower(exact, shape, generator)
    passed = lower <= upper * (1 + TOLERANCE) and upper <= 1 + TOLERANCE
    claimed = layer.lipschitz_bound()  # type: ignore[operator]  # nn.Module's attributes are untyped
    if not (isinstance(claimed, LipschitzBound) and claimed.value * (1 + TOLERANCE) >= upper):
        passed, note = False, f"{note}; claims {claimed}"
    if not lower <= upper * (1 + TOLERANCE):
        note = f"{note}; power iteration finds more than the upper bound"
    return [LayerAudit(name, kind, lower, upper, passed, note)]


def _tampered(layer: nn.Module) -> str:
    """What stands between the class's forward and a call of this very object, or nothing."""
    if "forward" in vars(layer):
        return "its forward has been replaced"
    if layer._forward_hooks or layer._forward_pre_hooks:
        return "forward hooks could change what it computes"
    return ""


def _inside(
    container: nn.Module, shape: Shape, name: str, generator: torch.Generator
) -> list[LayerAudit]:
    if type(container) is FlipConcat:
        join = FlipConcat(Flatten()).double()
        slopes = [_svd_at_a_point(join, (2, 3, 3), generator) for _ in range(4)]
        own = LayerAudit(
            name,
            "FlipConcat",
            max(slopes),
            max(slopes),
            max(slopes) <= 1 + TOLERANCE,
            "dense SVD of its join at random points",
        )
        return [
            own,
            *audit_layer(container.get_submodule("network"), shape, f"{name}.network", generator),
        ]
    layers: list[nn.Module] = list(
        (container.layers if isinstance(container, LipschitzNetwork) else container).children()
    )
    prefix = f"{name}." if name else ""
    audits: list[LayerAudit] = []
    for position, layer in enumerate(layers):
        place = f"{prefix}{position}"
        dtype = next((p.dtype for p in layer.parameters()), torch.float32)
        try:
            with torch.no_grad():
                following = tuple(layer(torch.zeros(1, *shape, dtype=dtype)).shape[1:])
        except (ValueError, RuntimeError, TypeError, IndexError) as error:
            kind, note = type(layer).__name__, f"it does not take {shape}: {error}"
            return [*audits, LayerAudit(place, kind, 0.0, math.inf, False, note)]
        audits += audit_layer(layer, shape, place, generator)
        shape = following
    return audits


def _lower(exact: nn.Module, shape: Shape, generator: torch.Generator) -> float:
    """The largest Jacobian norm that power iteration finds at random points, in float64."""
    if isinstance(exact, SLLConv):
        shape = (shape[0], *(min(side, LARGEST_SIDE) for side in shape[1:]))
    steps, largest = 12, 0.0
    for trial in range(2):
        if isinstance(exact, SLLDense | SLLConv):
            # A bias this large sets the activation pattern: all units on, then random ones.
            signs = torch.randint(0, 2, exact.bias.shape, generator=generator) * 2 - 1
            exact.bias.copy_(1e9 * (signs if trial else torch.ones_like(signs)))
        point = torch.randn(1, *shape, generator=generator, dtype=torch.float64)
        largest = max(largest, jacobian_norm(exact, point, steps=steps, generator=generator).value)
    return largest


def _moves(
    layer: nn.Module, exact: nn.Module, shape: Shape, generator: torch.Generator
) -> tuple[float, str]:
    """Norm 1 if every output is an input (up to its sign), none used twice, or 0.

    Random inputs are all different, so a map that adds or scales values is found out.
    """
    for _ in range(2):
        x = torch.randn(1, *shape, generator=generator, dtype=torch.float64)
        given = x.flatten().abs().sort().values
        found = exact(x).flatten().abs()
        found = found[found != 0].sort().values
        place = torch.searchsorted(given, found).clamp_max(len(given) - 1)
        if not bool((given[place] == found).all() & (place.diff() > 0).all()):
            return math.inf, "its outputs are not its inputs moved"
    return 1.0, "every output is an input, moved"


def _small(small_shape: Callable[[nn.Module, Shape], Shape]) -> "UpperBound":
    """Dense SVD at a small size, for a map that does the same at every place of an image."""

    def upper(
        layer: nn.Module, exact: nn.Module, shape: Shape, generator: torch.Generator
    ) -> tuple[float, str]:
        small = small_shape(layer, shape)
        return float(singular_values(exact, small).max()), f"dense SVD at {small}"

    return upper


def _fold(
    layer: nn.Module, exact: nn.Module, shape: Shape, generator: torch.Generator
) -> tuple[float, str]:
    norms = [_svd_at_a_point(exact, (4, 2, 3), generator) for _ in range(4)]
    return max(norms), "dense SVD of the Jacobian at 4 random points; others differ in signs only"


def _svd_at_a_point(function: nn.Module, shape: Shape, generator: torch.Generator) -> float:
    point = torch.randn(shape, generator=generator, dtype=torch.float64)
    return float(torch.linalg.svdvals(jacobian(function, point)).max())


def _mix(
    layer: nn.Module, exact: nn.Module, shape: Shape, generator: torch.Generator
) -> tuple[float, str]:
    """The matrix that forward multiplies by, from the identity: as rounded, and in float64."""
    bare = copy.deepcopy(layer)
    bare.bias.zero_()  # type: ignore[operator]  # nn.Module's attributes are untyped

    def as_used(x: Tensor) -> Tensor:
        # Multiplying by the identity rounds nothing: these are the very numbers in use.
        used: Tensor = bare(x.to(next(bare.parameters()).dtype))
        return used.double()

    norms = [dense_norm(operator_matrix(f, (shape[0],))) for f in (as_used, exact)]
    return max(norms), f"SVD of its matrix: as used {norms[0]:.7f}, in float64 {norms[1]:.7f}"


def _sll(
    layer: nn.Module, exact: nn.Module, shape: Shape, generator: torch.Generator
) -> tuple[float, str]:
    assert isinstance(layer, SLLDense | SLLConv)
    assert isinstance(exact, SLLDense | SLLConv)
    return sll_upper(layer, exact, shape, generator)


def _translation(
    layer: nn.Module, exact: nn.Module, shape: Shape, generator: torch.Generator
) -> tuple[float, str]:
    """Norm 1 if any two inputs come out as far apart, coordinate by coordinate, as they go in."""
    here, there = torch.randn(2, 1, *shape, generator=generator, dtype=torch.float64)
    moved = exact(there) - exact(here)
    if not bool(((moved - (there - here)).abs() <= 1e-9 * (1 + exact(here).abs())).all()):
        return math.inf, "it does more than add a constant"
    return 1.0, "the difference of two inputs, unchanged"


def _lengths(
    layer: nn.Module, exact: nn.Module, shape: Shape, generator: torch.Generator
) -> tuple[float, str]:
    """Norm 1 if every output is the length of a channel: of inputs of all lengths."""
    for length in LENGTHS:
        x = length * torch.randn(2, *shape, generator=generator, dtype=torch.float64)
        found, expected = exact(x).flatten(1), x.square().sum((2, 3)).sqrt()
        if found.shape != expected.shape or not bool(
            ((found - expected).abs() <= NEAR_FORMULA[torch.float64] * expected).all()
        ):
            return math.inf, "its outputs are not the lengths of its channels"
    return 1.0, "every output is the length of a channel"


def _periodic(
    layer: nn.Module, exact: nn.Module, shape: Shape, generator: torch.Generator
) -> tuple[float, str]:
    """The norm of a periodic convolution, frequency by frequency, from what one pixel leads to.

    Infinite where another input shows that forward is no such convolution.
    """
    channels, height, width = shape
    norms = []
    for used, dtype in ((layer, next(layer.parameters()).dtype), (exact, torch.float64)):
        bias = used(torch.zeros(1, *shape, dtype=dtype)).double()
        pixel = torch.zeros(channels, *shape, dtype=dtype)
        pixel[:, :, 0, 0] = torch.eye(channels)
        kernel = torch.fft.rfft2(used(pixel).double() - bias)  # (in, out, frequencies)
        for length in LENGTHS:
            x = length * torch.randn(2, *shape, generator=generator, dtype=torch.float64)
            x = x.to(dtype)
            spectrum = torch.einsum("nihw,iohw->nohw", torch.fft.rfft2(x.double()), kernel)
            expected = torch.fft.irfft2(spectrum, s=(height, width)) + bias
            size = x.double().norm() + bias.norm()
            stray = float((used(x).double() - expected).norm() / size)
            if not stray <= NEAR_FORMULA[dtype]:
                return math.inf, f"forward is {stray:.1e} |x| away from a periodic convolution"
        matrices = kernel.flatten(2).permute(2, 1, 0)
        norms.append(float(torch.linalg.eigvalsh(matrices @ matrices.mH)[:, -1].max().sqrt()))
    return max(norms), f"SVD at every frequency: as used {norms[0]:.7f}, exact {norms[1]:.7f}"


UpperBound = Callable[[nn.Module, nn.Module, Shape, torch.Generator], tuple[float, str]]

CONTAINERS: tuple[type[nn.Module], ...] = (LipschitzNetwork, nn.Sequential, FlipConcat)
#: Every layer type that can pass, and what computes its upper bound. Exact types: no subclasses.
KNOWN: dict[type[nn.Module], UpperBound] = {
    **dict.fromkeys((SpaceToDepth, ZeroChannelPad, Truncate, Flatten, Shift, MaxMin), _moves),
    **dict.fromkeys((MirrorLift, MirrorSpaceToDepth, MirrorZeroPad, Abs, HalfAbs), _moves),
    NormOnePool: _small(lambda layer, shape: (1, 2 * int(layer.size), 2 * int(layer.size))),  # type: ignore[arg-type]  # nn.Module's attributes are untyped
    SubtractMean: _small(lambda layer, shape: (2, min(shape[1], 8), min(shape[2], 8))),
    MirrorHaar: _small(lambda layer, shape: (4, 4, 6)),
    MirrorFold: _fold,
    L2Pool: _lengths,
    ReflectorConv: _periodic,
    **dict.fromkeys((Centre, AddConstant), _translation),
    OrthogonalMix: _mix,
    SLLDense: _sll,
    SLLConv: _sll,
}
