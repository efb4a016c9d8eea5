"""What an attack wants: the loss that it climbs, and when it has got there.

A goal turns what is attacked into scores. A classifier's are its logits, a metric's two-alternative
choice is two logits as well, so that one attack serves both.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.check import check_choice, check_images, one_line
from percert.metrics.metric import Distance
from percert.tensors import Images, Vector

#: A classifier: sRGB images in [0, 1] to logits ``(n, classes)``.
Classifier: TypeAlias = Callable[[Images], Tensor]
#: What can be attacked: a classifier, or a metric where the goal compares images.
Model: TypeAlias = Classifier | Distance

LossName: TypeAlias = Literal["margin", "cross-entropy", "dlr"]
LOSSES: tuple[LossName, ...] = ("margin", "cross-entropy", "dlr")


@runtime_checkable
class Goal(Protocol):
    """What counts as success for each image of a batch.

    ``scores(model, images)`` is what the model says, differentiable in the images, one row an
    image, in the images' own precision whatever the model computes in (rounding keeps the order:
    what is ahead after it was ahead before). ``loss(scores, kind)`` is ``(n,)``, to be made as
    large as can be; ``margin(scores)`` is ``(n,)`` and greater than 0 exactly where the goal is
    reached, the demanded confidence included.
    A goal holds one entry an image; ``select(index)`` is the goal of some of them, in that order.
    """

    def __len__(self) -> int: ...

    def select(self, index: Tensor, /) -> "Goal": ...

    def scores(self, model: Model, images: Images, /) -> Tensor: ...

    def loss(self, scores: Tensor, kind: LossName = "margin", /) -> Vector: ...

    def margin(self, scores: Tensor, /) -> Vector: ...


@dataclass(frozen=True, eq=False)
class Untargeted:
    """Any class but ``labels`` (``(n,)``, integers), ahead by more than ``confidence`` in logits.

    >>> goal = Untargeted(torch.tensor([0, 1]))
    >>> goal.margin(torch.tensor([[2.0, 1.0], [2.0, 1.0]]))
    tensor([-1.,  1.])
    """

    labels: Tensor
    confidence: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", check_labels(self.labels))

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: Tensor) -> "Untargeted":
        return replace(self, labels=self.labels[index])

    def scores(self, model: Model, images: Images) -> Tensor:
        return logits(model, images, self.labels)

    def loss(self, scores: Tensor, kind: LossName = "margin") -> Vector:
        return -class_loss(scores, self.labels, kind)

    def margin(self, scores: Tensor) -> Vector:
        return -class_margin(scores, self.labels) - self.confidence


@dataclass(frozen=True, eq=False)
class Targeted:
    """The class ``labels`` (``(n,)``, integers), ahead of all others by more than ``confidence``.

    >>> Targeted(torch.tensor([1])).margin(torch.tensor([[2.0, 1.0, 0.0]]))
    tensor([-1.])
    """

    labels: Tensor
    confidence: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", check_labels(self.labels))

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: Tensor) -> "Targeted":
        return replace(self, labels=self.labels[index])

    def scores(self, model: Model, images: Images) -> Tensor:
        return logits(model, images, self.labels)

    def loss(self, scores: Tensor, kind: LossName = "margin") -> Vector:
        if kind == "dlr":
            return targeted_dlr(scores, self.labels)
        return class_loss(scores, self.labels, kind)

    def margin(self, scores: Tensor) -> Vector:
        return class_margin(scores, self.labels) - self.confidence


@dataclass(frozen=True, eq=False)
class FlipTriplet:
    """Make a metric's 2AFC judgement of a moved reference fall the other way.

    The attacked images are the references. ``choice`` (``(n,)``) is the decision to be turned
    round: 0 = ``left`` is closer, 1 = ``right``. The scores are two logits, minus each distance,
    and ``labels`` is another name of ``choice``; LipSim, section 5.1.
    """

    left: Images
    right: Images
    choice: Tensor
    confidence: float = 0.0

    def __post_init__(self) -> None:
        check_images(self.left, "left")
        check_images(self.right, "right")
        object.__setattr__(self, "choice", check_labels(self.choice, "choice"))

    @property
    def labels(self) -> Tensor:
        return self.choice

    def __len__(self) -> int:
        return len(self.choice)

    def select(self, index: Tensor) -> "FlipTriplet":
        return replace(
            self, left=self.left[index], right=self.right[index], choice=self.choice[index]
        )

    def scores(self, model: Model, images: Images) -> Tensor:
        distances = ask(model, images, self.left), ask(model, images, self.right)
        scores = finite(-torch.stack(distances, 1), "distances")
        check_range(self.choice, 2, "choice")
        return scores.to(images.dtype)

    def loss(self, scores: Tensor, kind: LossName = "margin") -> Vector:
        return -class_loss(scores, self.choice, kind)

    def margin(self, scores: Tensor) -> Vector:
        return -class_margin(scores, self.choice) - self.confidence


@dataclass(frozen=True, eq=False)
class MoveEmbedding:
    """Move a metric's embedding away from that of ``reference`` (LipSim, Eq. 14).

    The loss is the squared distance of what ``model.embed`` gives, or the metric's distance where
    it has none; the goal is reached where it exceeds ``beyond`` (never, as it stands: the attack
    goes on to its end). Scores are ``(n, 1)``.
    """

    reference: Images
    beyond: float = float("inf")

    def __len__(self) -> int:
        return len(self.reference)

    def select(self, index: Tensor) -> "MoveEmbedding":
        return replace(self, reference=self.reference[index])

    def scores(self, model: Model, images: Images) -> Tensor:
        embed = getattr(model, "embed", None)
        if embed is not None:
            with torch.no_grad():
                reference = embed(self.reference)
            moved = (ask(embed, images) - reference).square().sum(1, keepdim=True)
            return finite(moved, "embeddings").to(images.dtype)
        distances = finite(ask(model, self.reference, images), "distances")
        return distances[:, None].to(images.dtype)

    def loss(self, scores: Tensor, kind: LossName = "margin") -> Vector:
        return scores[:, 0]

    def margin(self, scores: Tensor) -> Vector:
        return scores[:, 0] - self.beyond


class NonFiniteScores(ValueError):
    """A model says NaN or infinity of an image."""


def ask(model: Callable[..., Tensor], *images: Images) -> Tensor:
    """What ``model`` says of ``images``.

    Raises ``ValueError``, in one line, where torch cannot compute it, as for a size that the model
    is not made for; memory that does not suffice stays torch's own error.
    """
    try:
        return model(*images)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, AssertionError) as error:
        found = " and ".join(str(tuple(batch.shape)) for batch in images)
        raise ValueError(f"model: fails on images {found}: {one_line(error)}") from error


def finite(scores: Tensor, what: str) -> Tensor:
    """``scores`` (``(n, ...)``), if they are all numbers.

    Raises :class:`NonFiniteScores`, which says of how many images they are not.

    >>> finite(torch.tensor([[0.0], [torch.nan]]), "logits")
    Traceback (most recent call last):
    percert.attacks.goal.NonFiniteScores: model: the logits of 1 of 2 images are NaN or ...
    """
    good = scores.detach().flatten(1).isfinite().all(1) if scores.ndim > 1 else scores.isfinite()
    if not good.all():
        bad = len(good) - int(good.sum())
        raise NonFiniteScores(
            f"model: the {what} of {bad} of {len(good)} images are NaN or infinite, "
            "which decides nothing"
        )
    return scores


def check_labels(labels: Tensor, name: str = "labels") -> Tensor:
    """``labels`` as int64, if they are integers in a tensor ``(n,)``.

    >>> check_labels(torch.tensor([0.0]))
    Traceback (most recent call last):
    ValueError: labels: expected integers, found torch.float32
    """
    if not isinstance(labels, Tensor):
        raise ValueError(f"{name}: expected a tensor of integers, found {type(labels).__name__}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"{name}: expected integers, found {labels.dtype}")
    if labels.ndim != 1:
        raise ValueError(f"{name}: expected shape (n,), found {tuple(labels.shape)}")
    return labels.long()


def check_range(labels: Tensor, classes: int, name: str = "labels") -> None:
    """Raise ``ValueError`` for labels that are not among ``classes``, counted from 0."""
    if len(labels):
        low, high = torch.stack(torch.aminmax(labels)).tolist()
        if low < 0 or high >= classes:
            odd = low if low < 0 else high
            raise ValueError(
                f"{name}: expected classes from 0 to {classes - 1}, which is what the model has, "
                f"found {odd}"
            )


def logits(model: Model, images: Images, labels: Tensor | None = None) -> Tensor:
    """A classifier's logits, checked: ``(n, classes)``, finite, at least two classes.

    ``labels``, where given, must be among the classes. Raises ``ValueError``.
    """
    scores = ask(model, images)
    if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != len(images):
        found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(f"model: expected logits ({len(images)}, classes), found {found}")
    if scores.shape[1] < 2:
        raise ValueError(f"model: expected logits of at least 2 classes, found {scores.shape[1]}")
    if labels is not None:
        check_range(labels, scores.shape[1])
    return finite(scores, "logits").to(images.dtype)


def class_margin(scores: Tensor, labels: Tensor) -> Vector:
    """``z_y - max_{j != y} z_j`` of each row.

    >>> class_margin(torch.tensor([[3.0, 1.0, 2.5]]), torch.tensor([0]))
    tensor([0.5000])
    """
    wanted = scores.gather(1, labels[:, None])[:, 0]
    others = scores.scatter(1, labels[:, None], float("-inf")).amax(1)
    return wanted - others


def class_loss(scores: Tensor, labels: Tensor, kind: LossName) -> Vector:
    """How well ``scores`` speak for ``labels``: the larger, the better; ``(n,)``.

    ``"margin"``: see :func:`class_margin`; ``"cross-entropy"``: the log-likelihood; ``"dlr"``: the
    scale-free margin (z_y - max_{j != y} z_j) / (z_(1) - z_(3)) over the sorted logits (Croce and
    Hein 2020, Eq. 6), for at least 3 classes.
    """
    check_choice(kind, LOSSES, "loss")
    if kind == "margin":
        return class_margin(scores, labels)
    if kind == "cross-entropy":
        return -F.cross_entropy(scores, labels, reduction="none")
    if scores.shape[1] < 3:
        raise ValueError(f"loss 'dlr' needs at least 3 classes, found {scores.shape[1]}")
    best = scores.topk(3, dim=1).values
    return class_margin(scores, labels) / (best[:, 0] - best[:, 2]).clamp_min(1e-12)


def targeted_dlr(scores: Tensor, labels: Tensor) -> Vector:
    """(z_t - max_j z_j) / (z_(1) - (z_(3) + z_(4)) / 2), for at least 4 classes, as a gain.

    Croce and Hein 2020, Eq. 7, with the sign that grows towards the target; the best class stands
    for the original one.
    """
    return class_margin(scores, labels) / targeted_spread(scores)


def targeted_spread(scores: Tensor) -> Vector:
    """z_(1) - (z_(3) + z_(4)) / 2 of each row, by which the targeted DLR loss is divided."""
    if scores.shape[1] < 4:
        raise ValueError(f"targeted loss 'dlr' needs at least 4 classes, found {scores.shape[1]}")
    best = scores.topk(4, dim=1).values
    return (best[:, 0] - (best[:, 2] + best[:, 3]) / 2).clamp_min(1e-12)
