"""What Algorithm 2 does to an image: any attack, or the surrogate that it approximates.

The surrogate sup_x loss(x) - lambda c(x, x0) (Eq. 4) is the inner problem of the training; the
attacks of the paper are ways to solve it that stop at the first success. Both share one solver and
its names: ``cost``, ``lam``, ``step``, ``steps``.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from percert.attacks import Attack, Watch, parse_attack
from percert.attacks.goal import Goal, LossName, Model
from percert.attacks.transport.cost import cost_of
from percert.attacks.transport.surrogate import robust_surrogate
from percert.tensors import Images

#: The name that stands for :class:`Surrogate` where an attack is asked for.
SURROGATE = "surrogate"


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """The best x found of loss(x) - ``lam`` c(x, x0), whether the classifier falls for it or not.

    Unlike an attack it does not stop at the first success, and moves images that it cannot turn.
    See :func:`~percert.attacks.transport.surrogate.robust_surrogate`.
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
    defaults: dict[str, Any] = vars(Surrogate())
    options: dict[str, Any] = {}
    for setting in filter(None, rest.split(",")):
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not equals or key not in defaults:
            raise ValueError(
                f"{SURROGATE}: expected key=value with one of {', '.join(defaults)} as key, "
                f"found {setting!r}"
            )
        kind = type(defaults[key])
        kind = kind if kind in (int, float) else str
        try:
            options[key] = kind(value)
        except ValueError:
            raise ValueError(
                f"{SURROGATE}: {key}: expected {kind.__name__}, found {value!r}"
            ) from None
    return Surrogate(**options)
