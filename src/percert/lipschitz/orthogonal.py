"""Orthogonal mixing of channels, with spatial shifts: a convolution that keeps every norm.

A 1 x 1 convolution with an orthogonal matrix, after every group of channels has been rolled by
one of nine offsets, is an orthogonal map with a 3 x 3 reach. It costs c^2 multiplications a pixel
where a 3 x 3 SLL costs 18 c^2, and no layer of it shrinks the signal.

An orthogonal matrix is held in one of three ways (:data:`FORMS`): as the Cayley transform of a
skew matrix; as itself, moved along the orthogonal matrices after every step of an optimiser
(:func:`retract`), with no inverse anywhere, as in LipNeXt (2026); or as a block reflector, as in
BRONet (2025), which turns few directions round and leaves the others.
"""

from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from percert.check import check_choice
from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.effective import EffectiveWeights, weight_sizes
from percert.lipschitz.mixing import channel_by_channel, join_channels, mix_channels

#: A rounded orthogonal matrix may have a norm just above 1; shrinking it by this keeps the proof.
ROUNDING = 1e-6

#: How an orthogonal matrix is held.
Form: TypeAlias = Literal["cayley", "manifold", "reflector"]
FORMS: tuple[Form, ...] = get_args(Form)
#: A reflector turns the span of so many vectors round, as a share of its size.
RANK = 1 / 4
#: Of the mean square of a reflector's vectors, added to their Gram matrix: nothing is singular.
RIDGE = 1e-5

OFFSETS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))


def cayley(square: Tensor) -> Tensor:
    """The orthogonal matrix (I - A)(I + A)^-1 of the skew part A = P - P^T of ``(c, c)``.

    >>> q = cayley(torch.randn(5, 5, dtype=torch.float64))
    >>> bool(torch.allclose(q @ q.T, torch.eye(5, dtype=torch.float64)))
    True
    """
    turned: Tensor = _Cayley.apply(square)  # type: ignore[no-untyped-call]  # torch's has no types
    return turned


class _Cayley(torch.autograd.Function):
    """Q = 2 M - I with M = (I + A)^-1, so dQ = -2 M dA M: the gradient needs no second inverse.

    On a GPU the inverses are most of a training step of small networks: this takes a third off it.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(square: Tensor) -> Tensor:
        skew = square - square.T
        identity = torch.eye(len(square), dtype=square.dtype, device=square.device)
        turned: Tensor = 2 * torch.linalg.inv(identity + skew) - identity
        return turned

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (turned,) = ctx.saved_tensors
        inverse = (turned + torch.eye(len(turned), dtype=turned.dtype, device=turned.device)) / 2
        towards: Tensor = -2 * inverse.T @ gradient @ inverse.T
        return towards - towards.T  # A = P - P^T


def reflector(vectors: Tensor) -> Tensor:
    """``I - 2 V (V^T V + e I)^-1 V^T`` for V ``(c, r)``: block reflection of the span of V.

    Orthogonal but for e, :data:`RIDGE` of V's mean square: an eigenvalue 1 - 2 s^2 / (s^2 + e),
    s a singular value of V, lies between -1 and 1 for every V, zeros and equal columns included.

    >>> x, v = torch.randn(2, 4, 1, dtype=torch.float64)
    >>> turned = reflector(v) @ v
    >>> bool(torch.allclose(turned, -v, rtol=1e-4))
    True
    """
    gram = vectors.T @ vectors
    span = torch.linalg.solve(gram + ridge(gram), vectors.T)
    identity = torch.eye(len(vectors), dtype=vectors.dtype, device=vectors.device)
    turned: Tensor = identity - 2 * vectors @ span
    return turned


def ridge(gram: Tensor) -> Tensor:
    """e I for the Gram matrices ``(..., r, r)``: :data:`RIDGE` of their mean diagonal."""
    mean = gram.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return (RIDGE * mean).clamp_min(1e-30) * identity


def polar(matrix: Tensor) -> Tensor:
    """The orthogonal matrix nearest to ``(c, c)``, from its singular vectors.

    >>> bool(torch.allclose(polar(3 * torch.eye(2)), torch.eye(2)))
    True
    """
    left, _, right = torch.linalg.svd(matrix)
    nearest: Tensor = left @ right
    return nearest


class OrthogonalMix(nn.Module):
    """Multiplies the channels of every pixel by an orthogonal matrix, and adds a bias.

    ``(n, in, ...) -> (n, out, ...)`` with ``out <= in``: rows beyond ``out`` are dropped, which is
    the norm-1 projection that keeps what the layer learns to keep. With ``mirror`` the matrix
    commutes with exchanging the two halves of the channels, see :mod:`percert.lipschitz.mirror`.
    ``form`` is one of :data:`FORMS`; the smaller the
    ``spread``, the less a fresh layer mixes what it keeps with what it drops.

    Whatever the layer holds, its norm is at most 1 in evaluation: a Cayley transform is orthogonal,
    ``"manifold"`` is the orthogonal matrix nearest to ``frame``, times the exponential of a skew
    one, and all eigenvalues of a reflector are between -1 and 1. In training the second is the
    frame itself, turned to first order, which needs nothing but products; :func:`retract`, called
    after each step (percert's training does), turns the frame as far as the step went.

    >>> layer = OrthogonalMix(6, 4)
    >>> layer(torch.rand(2, 6, 3, 3)).shape
    torch.Size([2, 4, 3, 3])
    """

    frame: Tensor

    def __init__(
        self,
        channels: int,
        out_channels: int | None = None,
        *,
        mirror: bool = False,
        form: Form = "cayley",
        spread: float = 1.0,
    ) -> None:
        super().__init__()
        check_choice(form, FORMS, "form")
        self.out_channels = channels if out_channels is None else out_channels
        if not 0 < self.out_channels <= channels:
            raise ValueError(
                f"OrthogonalMix: expected 1 to {channels} output channels, found {out_channels}"
            )
        if mirror and (channels % 2 or self.out_channels % 2):
            raise ValueError("OrthogonalMix: mirror needs even numbers of channels")
        self.mirror, self.form = mirror, form
        blocks, size = (2, channels // 2) if mirror else (1, channels)
        # A spread of about 1 in the skew part turns by every angle: a well-mixed start.
        if form == "reflector":
            vectors = torch.randn(blocks, size, max(1, round(RANK * size))) / size**0.5
            # What is dropped starts as what is not mixed with what is kept.
            vectors[:, self.out_channels // blocks :] *= spread
            self.vectors = nn.Parameter(vectors)
        else:
            square = spread * (torch.randn(blocks, size, size) / size**0.5)
            if form == "cayley":
                self.square = nn.Parameter(square)
            else:
                self.register_buffer("frame", torch.stack([cayley(block) for block in square]))
                self.turn = nn.Parameter(torch.zeros_like(square))
        self.bias = nn.Parameter(torch.zeros(self.out_channels // blocks))
        self._effective = EffectiveWeights()

    def blocks(self) -> Tensor:
        """The orthogonal matrices ``(blocks, size, size)``; float64 in evaluation."""

        # float64 in evaluation: rounded once, it is orthogonal to float32's last digit.
        def held(parameter: Tensor) -> Tensor:
            return parameter if self.training else parameter.double()

        if self.form == "cayley":
            return torch.stack([cayley(square) for square in held(self.square)])
        if self.form == "reflector":
            return torch.stack([reflector(vectors) for vectors in held(self.vectors)])
        frame, skew = held(self.frame), _skew(held(self.turn))
        if self.training:
            return frame + frame @ skew
        nearest = torch.stack([polar(block) for block in frame])
        turned: Tensor = nearest @ torch.linalg.matrix_exp(skew)
        return turned

    def matrix(self) -> tuple[Tensor, Tensor]:
        """The matrix ``(out, in)``, of norm at most 1 as it is rounded, and the bias ``(out,)``."""
        found = self.blocks()
        weight: Tensor
        # A copy: what is cached stands, though the parameter be edited behind autograd's back.
        bias: Tensor = self.bias.clone()
        if not self.mirror:
            weight = found[0, : self.out_channels]
        else:
            # [[A, B], [B, A]] is orthogonal if and only if A + B and A - B are.
            even, odd = found[:, : self.out_channels // 2]
            same, other = (even + odd) / 2, (even - odd) / 2
            weight = torch.cat((torch.cat((same, other), 1), torch.cat((other, same), 1)))
            bias = torch.cat((self.bias, self.bias))
        weight = weight * (1 - ROUNDING)
        rounded = weight.to(self.bias.dtype)
        if not self.training:
            excess = _excess(rounded.detach(), orthogonal=self.form != "reflector")
            rounded = torch.where(excess > 0, (weight * (1 - 2 * excess)).to(rounded), rounded)
        return rounded, bias

    def effective(self) -> tuple[Tensor, Tensor]:
        """The matrix and the bias that forward computes with."""
        weight, bias = self._effective.get(self, self.matrix)
        return weight, bias

    def sizes(self) -> tuple[float, ...]:
        """Of what is effective: the amplification of the matrix, and the length of the bias."""
        return self._effective.sizes(self, self.matrix, weight_sizes)

    def forward(self, x: Tensor) -> Tensor:
        return mix_channels(x, *self.effective())

    def train(self, mode: bool = True) -> "OrthogonalMix":
        self._effective.forget()
        return super().train(mode)

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, PROOFS[self.form])


PROOFS: dict[Form, str] = {
    "cayley": "rows of an orthogonal matrix (Cayley), scaled below 1",
    "manifold": "rows of an orthogonal matrix (nearest to what is held), scaled below 1",
    "reflector": "rows of a block reflector, scaled below 1",
}


def _skew(turn: Tensor) -> Tensor:
    """Skew matrices of ``(blocks, c, c)``: to first order what Cayley makes of as large a step."""
    return 2 * (turn.mT - turn)


@torch.no_grad()
def retract(network: nn.Module) -> None:
    """Turn every frame of ``network``'s :class:`OrthogonalMix` as far as its optimiser stepped.

    The step is a tangent at the frame: following it along the manifold is a product with the
    exponential of a skew matrix. A step of Newton and Schulz towards the nearest orthogonal matrix
    takes away what rounding adds up to. Moments that an optimiser keeps are of the turn, which
    moves along with the frame.

    >>> layer = OrthogonalMix(4, form="manifold")
    >>> _ = layer.turn.data.normal_()
    >>> retract(layer)
    >>> found = layer.frame[0] @ layer.frame[0].T
    >>> bool(torch.allclose(found, torch.eye(4), atol=1e-5)), layer.turn.any().item()
    (True, False)
    """
    for layer in network.modules():
        # Asking whether there is a turn at all would have every layer wait for a GPU.
        if isinstance(layer, OrthogonalMix) and layer.form == "manifold":
            turned = layer.frame @ torch.linalg.matrix_exp(_skew(layer.turn))
            layer.frame.copy_((3 * turned - turned @ (turned.mT @ turned)) / 2)
            layer.turn.zero_()


def _excess(weight: Tensor, *, orthogonal: bool) -> Tensor:
    """An upper bound of |W|^2 - 1, 0 or more: from W W^T in float64.

    For a nearly ``orthogonal`` W without eigenvalues: |W W^T| <= s + |W W^T - s I|_F for every s; s
    is what W is scaled to.
    """
    exact = weight.double()
    gram = exact @ exact.T
    target = (1 - ROUNDING) ** 2
    if orthogonal:
        stray = (gram - target * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)).norm()
    else:
        stray = torch.linalg.eigvalsh(gram)[-1] - target
    # The float64 product itself is off by less than n u |W|_F^2.
    slack = 2.0**-52 * weight.shape[1] * exact.square().sum()
    excess: Tensor = (target + stray + slack - 1).clamp_min(0)
    return excess


class Shift(nn.Module):
    """Rolls nine groups of channels by the nine offsets of a 3 x 3 window: a permutation of pixels.

    With ``mirror`` the second half of the channels moves the mirrored way.

    >>> x = torch.rand(1, 9, 4, 4)
    >>> bool(Shift()(x).norm().isclose(x.norm()))
    True
    """

    def __init__(self, *, mirror: bool = False) -> None:
        super().__init__()
        self.mirror = mirror

    def forward(self, x: Tensor) -> Tensor:
        if not self.mirror:
            return join_channels(_rolled(x, 1))
        if x.shape[1] % 2:
            raise ValueError(f"Shift: mirror needs an even number of channels, found {x.shape[1]}")
        first, second = x.chunk(2, 1)
        return join_channels([*_rolled(first, 1), *_rolled(second, -1)])

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "a permutation")


def _rolled(x: Tensor, direction: int) -> list[Tensor]:
    """Contiguous groups of channels, one an offset, rolled; ``direction`` -1 mirrors them."""
    groups = torch.tensor_split(x, len(OFFSETS), 1)
    return [
        _roll(group, (dy, dx * direction)) if (dy, dx) != (0, 0) else group
        for group, (dy, dx) in zip(groups, OFFSETS, strict=True)
    ]


def _roll(x: Tensor, by: tuple[int, int]) -> Tensor:
    """``(n, c, h, w)`` rolled by rows and columns, in memory in the order that it has."""
    if channel_by_channel(x):
        return torch.roll(x.transpose(0, 1), by, (2, 3)).transpose(0, 1)
    return torch.roll(x, by, (2, 3))
