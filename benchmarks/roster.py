"""Every detector that is measured, by name."""

from pathlib import Path

from benchmarks.structure import StructureDetector
from percert import create_metric
from percert.evaluation.copies_detector import Detector, MetricDetector
from percert.evaluation.rival_hashes import dhash, pdq, phash, whash
from percert.evaluation.rival_networks import SqueezeNetDetector
from percert.metrics.embedding import EmbeddingMetric
from percert.models.squeezenet import squeezenet

#: Measured where no names are given; ``prototype`` and other checkpoints only on request.
NAMES = (
    "lipsim-tiny",
    "thumbnail-8",
    "thumbnail-16",
    "squeezenet",
    "ssim",
    "phash",
    "dhash",
    "pdq",
)
HASHES = {"phash": phash, "dhash": dhash, "whash": whash, "pdq": pdq}


def make_detector(name: str, data: Path, checkpoints: list[str]) -> Detector:
    """The detector called ``name``. ``checkpoints`` are NAME=FILE.

    SqueezeNet's weights are looked for beside ``data``, in ``weights``.
    """
    if name == "squeezenet":
        weights = data.parent / "weights" / "squeezenet1_0-imagenet.safetensors"
        return SqueezeNetDetector(squeezenet(weights))
    if name == "ssim":
        return StructureDetector()
    if name in HASHES:
        return HASHES[name]()
    return MetricDetector(make_metric(name, checkpoints), name)


def make_metric(name: str, checkpoints: list[str]) -> EmbeddingMetric:
    """The metric called ``name``; ``prototype`` and NAME=FILE come from their checkpoint."""
    files = dict(entry.split("=", 1) for entry in checkpoints)
    if name == "prototype":
        from benchmarks.prototype import prototype

        return prototype(Path(files["prototype"]))
    metric = create_metric(name, checkpoint=files.get(name), device="cpu")
    if not isinstance(metric, EmbeddingMetric):
        raise ValueError(f"{name}: expected a metric with an embedding")
    return metric
