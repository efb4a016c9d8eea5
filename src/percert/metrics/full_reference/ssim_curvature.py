"""The Hessian of 1 - SSIM, and equations with it by conjugate gradients.

Its products with vectors, its diagonal, and itself for small images; conjugate gradients solve a
linear equation for each image, with any symmetric operator.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.check import check_same_shape
from percert.metrics.full_reference.ssim import C1, C2, WINDOW, blur, gaussian, separable
from percert.tensors import Features

#: The most pixels a channel may have where its whole Hessian is asked for.
LARGEST_DENSE = 4096


@dataclass(frozen=True)
class SSIMCurvature:
    """The Hessian of ``1 - ssim`` with respect to the candidate, at one candidate of each image.

    A symmetric linear operator: ``curvature(v)`` is the Hessian times ``v``, exact, at the cost of
    one or two SSIMs. Channels do not interact. At the reference itself it is positive definite, so
    conjugate gradients may be used (:func:`conjugate_gradients`); elsewhere it
    need not be. Made by :func:`ssim_curvature`.

    With x the reference, d the candidate less x and G the Gaussian average of a window, 1 - SSIM
    is a function f of a = G d, b = G d^2 and e = G (x d) in each window. Its Hessian is J^T F J
    + diag(2 G^T f_b), where J = [G, 2 G diag(d), G diag(x)] and F is f's Hessian.
    """

    #: x, ``(n, c, h, w)``.
    reference: Features
    #: d, ``(n, c, h, w)``; at identity ``None``.
    step: Features | None
    #: F's entries aa, ab, ae, bb, be, ee, each ``(n, c, h - 10, w - 10)``; at identity aa alone.
    windows: tuple[Features, ...]
    #: ``2 G^T f_b``, ``(n, c, h, w)``.
    local: Features

    def __call__(self, vectors: Features) -> Features:
        """The Hessian of each image times its vector; both ``(n, c, h, w)``."""
        check_same_shape(self.reference, vectors, "vectors")
        if self.step is None:
            return spread(self.windows[0] * blur(vectors)) + self.local * vectors
        aa, ab, ae, bb, be, ee = self.windows
        d, x = 2 * self.step, self.reference
        a, b, e = blur(torch.cat((vectors, d * vectors, x * vectors))).chunk(3)
        rows = (aa * a + ab * b + ae * e, ab * a + bb * b + be * e, ae * a + be * b + ee * e)
        first, second, third = spread(torch.cat(rows)).chunk(3)
        return first + d * second + x * third + self.local * vectors

    def diagonal(self) -> Features:
        """The diagonal, ``(n, c, h, w)``, exact."""
        taps = gaussian(self.reference) ** 2
        parts = separable(torch.cat(self.windows), taps, WINDOW - 1).chunk(len(self.windows))
        if self.step is None:
            return parts[0] + self.local
        aa, ab, ae, bb, be, ee = parts
        d, x = 2 * self.step, self.reference
        return aa + 2 * (d * ab + x * ae + d * x * be) + d * d * bb + x * x * ee + self.local

    def dense(self) -> Tensor:
        """The Hessian of each channel as a matrix, ``(n, c, h w, h w)``.

        Raises ``ValueError`` for channels of more than 4096 pixels.
        """
        h, w = self.reference.shape[2:]
        if h * w > LARGEST_DENSE:
            raise ValueError(
                f"ssim curvature: the whole Hessian of {h} x {w} pixels is too large, expected at "
                f"most {LARGEST_DENSE} pixels a channel"
            )
        identity = torch.eye(h * w, dtype=self.reference.dtype, device=self.reference.device)
        average = blur(identity.view(1, h * w, h, w)).view(h * w, -1).mT
        parts = [average.mT @ (entry.flatten(2).unsqueeze(3) * average) for entry in self.windows]
        hessian = parts[0] + torch.diag_embed(self.local.flatten(2))
        if self.step is None:
            return hessian
        _, ab, ae, bb, be, ee = parts
        d, x = (2 * self.step).flatten(2), self.reference.flatten(2)
        # For a factor on the left there is one on the right: the Hessian is symmetric.
        mixed = ab * d.unsqueeze(2) + ae * x.unsqueeze(2) + d.unsqueeze(3) * be * x.unsqueeze(2)
        squares = d.unsqueeze(3) * bb * d.unsqueeze(2) + x.unsqueeze(3) * ee * x.unsqueeze(2)
        return hessian + mixed + mixed.mT + squares

    def select(self, index: Tensor) -> "SSIMCurvature":
        """The operator of the images of ``index`` alone."""
        return SSIMCurvature(
            self.reference[index],
            None if self.step is None else self.step[index],
            tuple(entry[index] for entry in self.windows),
            self.local[index],
        )


def ssim_curvature(reference: Features, candidate: Features | None = None) -> SSIMCurvature:
    """The Hessian of ``1 - ssim(reference, .)`` at ``candidate``, by default at the reference.

    Images are float ``(n, c, h, w)`` in [0, 1], of any number of channels, sides of at least 11
    pixels; 1 - SSIM is the mean over windows and channels, as SSIM is.
    At the reference, where the gradient is zero, with m and v the mean and variance of each window,
    A = 2 m^2 + C1 and B = 2 v + C2, the Hessian is 2 / N (G^T diag(1/A - 1/B) G + diag(G^T 1/B)):
    luminance and structure term together. Raises ``ValueError`` where sizes do not fit.

    >>> curvature = ssim_curvature(torch.full((1, 3, 32, 32), 0.5))
    >>> v = torch.rand(1, 3, 32, 32)
    >>> v.flatten(1).norm() ** 2 > (v * curvature(v)).sum() > 0
    tensor(True)
    """
    _check(reference)
    reference = reference.to(torch.promote_types(reference.dtype, torch.float32))
    channels, height, width = reference.shape[1:]
    share = 1 / (channels * (height - WINDOW + 1) * (width - WINDOW + 1))
    mean, square = blur(torch.cat((reference, reference**2))).chunk(2)
    if candidate is None:
        flat = share / (mean**2 + C1 / 2)
        local = share / (square - mean**2 + C2 / 2)
        return SSIMCurvature(reference, None, (flat - local,), spread(local))
    check_same_shape(reference, candidate, "candidate")
    step = candidate.to(reference) - reference
    a, b, e = blur(torch.cat((step, step**2, reference * step))).chunk(3)
    windows, slope = _second_derivatives(mean, square, a, b, e)
    return SSIMCurvature(
        reference, step, tuple(share * entry for entry in windows), spread(2 * share * slope)
    )


def spread(windows: Features) -> Features:
    """The transpose of :func:`blur`: each window's value, to its pixels."""
    return separable(windows, gaussian(windows), WINDOW - 1)


def _second_derivatives(
    mean: Features, square: Features, a: Features, b: Features, e: Features
) -> tuple[tuple[Features, ...], Features]:
    """f's second derivatives aa, ab, ae, bb, be, ee, and f_b.

    f = L + S - L S with L = a^2 / P and S = (b - a^2) / Q. Of a quotient R = N / D,
    R_i = (N_i - R D_i) / D and R_ij = (N_ij - R_i D_j - R_j D_i - R D_ij) / D.
    """
    u = mean + a  # the candidate's mean; P_a = 2 u, Q_a = -2 u
    p = mean**2 + u**2 + C1
    q = 2 * square + 2 * e + b - mean**2 - u**2 + C2
    luminance, structure = a**2 / p, (b - a**2) / q
    l_a = 2 * (a - luminance * u) / p
    l_aa = 2 * (1 - 2 * l_a * u - luminance) / p
    s_a = -2 * (a - structure * u) / q
    s_b = (1 - structure) / q
    s_e = -2 * structure / q
    s_aa = -2 * (1 - 2 * s_a * u - structure) / q
    s_ab = (2 * s_b * u - s_a) / q
    s_ae = (2 * s_e * u - 2 * s_a) / q
    s_bb = -2 * s_b / q
    s_be = -(2 * s_b + s_e) / q
    s_ee = -4 * s_e / q
    rest = 1 - luminance
    return (
        l_aa * (1 - structure) + s_aa * rest - 2 * l_a * s_a,
        s_ab * rest - l_a * s_b,
        s_ae * rest - l_a * s_e,
        s_bb * rest,
        s_be * rest,
        s_ee * rest,
    ), s_b * rest


def _check(reference: Tensor) -> None:
    if reference.ndim != 4 or not reference.is_floating_point():
        raise ValueError(
            "reference: expected a float tensor (n, c, h, w), "
            f"found {reference.dtype} {tuple(reference.shape)}"
        )
    if min(reference.shape[2:]) < WINDOW:
        height, width = reference.shape[2:]
        raise ValueError(
            f"ssim curvature: expected images of at least {WINDOW} x {WINDOW} pixels, "
            f"found {height} x {width}"
        )


def conjugate_gradients(
    operator: Callable[[Features], Features],
    right: Features,
    *,
    diagonal: Features | None = None,
    damping: float = 0.0,
    iterations: int = 50,
    tolerance: float = 1e-4,
    going: Callable[[], bool] | None = None,
) -> Features:
    """The ``x`` with ``operator(x) + damping x = right``, image by image; both ``(n, c, h, w)``.

    ``operator`` is linear and symmetric, and mixes no images (a ``SSIMCurvature`` is one);
    ``diagonal``, its own diagonal, preconditions it, which for SSIM saves most of the iterations.
    An image is done when its residual, in the preconditioner's norm, has fallen by ``tolerance``;
    all stop after ``iterations``, and between two of them where ``going()`` is not true. An image
    that meets a direction of no or negative curvature keeps what it has, at least the
    preconditioned right side, so that the result never points uphill. Raises ``ValueError`` for
    settings that make no sense (Hestenes and Stiefel, 1952).

    >>> def halve(x):
    ...     return x / 2
    >>> conjugate_gradients(halve, torch.ones(1, 1, 1, 2))
    tensor([[[[2., 2.]]]])
    """
    if iterations < 1 or damping < 0 or tolerance < 0:
        raise ValueError(
            "conjugate gradients: expected iterations of at least 1, damping and tolerance of at "
            f"least 0, found {iterations}, {damping} and {tolerance}"
        )
    scale = torch.ones_like(right) if diagonal is None else diagonal + damping
    scale = scale.clamp_min(torch.finfo(right.dtype).tiny).reciprocal()
    solution, residual = torch.zeros_like(right), right
    search = guided = scale * residual
    product = _dot(residual, guided)
    enough = tolerance**2 * product
    running = product > 0
    for iteration in range(iterations):
        if not running.any() or (iteration and going is not None and not going()):
            break
        image = operator(search) + damping * search
        curvature = _dot(search, image)
        downhill = running & (curvature > 0)
        if iteration == 0:
            solution = torch.where((running & ~downhill), guided, solution)
        length = torch.where(downhill, product / curvature, 0)
        solution = torch.addcmul(solution, length, search)
        residual = torch.addcmul(residual, length, image, value=-1)
        guided = scale * residual
        latest = _dot(residual, guided)
        running = downhill & (latest > enough)
        ratio = torch.where(running, latest / product, 0)
        search = torch.addcmul(guided, ratio, search)
        product = latest
    return solution


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """The inner product of each image pair, ``(n, 1, 1, 1)``."""
    return (first * second).flatten(1).sum(1).view(-1, 1, 1, 1)
