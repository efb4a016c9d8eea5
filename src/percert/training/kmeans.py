"""The speed-up of appendix D: alike images share the perturbation of their cluster's centre.

*Human Imperceptible Attacks and Applications to Improve Fairness*, appendix D: k-means within each
class, about 5 images a cluster; the image closest to the mean is the cluster's centre. Its
perturbation is tried first, and an image attacked only where that fails.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from percert.attacks.goal import Goal, Model
from percert.extras import install_extra
from percert.images import round_to_8bit
from percert.tensors import Images
from percert.training.example_weights import Floats, Ints

#: About so many images share a centre (appendix D).
SIZE = 5.0
#: Rows that MiniBatchKMeans looks at in one of its steps; its own default, where memory allows.
CHUNK = 1024


@dataclass(frozen=True, eq=False)
class Clusters:
    """``member`` ``(n,)``: the cluster of each image; ``centre`` ``(k,)``: the image in its middle.

    A centre belongs to its own cluster, and a cluster to one class.
    """

    member: Ints
    centre: Ints

    def __len__(self) -> int:
        return len(self.centre)


def cluster_images(
    features: Callable[[Ints], Floats], labels: Ints, *, size: float = SIZE, seed: int = 0
) -> Clusters:
    """Clusters of about ``size`` images within each class, by ``MiniBatchKMeans``.

    ``features(rows)`` gives what the rows are compared by, ``(len(rows), d)``: one class at a time
    is in memory. Clusters without an image are dropped. Raises ``ValueError`` for a size below 1.
    Needs scikit-learn.

    >>> values = np.array([[0.0], [0.1], [0.2], [9.0], [9.2], [9.1], [0.1]])
    >>> found = cluster_images(lambda rows: values[rows], np.array([0, 0, 0, 0, 0, 0, 1]), size=3)
    >>> sorted(found.centre.tolist())  # the middle ones of both clumps; the other class has its own
    [1, 5, 6]
    """
    try:
        from sklearn.cluster import MiniBatchKMeans  # type: ignore[import-untyped]  # no types
    except ModuleNotFoundError:
        raise ValueError(f"clusters need scikit-learn: {install_extra('train')}") from None
    if not size >= 1:
        raise ValueError(f"cluster size: expected at least 1 image, found {size}")
    member = np.zeros(len(labels), np.int64)
    centres: list[int] = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        values = np.asarray(features(rows), np.float64)
        count = max(1, round(len(rows) / size))
        means = MiniBatchKMeans(
            count, batch_size=CHUNK, n_init=3, random_state=seed, reassignment_ratio=0.0
        )
        with warnings.catch_warnings():  # fewer distinct images than clusters are no fault
            warnings.simplefilter("ignore")
            nearest = means.fit_predict(values)
        for cluster in np.unique(nearest):
            inside = np.flatnonzero(nearest == cluster)
            mean = values[inside].mean(0)
            away = np.square(values[inside] - mean).sum(1)
            member[rows[inside]] = len(centres)
            centres.append(int(rows[inside[away.argmin()]]))
    return Clusters(member, np.array(centres, np.int64))


def embedding_of(model: nn.Module) -> Callable[[Images], Tensor]:
    """What the model compares images by: ``model.embed``, or the input of its last linear layer.

    Raises ``ValueError`` for a model with neither.

    >>> from percert.models.small_resnet import small_resnet
    >>> embedding_of(small_resnet(width=4))(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 16])
    """
    own = getattr(model, "embed", None)
    if callable(own):
        return own  # type: ignore[no-any-return]  # attributes of modules have no types
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if not linear:
        raise ValueError(
            f"clusters: {type(model).__name__} has no embed and no linear layer; cluster by pixels"
        )

    def embed(images: Images) -> Tensor:
        seen: list[Tensor] = []
        handle = linear[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            with torch.no_grad():
                model(images)
        finally:
            handle.remove()
        return seen[-1].flatten(1)

    return embed


@torch.no_grad()
def try_changes(model: Model, images: Images, changes: Tensor, goal: Goal) -> tuple[Images, Tensor]:
    """``images`` with other images' ``changes``, and where that reaches the goal, ``(n,)``.

    Both ``(n, 3, h, w)``; the result is clipped to [0, 1] and rounded to 8 bits. An image that is
    not changed has reached nothing.
    """
    moved = round_to_8bit((images + changes).clamp(0, 1))
    reached = goal.margin(goal.scores(model, moved)) > 0
    return moved, reached & (moved != images).flatten(1).any(1)
