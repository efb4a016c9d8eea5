"""The cards of the metrics that compare pixels and what is computed from them, without weights."""

import math
from functools import partial
from typing import TYPE_CHECKING, Literal

from percert.metrics.metric import MetricCard

if TYPE_CHECKING:
    from torch import nn


# The factories import when they are called: naming a metric must not load all of them.
def _ssim(checkpoint: str | None) -> "nn.Module":
    from percert.metrics.full_reference.ssim import SSIM

    return SSIM()


def _ms_ssim(checkpoint: str | None) -> "nn.Module":
    from percert.metrics.full_reference.ssim import MSSSIM

    return MSSSIM()


def _mse(checkpoint: str | None) -> "nn.Module":
    from percert.metrics.full_reference.pixel_errors import MSE

    return MSE()


def _lp(norm: Literal["l1", "l2", "linf"], checkpoint: str | None) -> "nn.Module":
    from percert.metrics.full_reference.pixel_errors import Lp

    return Lp(norm)


def _ciede2000(checkpoint: str | None) -> "nn.Module":
    from percert.metrics.full_reference.pixel_errors import CIEDE2000

    return CIEDE2000()


def _gmsd(checkpoint: str | None) -> "nn.Module":
    from percert.metrics.full_reference.gradient_deviation import GMSD

    return GMSD()


def _mdsi(checkpoint: str | None) -> "nn.Module":
    from percert.metrics.full_reference.gradient_deviation import MDSI

    return MDSI()


def _haarpsi(checkpoint: str | None) -> "nn.Module":
    from percert.metrics.full_reference.haarpsi import HaarPSI

    return HaarPSI()


def _fsim(checkpoint: str | None) -> "nn.Module":
    from percert.metrics.full_reference.fsim import FSIM

    return FSIM()


CARDS = (
    MetricCard(
        name="ssim",
        factory=_ssim,
        summary="1 - structural similarity",
        range=(0.0, 2.0),
        smallest_side=11,
        paper="Wang et al., Image quality assessment: from error visibility to structural "
        "similarity, IEEE TIP 2004",
    ),
    MetricCard(
        name="ms-ssim",
        factory=_ms_ssim,
        summary="1 - structural similarity over five scales",
        range=(0.0, 1.0),
        smallest_side=161,
        paper="Wang, Simoncelli, Bovik, Multi-scale structural similarity for image quality "
        "assessment, Asilomar 2003",
    ),
    MetricCard(
        name="mse",
        factory=_mse,
        summary="Mean squared error, 10^(-PSNR / 10)",
        range=(0.0, 1.0),
    ),
    MetricCard(
        name="l1",
        factory=partial(_lp, "l1"),
        summary="Sum over pixels and channels of the absolute difference",
        range=(0.0, math.inf),
    ),
    MetricCard(
        name="l2",
        factory=partial(_lp, "l2"),
        summary="Euclidean length of the difference, of which every radius is one",
        range=(0.0, math.inf),
    ),
    MetricCard(
        name="linf",
        factory=partial(_lp, "linf"),
        summary="Largest absolute difference of any pixel and channel",
        range=(0.0, 1.0),
    ),
    MetricCard(
        name="ciede2000",
        factory=_ciede2000,
        summary="Colour difference CIEDE2000, mean over pixels; 1 is about just seen",
        range=(0.0, 120.0),
        paper="Sharma, Wu, Dalal, The CIEDE2000 color-difference formula, Color Research and "
        "Application 2005",
    ),
    MetricCard(
        name="gmsd",
        factory=_gmsd,
        summary="Gradient magnitude similarity deviation",
        range=(0.0, 0.5),
        smallest_side=6,
        paper="Xue, Zhang, Mou, Bovik, Gradient Magnitude Similarity Deviation, IEEE TIP 2014",
    ),
    MetricCard(
        name="mdsi",
        factory=_mdsi,
        summary="Mean deviation similarity index; steep at identity, not symmetric",
        range=(0.0, 1.0),
        symmetric=False,
        smallest_side=3,
        paper="Nafchi, Shahkolaei, Hedjam, Cheriet, Mean Deviation Similarity Index, IEEE "
        "Access 2016",
    ),
    MetricCard(
        name="haarpsi",
        factory=_haarpsi,
        summary="1 - Haar wavelet-based perceptual similarity",
        range=(0.0, 1.0),
        smallest_side=16,
        paper="Reisenhofer, Bosse, Kutyniok, Wiegand, A Haar Wavelet-Based Perceptual "
        "Similarity Index, Signal Processing: Image Communication 2018",
    ),
    MetricCard(
        name="fsim",
        factory=_fsim,
        summary="1 - feature similarity with colour (FSIMc)",
        range=(0.0, 1.0),
        smallest_side=16,
        paper="Zhang, Zhang, Mou, Zhang, FSIM: A Feature Similarity Index, IEEE TIP 2011",
    ),
)
