"""Detectors: all pairs agree with pairs, and what an attack follows agrees with the real thing."""

import pytest
import torch
from PIL import Image
from torch import Tensor

from experiments.detectors import StructureDetector
from experiments.photographs import as_arrays, as_tensor
from percert import create_metric
from percert.evaluation.copies.detector import (
    Detector,
    MetricDetector,
    attacked,
    join,
    squeezenet_detector,
)
from percert.metrics.full_reference.ssim import ssim
from percert.models.imagenet_networks import SqueezeNet


@pytest.fixture(scope="module")
def images(photographs: list[Image.Image]) -> Tensor:
    return as_tensor(photographs)


def random_squeezenet() -> SqueezeNet:
    """Weights large enough for images to differ in more than the biases."""
    model = SqueezeNet().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter, generator=generator)
    return model


def exact_detectors() -> list[Detector]:
    return [
        MetricDetector(create_metric("thumbnail-8", device="cpu")),
        squeezenet_detector(random_squeezenet(), side=48),
        StructureDetector(),
    ]


@pytest.mark.parametrize("detector", exact_detectors(), ids=lambda detector: detector.name)
def test_all_pairs_are_the_attacked_pairs(detector: Detector, images: Tensor) -> None:
    vectors = detector.describe(images).vectors
    table = detector.distances(vectors, vectors)
    assert table.dtype == torch.float64
    for shift in range(len(images)):
        objective, distance = attacked(detector, images, vectors.roll(shift, 0)[:, None])
        expected = torch.stack([table[i, i - shift] for i in range(len(images))])
        torch.testing.assert_close(distance, expected, atol=2e-6, rtol=0)
        torch.testing.assert_close(objective.double(), distance, atol=2e-6, rtol=0)
    assert table.diagonal().abs().max() < 1e-6
    assert (table + torch.eye(len(images))).min() > 1e-4


@pytest.mark.parametrize("detector", exact_detectors(), ids=lambda detector: detector.name)
def test_the_gradient_reaches_the_image(detector: Detector, images: Tensor) -> None:
    vectors = detector.describe(images).vectors
    moving = images.clone().requires_grad_()
    objective, _ = attacked(detector, moving, vectors.roll(1, 0)[:, None])
    (gradient,) = torch.autograd.grad(objective.sum(), moving)
    assert (gradient.flatten(1).norm(dim=1) > 0).all()


def test_structure_is_the_structural_similarity_of_grey_pictures(images: Tensor) -> None:
    """Luma of a grey picture is the picture, and at its own size no pixel is averaged."""
    grey = images[..., :24, :24].mean(1, keepdim=True).expand(-1, 3, -1, -1)
    detector = StructureDetector(24)
    vectors = detector.describe(grey).vectors
    expected = 1 - ssim(grey, grey.roll(1, 0))
    found = torch.stack([detector.distances(vectors, vectors)[i, i - 1] for i in range(len(grey))])
    torch.testing.assert_close(found.float(), expected, atol=1e-5, rtol=0)


def test_batches_join_to_the_whole(images: Tensor) -> None:
    detector = MetricDetector(create_metric("thumbnail-8", device="cpu"))
    whole = detector.describe(images)
    joined = join([detector.describe(images[:1]), detector.describe(images[1:])])
    assert torch.equal(joined.vectors, whole.vectors)
    assert joined.features is not None
    assert whole.features is not None
    assert torch.equal(joined.features.h, whole.features.h)
    assert torch.equal(joined.features.error, whole.features.error)
    assert torch.equal(joined.rows(torch.tensor([2])).vectors, whole.vectors[2:3])


def test_8_bit_images_come_back_as_they_were(photographs: list[Image.Image]) -> None:
    arrays = as_arrays(as_tensor(photographs))
    assert [array.tobytes() for array in arrays] == [image.tobytes() for image in photographs]
