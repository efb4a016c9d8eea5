"""Perceptual distances: every metric as a class, and by name.

>>> import torch
>>> from percert.metrics import SSIM
>>> reference, candidate = torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)
>>> SSIM()(reference, candidate).shape  # sRGB in [0, 1]; one distance a pair, 0 for equal images
torch.Size([4])

What is named is loaded when it is first used: to list metrics takes no torch.
"""

from typing import TYPE_CHECKING

from percert.registry import lazy_names

if TYPE_CHECKING:
    from percert.metrics.card import MetricCard
    from percert.metrics.catalog import create_metric, list_metrics, metric_card
    from percert.metrics.certified.embedding import EmbeddingMetric
    from percert.metrics.certified.lipsim import LipSim, LipSimBase, LipSimTiny, Thumbnail
    from percert.metrics.deep.dists import DISTS
    from percert.metrics.deep.dreamsim import DreamSim
    from percert.metrics.deep.elpips import ELPIPS
    from percert.metrics.deep.features import Features
    from percert.metrics.deep.lpips import LPIPS
    from percert.metrics.deep.pieapp import PieAPP
    from percert.metrics.deep.space_warping import SpaceWarping
    from percert.metrics.deep.sscd import SSCD
    from percert.metrics.full_reference.fsim import FSIM, fsim
    from percert.metrics.full_reference.gradient_deviation import GMSD, MDSI, gmsd, mdsi
    from percert.metrics.full_reference.haarpsi import HaarPSI, haarpsi
    from percert.metrics.full_reference.pixel_errors import CIEDE2000, MSE, PSNR, Lp, psnr
    from percert.metrics.full_reference.seen import Seen, seen
    from percert.metrics.full_reference.ssim import MSSSIM, SSIM, ms_ssim, ssim
    from percert.metrics.metric import Metric

__all__ = [
    "CIEDE2000",
    "DISTS",
    "ELPIPS",
    "FSIM",
    "GMSD",
    "LPIPS",
    "MDSI",
    "MSE",
    "MSSSIM",
    "PSNR",
    "SSCD",
    "SSIM",
    "DreamSim",
    "EmbeddingMetric",
    "Features",
    "HaarPSI",
    "LipSim",
    "LipSimBase",
    "LipSimTiny",
    "Lp",
    "Metric",
    "MetricCard",
    "PieAPP",
    "Seen",
    "SpaceWarping",
    "Thumbnail",
    "create_metric",
    "fsim",
    "gmsd",
    "haarpsi",
    "list_metrics",
    "mdsi",
    "metric_card",
    "ms_ssim",
    "psnr",
    "seen",
    "ssim",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "percert.metrics.card": "MetricCard",
        "percert.metrics.catalog": "create_metric list_metrics metric_card",
        "percert.metrics.certified.embedding": "EmbeddingMetric",
        "percert.metrics.certified.lipsim": "LipSim LipSimBase LipSimTiny Thumbnail",
        "percert.metrics.deep.dists": "DISTS",
        "percert.metrics.deep.dreamsim": "DreamSim",
        "percert.metrics.deep.elpips": "ELPIPS",
        "percert.metrics.deep.space_warping": "SpaceWarping",
        "percert.metrics.deep.sscd": "SSCD",
        "percert.metrics.deep.features": "Features",
        "percert.metrics.deep.lpips": "LPIPS",
        "percert.metrics.deep.pieapp": "PieAPP",
        "percert.metrics.full_reference.fsim": "FSIM fsim",
        "percert.metrics.full_reference.gradient_deviation": "GMSD MDSI gmsd mdsi",
        "percert.metrics.full_reference.haarpsi": "HaarPSI haarpsi",
        "percert.metrics.full_reference.pixel_errors": "CIEDE2000 MSE PSNR Lp psnr",
        "percert.metrics.full_reference.seen": "Seen seen",
        "percert.metrics.full_reference.ssim": "MSSSIM SSIM ms_ssim ssim",
        "percert.metrics.metric": "Metric",
    },
)
