"""Metrics and attacks that LipSim names: similarity turned round, and images made again."""

import json

import pytest
import torch

from experiments.papers.lipsim import named
from percert.metrics.catalog import create_metric


@pytest.fixture
def thumbnail():
    return create_metric("thumbnail", device="cpu")


def ramps():
    """Light from the left, a little from the left, and from the right."""
    across = torch.linspace(0.2, 0.8, 32).expand(1, 3, 32, 32)
    return torch.cat([across, 0.5 + 0.7 * (across - 0.5), 1 - across])


def test_the_most_dissimilar_of_a_batch_is_found_by_the_metric(thumbnail):
    assert named.most_dissimilar(thumbnail, ramps()).tolist()[:2] == [2, 2]


def test_an_image_is_likened_to_another_only_where_the_budget_reaches(thumbnail):
    images = ramps()[[0, 2]]
    far = images.flip(0)
    for eps, expected in ((0.5, False), (12.0, True)):
        verdict = named.liken(
            thumbnail, images, far, f"apgd:loss=margin,norm=l2,eps={eps},steps=20"
        )
        assert verdict.success_8bit.tolist() == [expected, expected]
        nearer = thumbnail(verdict.images_8bit, far) < thumbnail(verdict.images_8bit, images)
        assert nearer.tolist() == [expected, expected]


def test_an_image_is_made_again_from_what_a_metric_keeps(thumbnail, monkeypatch):
    monkeypatch.setattr(named, "STEPS", 60)
    image = ramps()[:1]
    found = named.inverted(thumbnail, image)
    assert thumbnail(image, found) < 0.2 * thumbnail(image, torch.full_like(image, 0.5))
    assert found[0, :, :, :8].mean() < found[0, :, :, -8:].mean() - 0.1


def test_a_run_writes_its_page_and_keeps_what_it_measured(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(named, "METRICS", ("thumbnail", "ssim"))
    monkeypatch.setattr(named, "INVERTED", ("thumbnail",))
    monkeypatch.setattr(named, "STEPS", 2)
    words = ["--data", str(tiny_data), "--work", str(tmp_path / "work"), "--out", str(tmp_path)]
    named.main([*words, "--photographs", "2", "--steps", "1"])
    text = (tmp_path / "named-metrics.md").read_text()
    found = json.loads((tmp_path / "named-metrics.json").read_text())
    first, second = found["attacked"]
    assert (first["metric"], first["triplets"], first["photographs"]) == ("thumbnail", 4, 2)
    assert first["proven l2 1"] <= 1 - first["likened l2 1"]
    assert "proven l2 1" not in second
    assert "| ssim | " in text
    assert (tmp_path / "inversion.png").read_bytes()[1:4] == b"PNG"
    monkeypatch.setattr(named, "attacked", lambda *asked: pytest.fail("measured once more"))
    named.main([*words, "--photographs", "2", "--steps", "1"])
    assert (tmp_path / "named-metrics.md").read_text() == text
