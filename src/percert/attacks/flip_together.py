"""Turn a metric's choice round by moving any of a triplet's images, all of them within a budget."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from percert.attacks.goal import FlipTriplet, LossName, Model, class_loss, class_margin
from percert.check import check_choice, check_images
from percert.metrics.dreamsim import DreamSim
from percert.metrics.embedding import EmbeddingMetric, cosine_distance
from percert.tensors import Images, Vector

#: Which images move, in the order in which they stand in the batch.
ROLES: dict[str, tuple[str, ...]] = {
    "reference": ("reference",),
    "candidates": ("left", "right"),
    "all": ("reference", "left", "right"),
}

#: Attacks that treat images with equal scores alike, so that those of a triplet stay together.
TOGETHER = ("apgd", "ascent", "pgd", "square")


@dataclass(frozen=True, eq=False)
class FlipTogether:
    """Like :class:`~percert.attacks.goal.FlipTriplet`, for any images that move, and faster.

    The batch holds the moving images of each triplet one after the other, as :func:`interleave`
    puts them; the rows of a triplet have the same scores, so the same losses and margins, and an
    attack of :data:`TOGETHER` moves them at the same time, each within its own budget. ``fixed``
    are the images that stay, by role, or their embeddings: with an embedding metric (and its
    ``constant``) no image that stays is embedded twice.
    """

    roles: tuple[str, ...]
    fixed: dict[str, Tensor]
    choice: Tensor
    constant: float | None = None

    @property
    def labels(self) -> Tensor:
        """The decision to be turned round, a row an image."""
        return self.choice

    def __len__(self) -> int:
        return len(self.choice)

    def select(self, index: Tensor) -> "FlipTogether":
        fixed = {role: images[index] for role, images in self.fixed.items()}
        return replace(self, fixed=fixed, choice=self.choice[index])

    def scores(self, model: Model, images: Images) -> Tensor:
        count = len(self.roles)
        if len(images) % count:
            raise ValueError(
                f"attack: expected the {count} moving images of a triplet to stay together, "
                f"found {len(images)} rows"
            )
        shown = images if self.constant is None else model.embed(images)  # type: ignore[union-attr]  # only embedding metrics have a constant
        parts = {role: shown[i::count] for i, role in enumerate(self.roles)}
        parts.update({role: kept[::count] for role, kept in self.fixed.items()})
        distances = [self._distance(model, parts, side) for side in ("left", "right")]
        logits = -torch.stack(distances, 1).to(images.dtype)
        return logits.repeat_interleave(count, 0)

    def loss(self, scores: Tensor, kind: LossName = "margin") -> Vector:
        return -class_loss(scores, self.choice, kind)

    def margin(self, scores: Tensor) -> Vector:
        return -class_margin(scores, self.choice)

    def _distance(self, model: Model, parts: dict[str, Tensor], side: str) -> Tensor:
        reference, candidate = parts["reference"], parts[side]
        if self.constant is not None:
            return cosine_distance(reference, candidate, self.constant)
        distance: Tensor = model(reference, candidate)  # type: ignore[call-arg]
        return distance


def flip_together(
    model: Model, triplet: dict[str, Images], choice: Tensor, perturbed: str
) -> FlipTogether | FlipTriplet:
    """The goal for ``n`` triplets of which the ``perturbed`` images move.

    ``triplet`` has ``reference``, ``left`` and ``right``, ``(n, 3, h, w)`` each, ``choice`` ``(n,)``
    is 0 for left, 1 for right. What moves must have one size. Any other metric that is 1 - cos of
    what its ``embed`` gives may say so by an attribute ``angle = True``: that is faster. Raises
    ``ValueError`` where sizes differ.

    >>> from percert.metrics.catalog import create_metric
    >>> metric, photo = create_metric("thumbnail", device="cpu"), torch.eye(16).expand(1, 3, 16, 16)
    >>> triplet = {"reference": photo, "left": photo / 2, "right": 1 - photo}
    >>> goal = flip_together(metric, triplet, torch.tensor([0]), "all")
    >>> goal.margin(goal.scores(metric, interleave(triplet, "all")))
    tensor([-2., -2., -2.])
    """  # noqa: E501
    check_choice(perturbed, tuple(ROLES), "perturbed")
    roles = ROLES[perturbed]
    for role, images in triplet.items():
        check_images(images, role)
    sizes = {tuple(triplet[role].shape[1:]) for role in roles}
    if len(sizes) > 1:
        raise ValueError(
            f"perturbed {perturbed!r}: images that move together must have one size, "
            f"found {' and '.join(f'{size[1]} x {size[2]}' for size in sorted(sizes))}"
        )
    stay = {role: images for role, images in triplet.items() if role not in roles}
    constant = None
    if isinstance(model, EmbeddingMetric | DreamSim) or getattr(model, "angle", False) is True:
        # An angle between embeddings: what stays need not be embedded in every step.
        constant = model.constant if isinstance(model, EmbeddingMetric) else 0.0
        with torch.no_grad():
            stay = {role: model.embed(images) for role, images in stay.items()}  # type: ignore[union-attr]  # these have one
    elif perturbed == "reference":
        return FlipTriplet(triplet["left"], triplet["right"], choice)
    fixed = {role: kept.repeat_interleave(len(roles), 0) for role, kept in stay.items()}
    return FlipTogether(roles, fixed, choice.repeat_interleave(len(roles)), constant)


def interleave(triplet: dict[str, Images], perturbed: str) -> Images:
    """The moving images of ``n`` triplets as one batch, those of a triplet one after the other."""
    return torch.stack([triplet[role] for role in ROLES[perturbed]], 1).flatten(0, 1)


def take_apart(batch: Images, triplet: dict[str, Images], perturbed: str) -> dict[str, Images]:
    """The triplets again, with what moved as it is in ``batch``: undoes :func:`interleave`."""
    roles = ROLES[perturbed]
    return {**triplet, **{role: batch[i :: len(roles)] for i, role in enumerate(roles)}}
