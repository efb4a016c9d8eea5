"""The twins of perceptual hashes against the real programs."""

import pytest
import torch
from PIL import Image

pytest.importorskip("imagehash", reason="needs the extra 'experiments'")
pytest.importorskip("pdqhash", reason="needs the extra 'experiments'")

from experiments.photographs import as_tensor
from percert.evaluation.copies.detector import attacked
from percert.evaluation.copies.hashes import HashDetector, dhash, pdq, phash, whash

DETECTORS = [(phash(), 0.05), (dhash(), 0.05), (whash(), 0.05), (pdq(), 0.01)]


@pytest.mark.parametrize(
    ("detector", "most"), DETECTORS, ids=lambda each: getattr(each, "name", "")
)
@pytest.mark.parametrize("size", [(299, 299), (150, 239), (64, 80)])
def test_the_twin_has_the_bits_of_the_program(
    detector: HashDetector, most: float, size: tuple[int, int], photographs: list[Image.Image]
) -> None:
    """Programs round to 8 bits in between: a few bits of pHash and dHash may fall otherwise."""
    images = as_tensor([image.resize(size) for image in photographs])
    bits = detector.describe(images).vectors
    assert set(bits.unique().tolist()) == {-1.0, 1.0}
    _, wrong = attacked(detector, images, bits[:, None])
    assert wrong.mean() <= most
    _, opposite = attacked(detector, images, -bits[:, None])
    assert opposite.mean() >= 1 - most


@pytest.mark.parametrize(
    ("detector", "most"), DETECTORS, ids=lambda each: getattr(each, "name", "")
)
def test_distances_are_shares_of_bits(
    detector: HashDetector, most: float, photographs: list[Image.Image]
) -> None:
    bits = detector.describe(as_tensor(photographs)).vectors
    table = detector.distances(bits, bits)
    expected = torch.tensor([[(a != b).double().mean() for b in bits] for a in bits])
    torch.testing.assert_close(table, expected.double(), atol=1e-7, rtol=0)


@pytest.mark.parametrize(
    ("detector", "most"), DETECTORS, ids=lambda each: getattr(each, "name", "")
)
def test_the_objective_pulls_bits_over(
    detector: HashDetector, most: float, photographs: list[Image.Image]
) -> None:
    images = as_tensor(photographs)
    bits = detector.describe(images).vectors
    moving = images.clone().requires_grad_()
    objective, _ = attacked(detector, moving, bits[:, None])
    (gradient,) = torch.autograd.grad(objective.sum(), moving)
    step = gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    _, before = attacked(detector, images, bits[:, None])
    _, after = attacked(detector, (images + 4 * step).clamp(0, 1), bits[:, None])
    assert (after > before).all()
