"""The cards of the metrics that compare what networks make of images, with published weights."""

import math
from functools import partial
from typing import TYPE_CHECKING, Literal

from percert.metrics.metric import MetricCard

if TYPE_CHECKING:
    from torch import nn

LPIPS_PAPER = (
    "Zhang, Isola, Efros, Shechtman, Wang, The Unreasonable Effectiveness of Deep Features as a "
    "Perceptual Metric, CVPR 2018"
)
#: Name, network and least side.
LPIPS_NETWORKS: tuple[tuple[Literal["alex", "vgg", "squeeze"], str, int], ...] = (
    ("alex", "AlexNet", 31),
    ("vgg", "VGG-16", 16),
    ("squeeze", "SqueezeNet 1.1", 17),
)


# The factories import when they are called: naming a metric must not load all of them.
def _features(checkpoint: str | None) -> "nn.Module":
    from percert.metrics.deep.features import squeezenet_features

    return squeezenet_features(str(checkpoint))


def _lpips(name: Literal["alex", "vgg", "squeeze"], checkpoint: str | None) -> "nn.Module":
    from percert.metrics.deep.lpips import lpips

    return lpips(name, checkpoint)


def _st_lpips(name: Literal["alex", "vgg"], checkpoint: str | None) -> "nn.Module":
    from percert.metrics.deep.lpips import st_lpips

    return st_lpips(name, checkpoint)


def _efficientnet(size: str, layered: bool, checkpoint: str | None) -> "nn.Module":
    from percert.metrics.deep.features import efficientnet_features

    return efficientnet_features(size, layered=layered, checkpoint=checkpoint)


def _dists(checkpoint: str | None) -> "nn.Module":
    from percert.metrics.deep.dists import dists

    return dists(checkpoint)


def _pieapp(checkpoint: str | None) -> "nn.Module":
    from percert.metrics.deep.pieapp import pieapp

    return pieapp(checkpoint)


def _dreamsim(part: str, checkpoint: str | None) -> "nn.Module":
    from percert.metrics.deep.dreamsim import dreamsim

    return dreamsim(checkpoint, part)


#: Name, network and least side.
ST_LPIPS_NETWORKS: tuple[tuple[Literal["alex", "vgg"], str, int], ...] = (
    ("alex", "AlexNet", 21),
    ("vgg", "VGG-16", 18),
)
#: Name's end, whether several layers are compared, what they are, and the greatest distance.
EFFICIENTNET_FEATURES = (
    ("pooled", False, "its last features, averaged over the image (1 - cos, times 2)", 2.0),
    ("layers", True, "its features at five scales, LPIPS without calibration", 20.0),
)
DREAMSIM_PARTS = (
    ("dreamsim", "ensemble", "ensemble"),
    ("dreamsim-dino", "dino_vitb16", "DINO ViT-B/16, fine-tuned on NIGHT"),
    ("dreamsim-clip", "clip_vitb32", "CLIP ViT-B/32, fine-tuned on NIGHT"),
    ("dreamsim-open-clip", "open_clip_vitb32", "OpenCLIP ViT-B/32, fine-tuned on NIGHT"),
)
CARDS = (
    MetricCard(
        name="features",
        factory=_features,
        summary="Features of a classifier, LPIPS without calibration; checkpoint is SqueezeNet "
        "1.0's weights, or SPEC@LAYER,LAYER,...",
        range=(0.0, 14.0),
        smallest_side=48,
        checkpoint="required",
        paper=LPIPS_PAPER,
    ),
    *(
        MetricCard(
            name=f"lpips-{name}",
            factory=partial(_lpips, name),
            summary=f"LPIPS 0.1 with {network}",
            range=(0.0, math.inf),
            smallest_side=side,
            checkpoint="fetched",
            paper=LPIPS_PAPER,
            weights_licence="BSD-2-Clause (heads), torchvision's BSD-3-Clause (network)",
        )
        for name, network, side in LPIPS_NETWORKS
    ),
    *(
        MetricCard(
            name=f"st-lpips-{name}",
            factory=partial(_st_lpips, name),
            summary=f"ShiftTolerant-LPIPS with an anti-aliased {network}",
            range=(0.0, math.inf),
            smallest_side=side,
            checkpoint="packaged",
            paper="Ghildyal, Liu, Shift-tolerant Perceptual Similarity Metric, ECCV 2022",
            weights_licence="BSD-2-Clause",
        )
        for name, network, side in ST_LPIPS_NETWORKS
    ),
    *(
        MetricCard(
            name=f"efficientnet-{size}-{part}",
            factory=partial(_efficientnet, size, layered),
            summary=f"EfficientNet-{size.capitalize()}: {what}",
            range=(0.0, most),
            checkpoint="packaged",
            paper="Tan, Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural "
            "Networks, ICML 2019; compared as in " + LPIPS_PAPER,
            weights_licence="Apache-2.0",
        )
        for size in ("lite0", "lite1", "lite2")
        for part, layered, what, most in EFFICIENTNET_FEATURES
    ),
    MetricCard(
        name="dists",
        factory=_dists,
        summary="Structure and texture of VGG-16's features (DISTS)",
        range=(0.0, 2.0),
        smallest_side=16,
        checkpoint="fetched",
        paper="Ding, Ma, Wang, Simoncelli, Image Quality Assessment: Unifying Structure and "
        "Texture Similarity, TPAMI 2020",
        weights_licence="MIT (alpha and beta), torchvision's BSD-3-Clause (network)",
    ),
    MetricCard(
        name="pieapp",
        factory=_pieapp,
        summary="Learnt visibility of errors (PieAPP), less its value at identity; negative "
        "for what it takes to be better, not symmetric",
        range=(-math.inf, math.inf),
        symmetric=False,
        smallest_side=64,
        checkpoint="fetched",
        paper="Prashnani, Cai, Mostofi, Sen, PieAPP: Perceptual Image-Error Assessment through "
        "Pairwise Preference, CVPR 2018",
    ),
    *(
        MetricCard(
            name=name,
            factory=partial(_dreamsim, part),
            summary=f"DreamSim's {what}, through its authors' package",
            range=(0.0, 2.0),
            checkpoint="fetched",
            paper="Fu, Tamir, Sundaram, Chai, Zhang, Dekel, Isola, DreamSim: Learning New "
            "Dimensions of Human Visual Similarity using Synthetic Data, NeurIPS 2023",
            weights_licence="MIT",
        )
        for name, part, what in DREAMSIM_PARTS
    ),
)
