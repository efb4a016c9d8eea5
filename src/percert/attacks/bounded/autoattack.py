"""AutoAttack: four attacks in turn, the worst case of each image (Croce and Hein 2020)."""

import warnings
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from percert.attacks.attack import Attack, Relay, Watch, for_images, prepared
from percert.attacks.bounded.pgd import APGD
from percert.attacks.bounded.square import Square
from percert.attacks.goal import Goal, LossName, Model, Targeted, Untargeted
from percert.attacks.goal_through import through_classes
from percert.attacks.minimal.fab import FAB
from percert.attacks.steps import BALL_NORMS, BallNorm, Best
from percert.attacks.threat import Eps, LpBall, Threat, check_eps
from percert.check import check_choice
from percert.tensors import Images

Version: TypeAlias = Literal["standard", "lipsim"]


@dataclass(frozen=True, kw_only=True)
class AutoAttack:
    """The standard ensemble: APGD-CE, APGD-DLR through 9 classes, FAB through 9, Square.

    An image that one of them breaks within ``eps`` (a number, or one an image) is not attacked
    again; of an image that none breaks, the one with the largest margin comes back. ``steps``,
    ``targets``, ``queries`` and ``restarts`` (of the first APGD) are at the published budgets and
    may be shrunk; 0 queries leave Square out, ``fab_steps=0`` leaves out FAB. Where the DLR loss is
    not defined (a goal with two logits, such as a metric's choice) the margin takes its place, with
    a warning; see :func:`stages`. ``version="lipsim"`` is what LipSim ran under the name: APGD-CE
    alone.
    """

    norm: BallNorm = "l2"
    eps: Eps = 1.0
    version: Version = "standard"
    steps: int = 100
    targets: int = 9
    fab_steps: int = 100
    queries: int = 5000
    restarts: int = 1

    def __post_init__(self) -> None:
        check_choice(self.norm, BALL_NORMS, "norm")
        check_choice(self.version, ("standard", "lipsim"), "version")
        check_eps(self.eps)

    def threat(self, model: Model, images: Images) -> Threat:
        return LpBall(self.norm, self.eps)

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
        if not len(images):
            return images.clone()
        with torch.no_grad():
            clean = goal.scores(model, images)
        names = stages(goal, clean.shape[1], self)
        if "apgd-margin" in names:
            warnings.warn(
                f"autoattack: DLR is not defined for this goal with {clean.shape[1]} score(s); "
                "the margin loss takes its place",
                UserWarning,
                stacklevel=3,
            )
        seeds = torch.zeros(len(images)) if seeds is None else seeds
        ball, best, relay = LpBall(self.norm, self.eps), Best(images), Relay(watch)
        # A goal that the clean image reaches needs no attack, and the image is no success.
        best.reached = goal.margin(clean) > 0
        for number, name in enumerate(names):
            targeted = name.endswith("targeted")
            for way in through_classes(goal, clean, self.targets) if targeted else [goal]:
                rows = best.remaining()
                if not len(rows) or relay.stopped:
                    return best.images
                # Every stage has random numbers of its own.
                some = 8 * seeds.long()[rows.cpu()] + number
                attack = for_images(self._stage(name), rows, of=len(images))
                moved = attack(model, images[rows], way.select(rows), seeds=some, watch=relay)
                with torch.no_grad():
                    margin = goal.select(rows).margin(goal.select(rows).scores(model, moved))
                allowed = ball.select(rows).within(images[rows], moved)
                margin = torch.where(allowed, margin, float("-inf"))
                best.offer(rows, moved, margin, margin > 0)
        return best.images

    def _stage(self, name: str) -> Attack:
        if name == "square":
            return Square(norm=self.norm, eps=self.eps, queries=self.queries)
        if name == "fab":
            return FAB(norm=self.norm, eps=self.eps, steps=self.fab_steps, targets=self.targets)
        loss: Any = name.removeprefix("apgd-").removesuffix("-targeted")
        restarts = self.restarts if loss == "cross-entropy" else 1
        return APGD(norm=self.norm, eps=self.eps, steps=self.steps, loss=loss, restarts=restarts)


def second_loss(goal: Goal, classes: int) -> LossName:
    """The loss of the second APGD: DLR where goal and number of logits define it, or the margin.

    >>> goal = Untargeted(torch.tensor([0]))
    >>> second_loss(goal, 10), second_loss(goal, 2)
    ('dlr', 'margin')
    """
    least = {Untargeted: 3, Targeted: 4}.get(type(goal))
    return "dlr" if least is not None and classes >= least else "margin"


def stages(goal: Goal, classes: int, settings: AutoAttack) -> list[str]:
    """The attacks that will run, in order.

    >>> stages(Untargeted(torch.tensor([0])), 2, AutoAttack())
    ['apgd-cross-entropy', 'apgd-margin', 'fab', 'square']
    """
    names = ["apgd-cross-entropy"]
    if settings.version == "lipsim":
        return names
    through = "-targeted" if isinstance(goal, Untargeted) and classes >= 4 else ""
    names.append(f"apgd-{second_loss(goal, classes)}{through}")
    # FAB looks for a boundary, and some goals have none.
    if settings.fab_steps and getattr(goal, "beyond", 0.0) != float("inf"):
        names.append("fab")
    return [*names, "square"] if settings.queries else names
