"""The audit of one layer: what its code computes, never what its class promises.

An SLL's forward must be x - K^T S relu(K x + b) for one scale S >= 0, up to rounding: then its
Jacobian is I - K^T S D K, where D is the slope of every ReLU, between 0 and 1. K^T S D K lies
between 0 and K^T S K, so the norm over all activation patterns is exactly max(1, lambda - 1),
lambda the largest eigenvalue of S^1/2 K K^T S^1/2: no pattern is missed.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.centre import Centre
from percert.lipschitz.fixed_layers import (
    Abs,
    AddConstant,
    Flatten,
    FlipConcat,
    HalfAbs,
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
    convolution_norm,
    dense_norm,
    jacobian,
    jacobian_norm,
    operator_matrix,
    singular_values,
)
from percert.lipschitz.orthogonal import OrthogonalMix, Shift
from percert.lipschitz.sll import SLLConv, SLLDense

#: Lengths of the inputs that forward is tried on: dark, usual and saturated ones.
LENGTHS = (1e-3, 1.0, 1e3)
#: How far forward may be from the formula, relative to the length of its input.
NEAR_FORMULA = {torch.float32: 1e-4, torch.float64: 1e-9}


def sll_upper(
    layer: SLLDense | SLLConv,
    exact: SLLDense | SLLConv,
    shape: tuple[int, ...],
    generator: torch.Generator,
) -> tuple[float, str]:
    """The upper bound over all activation patterns, and what it rests on.

    ``layer`` as it is used, ``exact`` its copy in float64; ``shape`` of one input, without batch.
    The bound is infinite where a scale is above 2/t of Eq. 12, and where forward computes anything
    but the formula.
    """
    kernel = exact.weight.detach()
    log_q = exact.log_q.detach()
    q = (log_q - log_q.max()).clamp_min(-60).exp()
    if isinstance(exact, SLLDense):
        gram = (kernel @ kernel.T).abs()
    else:
        reach = kernel.shape[-1] - 1
        gram = F.conv2d(kernel, kernel, padding=reach).abs().sum((2, 3))
    t = gram @ q / q
    excess, largest = 0.0, torch.zeros_like(t)
    for used in (layer, exact):
        scale = used.scale().detach().double()
        # Rows of zeros have t = 0 and do nothing, whatever their scale.
        product = torch.where(t > 0, scale * t / 2, 0.0)
        excess = max(excess, float(product.max()))
        if not bool(torch.isfinite(product).all() & (scale >= 0).all()):
            return float("inf"), "the scale 2/t is not a finite number of at least 0"
        stray = _stray(used, scale, shape, generator)
        if not stray <= NEAR_FORMULA[used.weight.dtype]:
            return float("inf"), (
                f"forward is {stray:.1e} |x| away from x - K^T S relu(K x + b), S = 2/t"
            )
        largest = torch.maximum(largest, scale)
    note = f"scale * t / 2 <= {excess:.7f}, t of |K K^T|"
    if excess > 1 + 1e-6:
        return float("inf"), f"{note}: above 1"
    # Monotone in the scale: the larger of the two covers both.
    return max(1.0, _sll_norm(kernel, largest, shape) - 1), note


def _sll_norm(kernel: Tensor, scale: Tensor, shape: tuple[int, ...]) -> float:
    """lambda: the squared norm of S^1/2 K."""
    root = scale.clamp_max(1e300).sqrt()
    if kernel.ndim == 2:
        return dense_norm(kernel * root[:, None]) ** 2
    return convolution_norm(kernel * root[:, None, None, None], (shape[1], shape[2])) ** 2


def _stray(
    layer: SLLDense | SLLConv, scale: Tensor, shape: tuple[int, ...], generator: torch.Generator
) -> float:
    """How far forward is from the formula, relative to its terms: random inputs of all lengths.

    Each input sets an activation pattern of its own, and both hold in float64 but for the rounding
    of ``layer``. A difference in a weight shows in every one of them.
    """
    if len(shape) == 3:
        shape = (shape[0], *(min(side, 16) for side in shape[1:]))
    kernel, bias = layer.weight.detach().double(), layer.bias.detach().double()
    worst = 0.0
    for length in LENGTHS:
        x = length * torch.randn(4, *shape, generator=generator, dtype=torch.float64)
        x = x.to(layer.weight.dtype)
        found, given = layer(x).detach().double(), x.double()
        if kernel.ndim == 2:
            back = (F.relu(given @ kernel.T + bias) * scale) @ kernel
        else:
            padding = kernel.shape[-1] // 2
            hidden = F.relu(F.conv2d(given, kernel, bias, padding=padding))
            scaled = hidden * scale[:, None, None]
            back = F.conv_transpose2d(scaled, kernel, padding=padding)
        difference = (found - (given - back)).flatten(1).norm(dim=1)
        size = given.flatten(1).norm(dim=1) + back.flatten(1).norm(dim=1)
        worst = max(worst, float((difference / size).max()))
    return worst


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
    **dict.fromkeys((Centre, AddConstant), _translation),
    OrthogonalMix: _mix,
    SLLDense: _sll,
    SLLConv: _sll,
}
