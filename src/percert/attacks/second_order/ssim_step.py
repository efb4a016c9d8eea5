"""One Newton step of the SSIM surrogate, the paper's Eq. 5, and the Hessian that it inverts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.attacks.attack import Relay, Watch, go_on, prepared
from percert.attacks.goal import LOSSES, Goal, LossName, Model
from percert.attacks.goal_through import demanding
from percert.attacks.steps import generators, loss_slope, nudged, rescale, steepest
from percert.attacks.threat import Eps, check_eps, per_image
from percert.check import check_choice
from percert.metrics.full_reference.ssim import WINDOW, blur
from percert.metrics.full_reference.ssim_curvature import (
    LARGEST_DENSE,
    conjugate_gradients,
    ssim_curvature,
)
from percert.tensors import Images, Vector, l2_norm, per_sample

#: ``"valid"``: windows that fit into the image, as in the metric; ``"reflect"``: one around each
#: pixel, over the image reflected at its border (a linear map P, so the Hessian is P^T H P).
Border: TypeAlias = Literal["reflect", "valid"]


def hessian(images: Images, border: Border) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The Hessian at ``images`` as a function of a change, and its diagonal; both ``(n, c, h, w)``.

    With ``"reflect"`` the diagonal is P^T of the larger image's, which is enough to precondition.
    """
    curvature = ssim_curvature(extended(images.detach(), border))

    def product(change: Tensor) -> Tensor:
        return folded(curvature(extended(change, border)), border)

    return product, folded(curvature.diagonal(), border)


def dense_hessian(channel: Tensor, border: Border) -> Tensor:
    """The Hessian of 1 - SSIM of one channel ``(h, w)`` as a matrix, ``(h w, h w)``.

    2 / N (G^T diag(1/A - 1/B) G + diag(G^T 1/B)), with the matrix G of the windows' averages.
    Raises ``ValueError`` for more than 4096 pixels.

    >>> values = torch.linalg.eigvalsh(dense_hessian(torch.rand(12, 12).double(), "reflect"))
    >>> bool(values.min() > 0)
    True
    """
    height, width = channel.shape
    if height * width > LARGEST_DENSE:
        raise ValueError(
            f"solver 'dense': expected at most {LARGEST_DENSE} pixels, found {height} x {width}; "
            "take 'cg'"
        )
    curvature = ssim_curvature(extended(channel[None, None], border))
    averages = _windows(height, width, border, channel.dtype, channel.device)
    whole = averages.mT @ (curvature.windows[0].view(-1, 1) * averages)
    return whole + folded(curvature.local, border).flatten().diag()


def extended(images: Tensor, border: Border) -> Tensor:
    """The image, reflected past its border by half a window where ``border`` says so."""
    return F.pad(images, (WINDOW // 2,) * 4, mode="reflect") if border == "reflect" else images


def folded(images: Tensor, border: Border) -> Tensor:
    """The transpose of :func:`extended`: what lies past the border is added inside."""
    if border == "valid":
        return images
    half = WINDOW // 2
    with torch.enable_grad():
        start = torch.zeros_like(images[..., half:-half, half:-half]).requires_grad_(True)
        (back,) = torch.autograd.grad(extended(start, border), start, images)
    return back


@lru_cache(maxsize=2)
def _windows(
    height: int, width: int, border: Border, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """The matrix G P, ``(windows, h w)``: each window's average, of each pixel alone."""
    pixels = torch.eye(height * width, dtype=dtype, device=device).view(-1, 1, height, width)
    return blur(extended(pixels, border)).flatten(1).mT.contiguous()


Solver: TypeAlias = Literal["auto", "dense", "cg"]
#: Up to so many pixels "auto" takes the dense Hessian: that of 32 x 32 pixels.
DENSE_UP_TO = 1024


@dataclass(frozen=True, kw_only=True)
class SSIMStep:
    """Eq. 5: x + ``eps`` D / ||D||_2 with D = H^-1 grad loss / ``lam``.

    H is the Hessian of 1 - SSIM at x, whose gradient there is zero. ``eps`` is an l2 length, a
    number or one an image; ``none`` leaves D's own, the maximiser of the second-order model of loss
    - lam (1 - SSIM). (With a length, ``lam`` cancels.) With ``search``, only the direction counts:
    its least multiple that reaches the goal by more than ``confidence`` after rounding to 8 bits.
    ``border``: windows go past it, over the reflected image; with ``"valid"`` they stay inside, as
    in the metric, for which a corner weighs 1e-6 of the centre: the exact step is then a frame
    around the picture, where SSIM hardly looks. ``solver``: the ``"dense"`` Hessian of each channel
    in float64, as the paper has it for MNIST; ``"cg"``, conjugate gradients with its products,
    ``iterations`` at most; ``"auto"``: dense up to 32 x 32 pixels. A grey image is one repeated in
    three channels, and its ``eps`` sqrt(3) of the grey one's: see :func:`ssim_newton_step`.
    """

    eps: Eps | None = 10.0
    lam: float = 1.0
    search: bool = False
    search_steps: int = 8
    confidence: float = 0.0
    loss: LossName = "cross-entropy"
    border: Border = "reflect"
    solver: Solver = "auto"
    iterations: int = 100
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        check_choice(self.loss, LOSSES, "loss")
        if self.eps is not None:
            check_eps(self.eps)

    @prepared
    def __call__(
        self,
        model: Model,
        images: Images,
        goal: Goal,
        *,
        seeds: Tensor | None = None,
        watch: Watch | None = None,
    ) -> Images:
        wanted = demanding(goal, self.confidence)
        relay = Relay(watch)
        if not go_on(relay, 0, 1, len(images)):
            return images.clone()
        slope, _ = loss_slope(model, images, wanted, self.loss, fallback=True)
        everyone = torch.arange(len(images), device=images.device)
        slope = nudged(slope, everyone, generators(seeds, len(images)))
        step = ssim_newton_step(
            images,
            slope,
            lam=self.lam,
            border=self.border,
            solver=self.solver,
            iterations=self.iterations,
            tolerance=self.tolerance,
            going=lambda: go_on(relay, 0, 1, len(images)),
        )
        if self.search:
            finishing = relay.as_part(1, 1)
            return least_step(model, images, step, wanted, steps=self.search_steps, watch=finishing)
        if self.eps is not None:
            step = per_sample(per_image(self.eps, images), step) * steepest(step, "l2")
        return (images + step).clamp(0, 1)


def ssim_newton_step(
    images: Images,
    slope: Tensor,
    *,
    lam: float = 1.0,
    border: Border = "reflect",
    solver: Solver = "auto",
    iterations: int = 100,
    tolerance: float = 1e-4,
    going: Callable[[], bool] | None = None,
) -> Tensor:
    """D = H^-1 ``slope`` / ``lam``: where slope . D - lam / 2 D^T H D is greatest; like ``slope``.

    H is the Hessian of 1 - SSIM(x, x + D) at D = 0, ``(n, c, h, w)`` images of any number of
    channels, which it does not mix. It is positive definite, although the paper says that in
    theory it is not: D^T H D is a sum over windows of m^2 / A + v / B (m the mean of D in the
    window, v its variance, A, B > 0), which vanishes only where D does in every window, and every
    pixel is in one. With grey images in three equal channels and a model that sees their mean, D is
    grey, and is that of the one-channel image: each channel has a third of its Hessian and a third
    of its slope.

    >>> images, slope = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    >>> dense = ssim_newton_step(images, slope, solver="dense")
    >>> iterated = ssim_newton_step(images, slope, solver="cg", tolerance=1e-6)
    >>> bool((dense - iterated).norm() < 1e-3 * dense.norm())
    True
    """
    check_choice(solver, ("auto", "dense", "cg"), "solver")
    check_choice(border, ("reflect", "valid"), "border")
    if lam <= 0:
        raise ValueError(f"lam: expected more than 0 (0 has no maximiser), found {lam}")
    pixels = images.shape[2] * images.shape[3]
    if solver == "dense" or (solver == "auto" and pixels <= DENSE_UP_TO):
        return _dense(images, slope, border) / lam
    product, diagonal = hessian(images, border)
    solved = conjugate_gradients(
        product,
        steepest(slope, "l2"),  # or a square may underflow
        diagonal=diagonal,
        iterations=iterations,
        tolerance=tolerance,
        going=going,
    )
    return solved * per_sample(l2_norm(slope), slope) / lam


def _dense(images: Images, slope: Tensor, border: Border) -> Tensor:
    """H^-1 slope with each channel's whole Hessian, in float64; once where channels are equal."""
    solved = torch.zeros_like(slope, dtype=torch.float64)
    channels = images.shape[1]
    for i, image in enumerate(images.double()):
        factor = None
        for c in range(channels):
            if factor is None or not torch.equal(image[c], image[c - 1]):
                factor = torch.linalg.cholesky(dense_hessian(image[c], border) / channels)
            right = slope[i, c].double().flatten()[:, None]
            solved[i, c] = torch.cholesky_solve(right, factor).view_as(slope[i, c])
    return solved.to(slope)


def least_step(
    model: Model,
    images: Images,
    step: Tensor,
    goal: Goal,
    *,
    steps: int = 8,
    watch: Watch | None = None,
) -> Images:
    """The least multiple of ``step`` whose 8-bit image reaches the goal: see ``rescale``.

    The search starts where the linear model of the margin has its zero, and doubles from there.
    """
    slope, scores = loss_slope(model, images, goal, "margin")
    gain = (slope * step).flatten(1).sum(1)
    missing = -goal.margin(scores)
    # Against the margin's slope, or without one, the length of one pixel's range is the start.
    start: Vector = torch.where(
        (gain > 0) & (missing > 0), missing / gain, 1 / l2_norm(step).clamp_min(1e-30)
    )
    moved = images + per_sample(start, step) * step
    return rescale(model, images, moved, goal, steps=steps, watch=watch)
