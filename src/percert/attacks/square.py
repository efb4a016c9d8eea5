"""Square: random search with squares, by scores alone (Andriushchenko et al. 2020, 1912.00049)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from percert.attacks.attack import Watch, generators, go_on
from percert.attacks.goal import LOSSES, Goal, LossName, Model
from percert.attacks.prepare import prepared
from percert.attacks.square_moves import DRAWS, move_l2, move_linf, start_l2, start_linf
from percert.attacks.steps import BALL_NORMS, BallNorm, Found
from percert.attacks.threat import LpBall, Threat
from percert.check import check_budget, check_choice
from percert.tensors import Images

#: Of 10,000 queries: after which of them the squares' area is halved once more.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
#: Queries for which an image's random numbers are drawn at once.
BLOCK = 64


@dataclass(frozen=True, kw_only=True)
class Square:
    """``queries`` forward passes, each with another square changed; no gradients.

    ``share`` is the area of the first squares, as a share of the image. ``loss`` is what counts as
    better. Every image has its own squares, from its seed.
    """

    norm: BallNorm = "l2"
    eps: float = 1.0
    queries: int = 5000
    share: float = 0.8
    loss: LossName = "margin"

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
        return square(
            model,
            images,
            goal,
            norm=self.norm,
            eps=self.eps,
            queries=self.queries,
            share=self.share,
            loss=self.loss,
            seeds=seeds,
            watch=watch,
        )


def area(query: int, queries: int, share: float) -> float:
    """The share of the image that is changed by a query: ``share``, halved on a schedule.

    >>> [area(query, 10_000, 0.8) for query in (0, 11, 51)]
    [0.8, 0.4, 0.2]
    """
    at = 10_000 * query / max(queries, 1)
    return share * 0.5 ** sum(at > mark for mark in HALVINGS)


@torch.no_grad()
def square(
    model: Model,
    images: Images,
    goal: Goal,
    *,
    norm: BallNorm,
    eps: float,
    queries: int,
    share: float = 0.8,
    loss: LossName = "margin",
    seeds: Tensor | None = None,
    watch: Watch | None = None,
) -> Images:
    """The image of highest loss among ``queries`` tries, within ``eps`` of ``images`` and [0, 1].

    It starts from stripes (linf) or a mesh of pyramids (l2); a try that raises the loss is kept. An
    image that reaches the goal asks no more. ``model`` is called without gradients.
    """
    sources = generators(seeds, len(images))
    found = Found(images)
    active = found.remaining()
    height, width = images.shape[2:]
    start, move = (start_l2, move_l2) if norm == "l2" else (start_linf, move_linf)
    numbers = images.new_zeros(0)
    for query in range(queries):
        if not go_on(watch, query, queries, len(active)):
            break
        origin = images[active]
        if not query:
            signs = torch.stack([torch.rand(3, height, width, generator=s) for s in sources])
            now = start(origin, eps, signs.to(images))
        else:
            if query % BLOCK == 1:
                chosen = [sources[row] for row in active.tolist()]
                drawn = [torch.rand(BLOCK, DRAWS, generator=source) for source in chosen]
                numbers = torch.stack(drawn).to(images)
            covered = area(query, queries, share) * height * width
            now = move(origin, found.images[active], eps, covered, numbers[:, (query - 1) % BLOCK])
        some = goal.select(active)
        scores = some.scores(model, now)
        reached = some.margin(scores) > 0
        found.offer(active, now, some.loss(scores, loss), reached)
        active, numbers = active[~reached], numbers[~reached] if query else numbers
    return found.images
