"""Goals made of others: more confidence, one class, defences, the images of a triplet together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from percert.attacks.goal import (
    FlipTriplet,
    Goal,
    LossName,
    Model,
    MoveEmbedding,
    Untargeted,
    class_loss,
    class_margin,
    targeted_spread,
)
from percert.check import check_choice, check_images
from percert.defences import Defence, create_defence
from percert.metrics.certified.embedding import EmbeddingMetric, cosine_distance
from percert.metrics.deep.dreamsim import DreamSim
from percert.tensors import Images, Vector


@dataclass(frozen=True, eq=False)
class Demanding:
    """Another goal, reached only where its margin exceeds ``confidence`` (the paper's a) as well.

    And ``relative`` times the largest score, in size, of each image.

    >>> Demanding(Untargeted(torch.tensor([1])), 0.5).margin(torch.tensor([[2.0, 1.0]]))
    tensor([0.5000])
    """

    goal: Goal
    confidence: float
    relative: float = 0.0

    def __len__(self) -> int:
        return len(self.goal)

    def select(self, index: Tensor) -> "Demanding":
        return replace(self, goal=self.goal.select(index))

    def scores(self, model: Model, images: Images) -> Tensor:
        return self.goal.scores(model, images)

    def loss(self, scores: Tensor, kind: LossName = "margin") -> Vector:
        return self.goal.loss(scores, kind)

    def margin(self, scores: Tensor) -> Vector:
        demanded = self.relative * scores.detach().abs().amax(1) + self.confidence
        return self.goal.margin(scores) - demanded


def demanding(goal: Goal, confidence: float) -> Goal:
    """The goal with ``confidence`` added to what it asks for.

    Raises ``ValueError`` for a goal that can never be reached: there is no smallest change then.
    """
    if isinstance(innermost(goal), MoveEmbedding) and innermost(goal).beyond == float("inf"):
        raise ValueError("goal MoveEmbedding: expected a finite beyond= to reach, found inf")
    return Demanding(goal, confidence) if confidence else goal


def clearly(goal: Goal) -> Goal:
    """The goal, to be reached by more than rounding: 1e-5 of the largest score, and 1e-6.

    The nearest success is so near the boundary that in another batch, whose sums are rounded in
    another order, it would be a failure. Raises as :func:`demanding` does.

    >>> goal = clearly(Untargeted(torch.tensor([0])))
    >>> goal.margin(torch.tensor([[100.0, 100.0009]])) > 0
    tensor([False])
    """
    return Demanding(demanding(goal, 0.0), confidence=1e-6, relative=1e-5)


def innermost(goal: Goal) -> Any:
    """The goal that others of this file are made of."""
    while hasattr(goal, "goal"):
        goal = goal.goal
    return goal


@dataclass(frozen=True, eq=False)
class Towards:
    """An untargeted goal that is climbed through one other class of each image, ``classes``.

    ``gap`` is z_t - z_y less the confidence, greater than 0 only where the goal is reached. The
    goal counts as reached by whatever class gets ahead, as in Croce and Hein 2020.
    """

    goal: Untargeted
    classes: Tensor

    def __len__(self) -> int:
        return len(self.goal)

    def select(self, index: Tensor) -> "Towards":
        return replace(self, goal=self.goal.select(index), classes=self.classes[index])

    def scores(self, model: Model, images: Images) -> Tensor:
        return self.goal.scores(model, images)

    def loss(self, scores: Tensor, kind: LossName = "margin") -> Vector:
        """z_t - z_y, for ``"dlr"`` divided by z_(1) - (z_(3) + z_(4)) / 2 (their Eq. 7)."""
        if kind == "cross-entropy":
            return scores.log_softmax(1).gather(1, self.classes[:, None])[:, 0]
        ahead = self._ahead(scores)
        if kind == "margin":
            return ahead
        return ahead / targeted_spread(scores)

    def margin(self, scores: Tensor) -> Vector:
        return self.goal.margin(scores)

    def gap(self, scores: Tensor) -> Vector:
        return self._ahead(scores) - self.goal.confidence

    def _ahead(self, scores: Tensor) -> Vector:
        target, label = self.classes[:, None], self.goal.labels[:, None]
        return (scores.gather(1, target) - scores.gather(1, label))[:, 0]


def gap(goal: Goal, scores: Tensor) -> Vector:
    """What a minimal-norm attack brings to 0: the goal's margin, or that of its one class."""
    return goal.gap(scores) if isinstance(goal, Towards) else goal.margin(scores)


def through_classes(goal: Goal, scores: Tensor, count: int) -> Iterator[Goal]:
    """The goal through each of the ``count`` classes that come next to the label, likeliest first.

    ``scores`` are those of the clean images. A goal that is not untargeted, or that has only two
    classes to choose from, is given as it is, once.

    >>> import torch
    >>> goal = Untargeted(torch.tensor([0]))
    >>> [one.classes.item() for one in through_classes(goal, torch.tensor([[3.0, 1.0, 2.0]]), 9)]
    [2, 1]
    """
    if not isinstance(goal, Untargeted) or scores.shape[1] < 3 or count < 1:
        yield goal
        return
    others = scores.scatter(1, goal.labels[:, None], float("-inf"))
    ranked = others.topk(min(count, scores.shape[1] - 1), dim=1).indices
    for classes in ranked.unbind(1):
        yield Towards(goal, classes)


@dataclass(frozen=True, eq=False)
class Surviving:
    """``goal``, on the image itself and on what each of the ``defences`` makes of it.

    The loss and the margin are the worst of them. Defences are differentiated as if they changed
    nothing (straight through), since most have no gradient. Scores hold those of every version, one
    behind the other.

    >>> from percert.attacks import Untargeted
    >>> goal = surviving(Untargeted(torch.tensor([0])), "bits-1")
    >>> model = lambda x: torch.stack([0.7 - x.mean((1, 2, 3)), x.mean((1, 2, 3)) - 0.7], 1)
    >>> image = torch.full((1, 3, 4, 4), 0.6)
    >>> goal.goal.margin(model(image)), goal.margin(goal.scores(model, image))
    (tensor([-0.2000]), tensor([-0.2000]))
    """

    goal: Goal
    defences: tuple[Defence, ...]

    def __len__(self) -> int:
        return len(self.goal)

    @property
    def labels(self) -> Tensor:
        """The labels of a goal on classes."""
        labels: Tensor = self.goal.labels  # type: ignore[attr-defined]  # such a goal has them
        return labels

    def select(self, index: Tensor) -> "Surviving":
        return replace(self, goal=self.goal.select(index))

    def scores(self, model: Model, images: Images) -> Tensor:
        versions = [images, *(through(defence, images) for defence in self.defences)]
        return torch.cat([self.goal.scores(model, version) for version in versions], 1)

    def loss(self, scores: Tensor, kind: LossName = "margin") -> Vector:
        return torch.stack([self.goal.loss(part, kind) for part in self.parts(scores)]).amin(0)

    def margin(self, scores: Tensor) -> Vector:
        return torch.stack([self.goal.margin(part) for part in self.parts(scores)]).amin(0)

    def parts(self, scores: Tensor) -> Sequence[Tensor]:
        """Those of the image itself, and of what each defence makes of it."""
        return scores.chunk(1 + len(self.defences), 1)


def through(defence: Defence, images: Images) -> Images:
    """The defended images, with the gradient of leaving them alone."""
    with torch.no_grad():
        defended = defence(images.detach())
    return images + (defended - images).detach()


def surviving(goal: Goal, defences: str) -> Goal:
    """``goal`` through each defence of a list such as ``"jpeg-75+bits-4"``; itself where empty."""
    if not defences:
        return goal
    return Surviving(goal, tuple(create_defence(name) for name in defences.split("+")))


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
