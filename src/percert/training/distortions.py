"""Two severities of one distortion of each photograph: the milder one must be closer."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from percert.norms import per_sample
from percert.tensors import Images
from percert.training.batch_edits import downsample

FAMILIES = ("noise", "blur", "brightness", "contrast", "saturation", "blocks", "zoom", "cast")


def distortion_pair(images: Images, generator: Generator) -> list[Images]:
    """``[milder, stronger]``, each ``(n, 3, h/2, w/2)``, of images at twice the network's size.

    The milder one goes 0.3 to 0.7 of the stronger one's way; family and severity are drawn from
    ``generator``.
    """
    count = len(images)
    family = torch.randint(len(FAMILIES), (count,), generator=generator)
    full = torch.rand(count, generator=generator) * 0.7 + 0.3
    part = full * (torch.rand(count, generator=generator) * 0.4 + 0.3)
    sign = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    noise = torch.randn(count, 3, images.shape[2] // 2, images.shape[3] // 2, generator=generator)
    towards = torch.rand(count, 2, generator=generator) * 2 - 1
    colour = torch.rand(count, 3, 1, 1, generator=generator) * 2 - 1

    def distort(severity: Tensor) -> Images:
        zoomed = _zoom(images, torch.where(family == FAMILIES.index("zoom"), severity, 0), towards)
        small = downsample(zoomed, images.shape[2] // 2)
        amount = per_sample(severity, small)
        signed = per_sample(severity * sign, small)
        mean, grey = small.mean((1, 2, 3), keepdim=True), small.mean(1, keepdim=True)
        results = (
            small + 0.12 * amount * noise,
            torch.lerp(small, _smooth(small, 9), amount),
            small * (1 + 0.6 * signed),
            mean + (small - mean) * (1 + 0.6 * signed),
            grey + (small - grey) * (1 + signed),
            torch.lerp(small, _blocks(small), amount),
            small,
            small * (1 + 0.5 * amount * colour),
        )
        chosen = torch.stack(results)[family, torch.arange(count)]
        return chosen.clamp(0, 1)

    return [distort(part), distort(full)]


def _zoom(images: Images, severity: Tensor, towards: Tensor) -> Images:
    """Crops away up to 40 % of each side, towards one point."""
    side = 1 - 0.4 * severity
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = side
    theta[:, :, 2] = towards * (1 - side)[:, None]
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False, padding_mode="border")


def _smooth(images: Images, size: int) -> Images:
    padded = F.pad(images, (size // 2,) * 4, mode="replicate")
    return F.avg_pool2d(padded, size, 1)


def _blocks(images: Images) -> Images:
    """8 x 8 blocks of one colour, what a strong JPEG tends to."""
    return F.interpolate(F.avg_pool2d(images, 8), scale_factor=8)
