"""Classifiers whose nearest adversarial image is known."""

import torch
from torch import Tensor


class Linear:
    """``classes`` logits W (x - 1/2): every decision boundary is a hyperplane.

    Sums run row by row in float64, so that no row depends on the batch that it is in; what comes
    out has the images' precision.
    """

    def __init__(self, *, classes: int = 5, side: int = 8, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        shape = (classes, 3 * side * side)
        self.weight = torch.randn(shape, generator=generator, dtype=torch.float64)
        self.weight /= shape[1] ** 0.5
        self.images_seen = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.images_seen += len(images)
        flat = images.flatten(1).double() - 0.5
        return (flat[:, None] * self.weight).sum(2).to(images)

    def distances(self, images: Tensor, labels: Tensor, norm: str) -> Tensor:
        """How far each image is from each other class, ``(n, classes)``; inf for its own.

        (z_y - z_j) / |w_y - w_j| in the dual norm, where the box [0, 1] is out of reach.
        """
        scores = self(images.double())
        lead = scores.gather(1, labels[:, None]) - scores
        apart = self.weight[labels][:, None] - self.weight
        size = apart.norm(dim=2) if norm == "l2" else apart.abs().sum(2)
        away = lead / size
        return away.scatter(1, labels[:, None], torch.inf)

    def distance(self, images: Tensor, labels: Tensor, norm: str) -> Tensor:
        return self.distances(images, labels, norm).amin(1)


class InsideBall:
    """Class 0 inside the l2 ball of ``radius`` around ``centre`` (one image), class 1 outside."""

    def __init__(self, centre: Tensor, radius: float) -> None:
        self.centre, self.radius = centre, radius

    def __call__(self, images: Tensor) -> Tensor:
        beyond = self.beyond(images)
        return torch.stack([-beyond, beyond], 1)

    def beyond(self, images: Tensor) -> Tensor:
        return (images - self.centre).flatten(1).norm(dim=1) - self.radius

    def distance(self, images: Tensor, norm: str) -> Tensor:
        """To the sphere: along the radius for l2; for linf, from inside, all pixels outwards.

        There sum (|v_i| + t)^2 = r^2 for v = x - centre, a quadratic equation in t.
        """
        if norm == "l2":
            return self.beyond(images).abs()
        v = (images - self.centre).flatten(1).abs().double()
        count, half = v.shape[1], v.sum(1)
        rest = v.square().sum(1) - self.radius**2
        assert (rest < 0).all(), "the closed form is for images inside the ball"
        return (-half + (half**2 - count * rest).sqrt()) / count


def grey_images(count: int, *, side: int = 8, seed: int = 1, width: float = 0.1) -> Tensor:
    """Random images within ``width`` of mid-grey, far from the ends of [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(count, 3, side, side, generator=generator)
    return 0.5 + width * (2 * noise - 1)


def near_boundary(model: Linear, count: int, *, side: int = 8, gap: float = 0.1) -> Tensor:
    """Images whose nearest boundary is ``gap`` away in l2, exactly: moved there in closed form."""
    images = grey_images(count, side=side).double()
    labels = model(images).argmax(1)
    away = model.distances(images, labels, "l2")
    rival = away.argmin(1)
    apart = model.weight[labels] - model.weight[rival]
    unit = apart / apart.norm(dim=1, keepdim=True)
    moved = images.flatten(1) + (gap - away.amin(1))[:, None] * unit
    return moved.view_as(images).float()
