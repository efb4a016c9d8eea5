"""The recipes of Algorithms 2 and 3: everything that decides what a run gives.

*Human Imperceptible Attacks and Applications to Improve Fairness*, section 4. The attack that a
recipe names is any of the catalog, or the surrogate that the paper's attacks approximate:
sup_x loss(x) - lambda c(x, x0) (Eq. 4), the inner problem of the training.
"""

import os
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from percert.attacks import Attack, Watch, parse_attack
from percert.attacks.goal import Goal, LossName, Model
from percert.attacks.transport.cost import cost_of
from percert.attacks.transport.surrogate import robust_surrogate
from percert.registry import make, read_settings
from percert.tensors import Images
from percert.training.dro.steps import Augmentation, Precision
from percert.training.dro.weighting import Scheme
from percert.training.recipe_file import read_recipe_file

#: The name that stands for :class:`Surrogate` where an attack is asked for.
SURROGATE = "surrogate"


@dataclass(frozen=True, kw_only=True)
class RoundSettings:
    """How Algorithm 2 makes D. ``rounds`` is T1; ``learning_rate`` alpha (Table 5 prints 0.1).

    ``origin``: what is attacked is the image drawn, as Algorithm 2 says, or the clean image that it
    comes from. ``cluster_size`` 0 attacks every image; otherwise the centres of clusters of about
    that size go first, compared by ``cluster_by``. ``cost`` is recorded, not optimised: that is the
    attack's own. ``shard`` images are written, and kept, at once. Steps see images
    ``augment``-ed and in ``precision``; attacks see them as they are.
    """

    rounds: int = 3
    learning_rate: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 5e-4
    batch: int = 64
    weights: Scheme = "normalised"
    origin: Literal["drawn", "clean"] = "drawn"
    cluster_size: float = 0.0
    cluster_by: Literal["model", "pixels"] = "model"
    attack_wrong: bool = False
    cost: str = "ssim"
    shard: int = 1024
    augment: Augmentation = "none"
    precision: Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rounds < 0 or self.batch < 1 or self.shard < 1:
            raise ValueError(
                "expected rounds of at least 0, batch and shard of at least 1, found "
                f"{self.rounds}, {self.batch}, {self.shard}"
            )
        if self.cluster_size and self.cluster_size < 1:
            raise ValueError(f"cluster_size: expected 0 or at least 1, found {self.cluster_size}")


@dataclass(frozen=True, kw_only=True)
class DROSettings:
    """How Algorithm 3 trains a model: ``passes`` (T2) of ``draws`` images (``None``: len(D)) of D.

    ``weights`` is the scheme of P, ``None`` for the one that D was made with. ``schedule`` is what
    the learning rate does: stays, or falls to 0 along half a cosine. ``augment`` and ``precision``
    are as in :class:`RoundSettings`. Model i has seed ``seed`` + i.
    """

    passes: int = 3
    draws: int | None = None
    learning_rate: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 5e-4
    batch: int = 64
    weights: Scheme | None = None
    schedule: Literal["constant", "cosine"] = "constant"
    augment: Augmentation = "none"
    precision: Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.passes, self.batch, 1 if self.draws is None else self.draws) < 1:
            raise ValueError(
                f"expected passes, draws and batch of at least 1, found {self.passes}, "
                f"{self.draws}, {self.batch}"
            )


@dataclass(frozen=True, kw_only=True)
class AdversarialRecipe:
    """One adversarial data set (Algorithm 2), whole.

    ``attack`` is as for :func:`parse_solver`, ``model`` as for
    :func:`~percert.training.dro.train.full_spec`; ``start`` a file of theta_0's weights, or empty:
    random ones that the seed decides. ``limit`` images are drawn by the seed; ``None`` takes all.
    ``held_out`` are labelled images on which the model is judged after each round, clean and
    attacked; empty: none. Of a list with splits it takes ``val``, and training ``train``. ``size``
    and ``root`` are as for :func:`~percert.training.dro.images.read_training_images`; 0 and empty:
    images as they are, beside their list.
    """

    model: str = "small-resnet"
    start: str = ""
    held_out: str = ""
    size: int = 0
    root: str = ""
    attack: str = "human-perc-ot"
    limit: int | None = None
    rounds: RoundSettings = field(default_factory=RoundSettings)

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit: expected at least 1 image, found {self.limit}")


@dataclass(frozen=True, kw_only=True)
class DRORecipe:
    """``models`` classifiers trained on one D (Algorithm 3), whole.

    ``model`` and ``start`` are as in :class:`AdversarialRecipe`; without ``start`` each model sets
    out from random weights of its own seed. ``at_once`` models are trained as one by vmap; ``None``
    takes 1 on a CPU, where one after another is as fast in batches of 64, and 10 on a GPU.
    ``held_out`` is as there, for each model at its end, attacked by the attack that made D,
    at the size of D.
    """

    model: str = "small-resnet"
    start: str = ""
    held_out: str = ""
    root: str = ""
    models: int = 50
    at_once: int | None = None
    training: DROSettings = field(default_factory=DROSettings)

    def __post_init__(self) -> None:
        if min(self.models, self.at_once or 1) < 1 or self.at_once == 0:
            raise ValueError(
                f"expected models and at_once of at least 1, found {self.models}, {self.at_once}"
            )


def read_adversarial_recipe(recipe: str | os.PathLike[str]) -> AdversarialRecipe:
    """The recipe of an adversarial data set in a TOML file, or of percert by its name.

    What it leaves out keeps its default; Algorithm 2's own numbers are in ``[rounds]``. Raises
    ``ValueError`` for what is none.
    """
    return read_recipe_file(AdversarialRecipe, recipe)


def read_dro_recipe(recipe: str | os.PathLike[str]) -> DRORecipe:
    """The recipe of robust models in a TOML file, Algorithm 3's own numbers in ``[training]``."""
    return read_recipe_file(DRORecipe, recipe)


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """The best x found of loss(x) - ``lam`` c(x, x0), whether the classifier falls for it or not.

    Unlike an attack it does not stop at the first success, and moves images that it cannot turn.
    See :func:`~percert.attacks.transport.surrogate.robust_surrogate`, with
    whose names it is told: ``cost``, ``lam``, ``step``, ``steps``.
    """

    cost: str = "ssim"
    lam: float = 1.0
    step: float = 0.1
    steps: int = 20
    loss: LossName = "cross-entropy"
    checkpoint: str | None = None

    def __call__(
        self,
        model: Model,
        images: Images,
        goal: Goal,
        *,
        seeds: Tensor | None = None,
        watch: Watch | None = None,
    ) -> Images:
        found, _ = robust_surrogate(
            model,
            images,
            goal,
            cost_of(self.cost, images, model=model, checkpoint=self.checkpoint),
            lam=self.lam,
            step=self.step,
            steps=self.steps,
            loss=self.loss,
            watch=watch,
        )
        return found


def parse_solver(text: str) -> Attack:
    """``surrogate:key=value,...``, or an attack of the catalog as on its command line.

    >>> parse_solver("surrogate:cost=squared-l2,lam=2").lam
    2.0
    >>> parse_solver("pgd:eps=0.5").eps
    0.5
    """
    name, _, rest = text.partition(":")
    if name != SURROGATE:
        return parse_attack(text)[1]
    return make(Surrogate, read_settings(rest, Surrogate, SURROGATE), SURROGATE)
