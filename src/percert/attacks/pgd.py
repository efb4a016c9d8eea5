"""Projected gradient ascent in an l2 or linf ball (Madry et al. 2018, arXiv:1706.06083)."""

from dataclasses import dataclass

from torch import Tensor

from percert.attacks.attack import Watch, generators, go_on, gradient
from percert.attacks.goal import LOSSES, Goal, LossName, Model
from percert.attacks.prepare import prepared
from percert.attacks.steps import BALL_NORMS, BallNorm, Found, random_point, steepest
from percert.attacks.threat import LpBall, Threat
from percert.check import check_budget, check_choice
from percert.tensors import Images


@dataclass(frozen=True, kw_only=True)
class ProjectedGradient:
    """``steps`` steps of length ``step`` (2.5 eps / steps where ``None``), projected on the ball.

    The first of ``restarts`` runs starts at a random point of the ball, or with
    ``random_start=False`` at the image itself; later ones are always random. An image is done as
    soon as it reaches the goal; ``stop=False`` goes on to the end, for the highest loss.
    Against a metric's embedding (:class:`~percert.attacks.goal.MoveEmbedding`) this is the attack
    of LipSim, section 5.1, Q2; there the start must be random, for the gradient at the image is 0.
    """

    norm: BallNorm = "l2"
    eps: float = 1.0
    steps: int = 40
    step: float | None = None
    loss: LossName = "cross-entropy"
    random_start: bool = True
    restarts: int = 1
    stop: bool = True

    def __post_init__(self) -> None:
        check_choice(self.norm, BALL_NORMS, "norm")
        check_choice(self.loss, LOSSES, "loss")
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
        return pgd(
            model,
            images,
            goal,
            norm=self.norm,
            eps=self.eps,
            steps=self.steps,
            step=self.step,
            loss=self.loss,
            random_start=self.random_start,
            restarts=self.restarts,
            stop=self.stop,
            seeds=seeds,
            watch=watch,
        )


def pgd(
    model: Model,
    images: Images,
    goal: Goal,
    *,
    norm: BallNorm,
    eps: float,
    steps: int,
    step: float | None = None,
    loss: LossName = "cross-entropy",
    random_start: bool = True,
    restarts: int = 1,
    stop: bool = True,
    seeds: Tensor | None = None,
    watch: Watch | None = None,
) -> Images:
    """The best images of all steps and restarts: those that reach the goal, then by the loss.

    All lie within ``eps`` of ``images`` (pixels, at their own size) and in [0, 1]; every step costs
    a forward and a backward pass. Raises ``ValueError`` for settings that make no sense.
    """
    ball = LpBall(norm, eps)
    length = 2.5 * eps / max(steps, 1) if step is None else step
    sources = generators(seeds, len(images))
    found = Found(images)
    for restart in range(restarts):
        active = found.remaining(everyone=not stop)
        origin = now = images[active]
        if (random_start or restart) and len(active):
            radius = images.new_full((len(active),), eps)
            now = random_point(origin, norm, radius, [sources[row] for row in active.tolist()])
        for done in range(steps + 1):
            at = restart * (steps + 1) + done
            if not go_on(watch, at, restarts * (steps + 1), len(active)):
                return found.images
            some = goal.select(active)
            slope, scores = gradient(model, now, some, lambda s, some=some: some.loss(s, loss))  # type: ignore[misc]
            reached = some.margin(scores) > 0
            found.offer(active, now, some.loss(scores, loss), reached)
            if stop:
                active, origin, now = active[~reached], origin[~reached], now[~reached]
                slope = slope[~reached]
            now = ball.project(origin, now + length * steepest(slope, norm))
    return found.images
