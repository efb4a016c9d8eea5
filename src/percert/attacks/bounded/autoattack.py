"""AutoAttack: four attacks in turn, the worst case of each image (Croce and Hein 2020)."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from percert.attacks.attack import Watch, prepared
from percert.attacks.bounded.pgd import apgd
from percert.attacks.bounded.square import square
from percert.attacks.goal import Goal, LossName, Model, Targeted, Untargeted
from percert.attacks.goal_through import through_classes
from percert.attacks.minimal.fab import fab
from percert.attacks.steps import BALL_NORMS, BallNorm, Found
from percert.attacks.threat import LpBall, Threat
from percert.check import check_budget, check_choice
from percert.tensors import Images

Version: TypeAlias = Literal["standard", "lipsim"]


@dataclass(frozen=True, kw_only=True)
class AutoAttack:
    """The standard ensemble: APGD-CE, APGD-DLR through 9 classes, FAB through 9, Square.

    An image that one of them breaks within ``eps`` is not attacked again. ``steps``, ``targets``,
    ``queries`` and ``restarts`` (of the first APGD) are at the published budgets and may be shrunk;
    0 queries leave Square out, ``fab_steps=0`` leaves out FAB. Where the DLR loss is not defined (a
    goal with two logits, such as a metric's choice) the margin takes its place, with a warning;
    see :func:`stages`. ``version="lipsim"`` is what LipSim ran under the name: APGD-CE alone.
    """

    norm: BallNorm = "l2"
    eps: float = 1.0
    version: Version = "standard"
    steps: int = 100
    targets: int = 9
    fab_steps: int = 100
    queries: int = 5000
    restarts: int = 1

    def __post_init__(self) -> None:
        check_choice(self.norm, BALL_NORMS, "norm")
        check_choice(self.version, ("standard", "lipsim"), "version")
        check_budget(self.eps)

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
        return autoattack(model, images, goal, self, seeds=seeds, watch=watch)


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


def autoattack(
    model: Model,
    images: Images,
    goal: Goal,
    settings: AutoAttack,
    *,
    seeds: Tensor | None = None,
    watch: Watch | None = None,
) -> Images:
    """The first image within eps that reaches the goal, or else the one with the largest margin."""
    if not len(images):
        return images.clone()
    with torch.no_grad():
        clean = goal.scores(model, images)
    names = stages(goal, clean.shape[1], settings)
    if "apgd-margin" in names:
        warnings.warn(
            f"autoattack: DLR is not defined for this goal with {clean.shape[1]} score(s); "
            "the margin loss takes its place",
            UserWarning,
            stacklevel=3,
        )
    found = Found(images)
    ball = LpBall(settings.norm, settings.eps)
    relay = _Relay(watch)
    # A goal that the clean image reaches needs no attack, and the image is no success.
    found.reached = goal.margin(clean) > 0
    for number, name in enumerate(names):
        runs = _runs(name, goal, clean, settings)
        for run, way in runs:
            rows = found.remaining()
            if not len(rows) or relay.stopped:
                return found.images
            # Every stage has random numbers of its own.
            some = (torch.zeros(len(images)) if seeds is None else seeds).long()[rows.cpu()]
            moved = run(model, images[rows], way.select(rows), 8 * some + number, relay)
            with torch.no_grad():
                margin = goal.select(rows).margin(goal.select(rows).scores(model, moved))
            allowed = ball.within(images[rows], moved)
            margin = torch.where(allowed, margin, float("-inf"))
            found.offer(rows, moved, margin, margin > 0)
    return found.images


Run: TypeAlias = Callable[[Model, Images, Goal, Tensor, Watch], Images]


def _runs(name: str, goal: Goal, clean: Tensor, settings: AutoAttack) -> list[tuple[Run, Goal]]:
    """The runs of one stage: one, or one for each class that is aimed at."""
    norm, eps = settings.norm, settings.eps
    if name == "square":

        def by_squares(m: Model, x: Images, g: Goal, seeds: Tensor, watch: Watch) -> Images:
            queries = settings.queries
            return square(m, x, g, norm=norm, eps=eps, queries=queries, seeds=seeds, watch=watch)

        return [(by_squares, goal)]
    if name == "fab":

        def to_boundary(m: Model, x: Images, g: Goal, seeds: Tensor, watch: Watch) -> Images:
            return fab(
                m,
                x,
                g,
                norm=norm,
                steps=settings.fab_steps,
                targets=settings.targets,
                eps=eps,
                seeds=seeds,
                watch=watch,
            )

        return [(to_boundary, goal)]
    loss: LossName = (
        "cross-entropy" if name.endswith("entropy") else second_loss(goal, clean.shape[1])
    )

    def climb(m: Model, x: Images, g: Goal, seeds: Tensor, watch: Watch) -> Images:
        return apgd(
            m,
            x,
            g,
            norm=norm,
            eps=eps,
            steps=settings.steps,
            loss=loss,
            restarts=settings.restarts if loss == "cross-entropy" else 1,
            seeds=seeds,
            watch=watch,
        )

    ways = through_classes(goal, clean, settings.targets) if name.endswith("targeted") else [goal]
    return [(climb, way) for way in ways]


class _Relay:
    """Passes on what the stages report, and remembers that somebody said stop."""

    def __init__(self, watch: Watch | None) -> None:
        self.watch = watch
        self.stopped = False

    def __call__(self, done: int, total: int, active: int) -> bool:
        self.stopped = self.watch is not None and not self.watch(done, total, active)
        return not self.stopped
