"""Costs that the catalog has no name for: AlexNet's features, and PieAPP without training."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from percert.attacks import create_attack
from percert.attacks.attack import CatalogAttack
from percert.attacks.transport.cost import FeatureDistance
from percert.metrics.deep.lpips import LPIPS
from percert.metrics.deep.pieapp import PieAPP
from percert.metrics.metric import Distance
from percert.registry import join_settings, split_settings
from percert.tensors import Images, Vector

#: The mean l2 length of the untrained PieAPP's gradient at a photograph, over the first ten of the
#: ImageNet-Compatible set: divided by it, lambda = 1 weighs the cost as a loss of slope 1.
PIEAPP_SLOPE = 0.00406
#: The step between its patches: 16 of them at 299 pixels, 81 with the published step.
PIEAPP_STRIDE = 64


def alexnet_features() -> Distance:
    """LPIPS without calibration over AlexNet, as PPGD and LPA have it.

    The network is the trunk of ShiftTolerant-LPIPS: it is anti-aliased, and trained on people's
    judgements together with the heads, which are left out here.
    """
    metric = LPIPS("alex", shift_tolerant=True)

    def layers(images: Images) -> list[Tensor]:
        pixels = (2 * images - 1 - metric.shift) / metric.scale
        return list(metric.trunk(pixels))

    return FeatureDistance(layers)


class UntrainedPieAPP:
    """PieAPP's network with random weights: a score with a sign, of slope 1 at photographs."""

    def __init__(self) -> None:
        self.metric = PieAPP("untrained", stride=PIEAPP_STRIDE)

    def __call__(self, reference: Images, candidate: Images) -> Vector:
        with torch.no_grad():
            wanted = self.metric.features(reference)
        return self.metric.from_features(wanted, candidate) / PIEAPP_SLOPE


OWN: dict[str, Callable[[], Distance]] = {
    "alexnet": alexnet_features,
    "pieapp-untrained": UntrainedPieAPP,
}
_own = lru_cache(maxsize=2)(lambda name: OWN[name]())


def attack_of(text: str) -> CatalogAttack:
    """The attack that ``text`` names, whose ``cost`` or ``metric`` may be one of :data:`OWN`.

    >>> type(attack_of("lpa:metric=alexnet").metric).__name__
    'FeatureDistance'
    """
    name, settings = split_settings(text)
    own: dict[str, Any] = {
        key: _own(settings.pop(key)) for key in ("cost", "metric") if settings.get(key) in OWN
    }
    return create_attack(join_settings(name, settings), **own)
