"""Detectors by name, and imagededup's network where a stand-in takes its place."""

import sys
import types

import pytest
import torch

from percert.evaluation.copies.detector import attacked
from percert.evaluation.copies.hashes import create_detector, metric_detector


class Program:
    """What ``imagededup.methods.CNN`` has: a network, and what prepares an image for it."""

    def __init__(self, verbose=True):
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.ReLU())
        self.model_config = types.SimpleNamespace(
            model=network, transform=lambda image: (image[:, :16, :16] - 0.5) / 0.2
        )


@pytest.fixture
def imagededup(monkeypatch):
    package, methods = types.ModuleType("imagededup"), types.ModuleType("imagededup.methods")
    methods.CNN = Program
    monkeypatch.setitem(sys.modules, "imagededup", package)
    monkeypatch.setitem(sys.modules, "imagededup.methods", methods)


@pytest.mark.usefixtures("imagededup")
def test_the_cnn_is_the_cosine_distance_of_the_programs_features():
    detector = create_detector("cnn")
    assert detector.name == "cnn"
    images = torch.rand(2, 3, 20, 24)
    program = Program().model_config
    features = program.model(torch.stack([program.transform(image) for image in images])).flatten(1)
    expected = 1 - torch.nn.functional.cosine_similarity(features[0], features[1], dim=0)
    vectors = detector.describe(images).vectors
    assert detector.distances(vectors, vectors)[0, 1].item() == pytest.approx(
        expected.item(), abs=1e-6
    )
    moving = images.clone().requires_grad_()
    objective, distance = attacked(detector, moving, vectors.roll(1, 0)[:, None])
    (gradient,) = torch.autograd.grad(objective.sum(), moving)
    assert gradient.abs().sum() > 0
    assert distance[0].item() == pytest.approx(expected.item(), abs=1e-6)


def test_a_package_that_does_not_import_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagededup.methods", None)
    with pytest.raises(ValueError, match="pip install imagededup"):
        create_detector("cnn")
    monkeypatch.setitem(sys.modules, "imagehash", None)
    with pytest.raises(ValueError, match=r"pip install .*\[rivals\]"):
        create_detector("phash")


def test_features_want_weights():
    assert create_detector("features=random").name == "squeezenet"
    for text, reason in (
        ("features", "needs SqueezeNet"),
        ("features=missing.safetensors", "no such file"),
        ("dhash=weights", "takes no weights"),
        ("sha256", "expected a metric with an embedding"),
    ):
        with pytest.raises(ValueError, match=reason):
            create_detector(text)
    with pytest.raises(ValueError, match="expected a metric with an embedding"):
        metric_detector("ssim")
    assert create_detector("thumbnail-16", "cpu").name == "thumbnail-16"
