"""What a small change of one pixel costs the eye: a 3 x 3 matrix for every pixel.

A smooth perceptual distance has no gradient at the image itself: near it, it is a quadratic form in
the change. Here the form is taken pixel by pixel, ``sum over pixels of d^T A d`` with d the change
of the pixel's three values, which a second-order attack can invert at once. ``A`` has the shape
``(n, 3, 3, h, w)``. Only ratios between pixels matter, so each form is scaled to a geometric mean
of 1 over the image, and flattened by an exponent below 1, because no metric is the eye itself.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.color import ciede2000, srgb_to_lab
from percert.metrics.full_reference.ssim import C2, WINDOW, gaussian
from percert.metrics.full_reference.ssim_curvature import ssim_curvature
from percert.metrics.full_reference.visibility import sensitivity
from percert.tensors import Features, Images

CostName: TypeAlias = Literal["perceptual", "seen", "ssim", "ciede2000", "l2", "l1"]
COSTS: tuple[CostName, ...] = ("perceptual", "seen", "ssim", "ciede2000", "l2", "l1")

#: Luminance, then the two opponent colours of MDSI (Nafchi et al. 2016, Eq. 5), from R, G, B.
OPPONENT = ((0.2989, 0.5870, 0.1140), (0.30, 0.04, -0.35), (0.34, -0.60, 0.17))
#: The stabilising constants of MDSI's two similarities, for pixels in [0, 1].
GRADIENT_CONSTANT, CHROMA_CONSTANT = 140 / 255**2, 550 / 255**2


@dataclass(frozen=True)
class PerceptualWeights:
    """How the ``"perceptual"`` cost is mixed: a weight and an exponent for each part.

    Texture: SSIM's curvature, in every channel. Edges: change of luminance against the strength of
    edges there. Chroma: change of the opponent colours against how colourful the place is. Chosen
    on the first 50 photographs of the benchmark.
    """

    texture_power: float = 0.6
    edges: float = 5.0
    edges_power: float = 0.7
    chroma: float = 3.0
    chroma_power: float = 0.7


def local_cost(images: Images, cost: CostName, weights: PerceptualWeights | None = None) -> Tensor:
    """The matrices A of ``cost`` around ``images``: ``(n, 3, 3, h, w)``, positive definite.

    Raises ``ValueError`` for an unknown cost, and for ``"l1"``, which is no quadratic form.

    >>> local_cost(torch.rand(1, 3, 16, 16), "l2").shape
    torch.Size([1, 3, 3, 16, 16])
    """
    if cost == "ssim":
        return diagonal(geometric(ssim_curvature(images.contiguous()).diagonal()))
    if cost == "seen":
        return noticed(images)
    if cost == "ciede2000":
        return colour_difference(images)
    if cost == "l2":
        return diagonal(torch.ones_like(images))
    if cost != "perceptual":
        forms = ", ".join(name for name in COSTS if name != "l1")
        raise ValueError(f"cost: expected one of {forms}, found {cost!r}")
    weights = weights or PerceptualWeights()
    form = diagonal(geometric(texture(images)) ** weights.texture_power)
    luminance, *opponents = images.new_tensor(OPPONENT)
    edge = weights.edges * geometric(edges(images)) ** weights.edges_power
    form = form + along(luminance, edge)
    plane = weights.chroma * geometric(chroma(images)) ** weights.chroma_power
    for direction in opponents:
        form = form + along(direction, plane)
    return form


#: Where local energies r are pooled as sum r^3, the least change that gains a given amount has
#: |d| ~ w^(-3/5) under the weights w of the energies, as under a plain sum with w^(3/5).
POOLED = 3 / 5
#: The share of every change, coarser than what the weights are for, that counts everywhere alike.
ANYWHERE = 0.02


def noticed(images: Images) -> Tensor:
    """How many people would notice a change of each pixel: the visibility that ``seen`` pools.

    Along luminance and either opponent colour, by their contrast masking.
    """
    weights = sensitivity(images)
    scale = weights[:, :1].log().mean((1, 2, 3), keepdim=True).exp()
    weights = (weights / scale) ** POOLED
    form = diagonal(ANYWHERE * weights.mean(1, keepdim=True).expand_as(images))
    for channel, direction in enumerate(images.new_tensor(OPPONENT)):
        form = form + along(direction, weights[:, channel : channel + 1])
    return form


def texture(images: Images) -> Features:
    """How visible noise is at each pixel and channel: the mean of 1 / (2 var + C2) around it.

    The diagonal of SSIM's Hessian but for its luminance term, with the image mirrored at the edge,
    so that the border counts as much as the rest.
    """
    mean, square = blur(torch.cat((images, images.square()))).chunk(2)
    return blur(1 / (2 * (square - mean.square()).clamp_min(0) + C2))


def edges(images: Images) -> Features:
    """How visible a change of luminance is at each pixel, ``(n, 1, h, w)``: less on edges.

    The sum, over the pixels whose Prewitt gradient the change enters, of 1 / (2 G^2 + C1).
    """
    luminance = (images * images.new_tensor(OPPONENT[0]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    prewitt = images.new_tensor([[-1.0, 0.0, 1.0]] * 3).view(1, 1, 3, 3) / 3
    padded = F.pad(luminance, (1, 1, 1, 1), mode="replicate")
    strength = F.conv2d(padded, prewitt).square() + F.conv2d(padded, prewitt.mT).square()
    visible = F.pad(1 / (2 * strength + GRADIENT_CONSTANT), (1, 1, 1, 1), mode="replicate")
    return F.avg_pool2d(visible, 3, 1)


def chroma(images: Images) -> Features:
    """How visible a change of colour is at each pixel, ``(n, 1, h, w)``: less where it is vivid."""
    opponents = torch.einsum("kc,nchw->nkhw", images.new_tensor(OPPONENT[1:]), images)
    return 1 / (2 * opponents.square().sum(1, keepdim=True) + CHROMA_CONSTANT)


def colour_difference(images: Images, step: float = 2 / 255) -> Tensor:
    """CIEDE2000's metric tensor at each pixel: its square is d^T A d for a small change d.

    By differences over ``step``, two levels of 8 bits: along each axis and each pair of axes.
    """
    at = srgb_to_lab(images)

    def squared(*channels: int) -> Tensor:
        moved = images.clone()
        # Into the cube, which keeps sRGB's curve on its own side of 0.
        for channel in channels:
            moved[:, channel] += torch.where(images[:, channel] > 0.5, -step, step)
        return ciede2000(at, srgb_to_lab(moved)).square() / step**2

    alone = [squared(channel) for channel in range(3)]
    sign = torch.where(images > 0.5, -1.0, 1.0)
    form = diagonal(torch.stack(alone, 1))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        mixed = sign[:, i] * sign[:, j] * (squared(i, j) - alone[i] - alone[j]) / 2
        form[:, i, j] = form[:, j, i] = mixed
    total = torch.stack(alone, 1).sum(1, keepdim=True) + 1e-12
    # Differences over a step are not quite a quadratic form: keep it positive definite.
    form = form + diagonal(0.05 * total.expand_as(images))
    return form * (geometric(total) / total).unsqueeze(1)


def diagonal(values: Features) -> Tensor:
    """``(n, 3, h, w)`` as diagonal matrices ``(n, 3, 3, h, w)``."""
    eye = torch.eye(3, dtype=values.dtype, device=values.device).view(1, 3, 3, 1, 1)
    return eye * values.unsqueeze(1)


def along(direction: Tensor, values: Features) -> Tensor:
    """``values`` (``(n, 1, h, w)``) times the matrix that squares a change along ``direction``."""
    return torch.outer(direction, direction).view(1, 3, 3, 1, 1) * values.unsqueeze(1)


def geometric(values: Features) -> Features:
    """``values`` over their geometric mean in each image."""
    logarithms = values.clamp_min(1e-20).log()
    return (logarithms - logarithms.mean((1, 2, 3), keepdim=True)).exp()


def blur(images: Images) -> Images:
    """SSIM's Gaussian average around every pixel, the image mirrored at its edges."""
    weights = gaussian(images).repeat(3, 1)
    reach = WINDOW // 2
    mode = "reflect" if min(images.shape[2:]) > reach else "replicate"
    rows = F.conv2d(
        F.pad(images, (reach, reach, 0, 0), mode=mode), weights[:, None, None], groups=3
    )
    return F.conv2d(
        F.pad(rows, (0, 0, reach, reach), mode=mode), weights[:, None, :, None], groups=3
    )
