"""Human_Perc_OT: ascent of the loss less a perceptual cost; as published, and corrected."""

from dataclasses import dataclass

import torch
from torch import Tensor

from percert.attacks.attack import Relay, Watch, prepared
from percert.attacks.goal import LOSSES, Goal, LossName, Model
from percert.attacks.goal_through import demanding
from percert.attacks.steps import reached, rescale
from percert.attacks.transport.cost import cost_of
from percert.attacks.transport.polish import polish
from percert.attacks.transport.surrogate import VALIDATIONS, Validation, climb
from percert.check import check_choice
from percert.metrics.metric import Distance
from percert.tensors import Images


@dataclass(frozen=True, kw_only=True)
class HumanPercOTLiteral:
    """Algorithm 1 of *Human Imperceptible Attacks and Applications to Improve Fairness* as it is.

    Up to ``steps`` (N) times: stop if the goal is reached by more than ``confidence`` (a), else
    x += ``step`` (epsilon) times the gradient of loss - ``lam`` cost, and force x to be an image
    (``validate``). The cost's gradient is taken anew every ``refresh`` steps. The defaults are the
    paper's, but for the cost, which is PieAPP there and needs its weights: ``cost="pieapp"``. It is
    the name of a metric (:func:`~percert.attacks.transport.cost.cost_of`), or a metric.
    """

    cost: str | Distance = "ssim"
    lam: float = 1.0
    step: float = 0.1
    steps: int = 100
    confidence: float = 0.0
    loss: LossName = "cross-entropy"
    refresh: int = 5
    validate: Validation = "clip"
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        check_choice(self.loss, LOSSES, "loss")
        check_choice(self.validate, VALIDATIONS, "validate")

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
        return climb(
            model,
            images,
            demanding(goal, self.confidence),
            cost_of(self.cost, images, model=model, checkpoint=self.checkpoint),
            lam=self.lam,
            step=self.step,
            steps=self.steps,
            loss=self.loss,
            refresh=self.refresh,
            validate=self.validate,
            watch=watch,
        )


@dataclass(frozen=True, kw_only=True)
class HumanPercOT:
    """Human_Perc_OT, corrected: the least ``cost`` found at which the 8-bit image still succeeds.

    The ascent takes steps of l2 length ``step``, and the cost's gradient off x0, where it is not
    zero; ``lam`` is the pull of the cost as a share of the loss's: 1 balances them, 0 is normalised
    gradient ascent, which those images get that miss the goal otherwise. Then ``polish`` steps
    along the goal's boundary (:func:`~percert.attacks.transport.polish.polish`) lower the cost and
    ``rescale_steps`` bisections find the least multiple that survives rounding. The cheapest of all
    8-bit images that reached the goal by more than ``confidence`` is returned.
    """

    cost: str | Distance = "ssim"
    lam: float = 0.7
    step: float = 0.1
    steps: int = 100
    confidence: float = 0.0
    loss: LossName = "cross-entropy"
    refresh: int = 1
    polish: int = 8
    stride: float = 0.15
    rescale_steps: int = 8
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        check_choice(self.loss, LOSSES, "loss")

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
        wanted = demanding(goal, self.confidence)
        cost = cost_of(self.cost, images, model=model, checkpoint=self.checkpoint)
        relay, total = Relay(watch), self.steps + (self.polish if self.lam else 0)

        def climbed(index: Tensor, lam: float, watch: Watch) -> Images:
            return climb(
                model,
                images[index],
                wanted.select(index),
                cost,
                lam=lam,
                step=self.step,
                steps=self.steps,
                loss=self.loss,
                refresh=self.refresh,
                normalise=True,
                seeds=None if seeds is None else seeds[index],
                watch=watch,
            )

        everyone = torch.arange(len(images), device=images.device)
        moved = climbed(everyone, self.lam, relay.as_part(0, total, counting=True))
        if self.lam:
            # Where the cost holds the loss back on the way, the change is sought without it first.
            held = everyone[~reached(model, moved, wanted, everyone)]
            moved[held] = climbed(held, 0.0, relay.as_part(self.steps, total))
        finishing = relay.as_part(self.steps, total)
        found = rescale(model, images, moved, wanted, steps=self.rescale_steps, watch=finishing)
        if not self.lam or not self.polish or relay.stopped:
            return found
        return polish(
            model,
            images,
            found,
            wanted,
            cost,
            steps=self.polish,
            stride=self.stride,
            rescale_steps=self.rescale_steps,
            watch=relay.as_part(self.steps, total, counting=True),
        )
