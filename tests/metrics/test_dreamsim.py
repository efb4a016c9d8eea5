"""DreamSim's adapter, with a small model of the package's interface in its place."""

import sys
import types

import pytest
import torch
import torch.nn.functional as F

from percert.metrics.catalog import create_metric


class Ensemble(torch.nn.Module):
    """Embeds 224 x 224 images, squeezes a batch of one, and compares as the package does."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(12, 3 * 16))

    def embed(self, images):
        assert images.shape[2:] == (224, 224)
        found = (F.adaptive_avg_pool2d(images, 4).flatten(1) @ self.weight.T).squeeze()
        found = found if found.ndim > 1 else found.unsqueeze(0)
        found = (found.T / found.norm(dim=1)).T
        return (found.T - found.mean(1)).T.squeeze()

    def forward(self, a, b):
        return 1 - F.cosine_similarity(self.embed(a), self.embed(b), dim=-1)


@pytest.fixture
def package(monkeypatch):
    module, calls = types.ModuleType("dreamsim"), []

    def dreamsim(pretrained=True, device="cuda", cache_dir="./models", dreamsim_type="ensemble"):
        calls.append((pretrained, device, cache_dir, dreamsim_type))
        torch.manual_seed(0)
        return Ensemble(), None

    module.dreamsim = dreamsim
    monkeypatch.setitem(sys.modules, "dreamsim", module)
    return calls


def test_it_is_the_packages_own_distance_at_224_pixels(package, tmp_path):
    metric = create_metric("dreamsim", tmp_path, "cpu")
    assert package == [(True, "cpu", str(tmp_path), "ensemble")]
    reference, candidate = torch.rand(2, 3, 3, 224, 224)
    torch.manual_seed(0)
    expected = Ensemble()(reference, candidate)
    torch.testing.assert_close(metric(reference, candidate), expected, rtol=1e-3, atol=1e-6)
    alone = metric(reference[:1], candidate[:1])
    torch.testing.assert_close(alone, expected[:1], rtol=1e-3, atol=1e-6)
    assert len(package) == 1


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("dreamsim-dino", "dino_vitb16"),
        ("dreamsim-clip", "clip_vitb32"),
        ("dreamsim-open-clip", "open_clip_vitb32"),
    ],
)
def test_its_parts_are_metrics_too(package, tmp_path, name, part):
    metric = create_metric(name, tmp_path, "cpu")
    assert package == [(True, "cpu", str(tmp_path), part)]
    assert metric(*torch.rand(2, 2, 3, 30, 30)).shape == (2,)


def test_sizes_may_differ_and_gradients_are_finite_at_identity(package, tmp_path):
    metric = create_metric("dreamsim", tmp_path / "new" / "folder", "cpu")
    reference, candidate = torch.rand(2, 3, 40, 50), torch.rand(2, 3, 64, 30)
    assert metric(reference, candidate).shape == (2,)
    same = reference.clone().requires_grad_()
    distances = metric(reference, same)
    assert distances.tolist() == [0.0, 0.0]
    distances.sum().backward()
    assert same.grad.isfinite().all()
    assert metric(reference[:0], candidate[:0]).shape == (0,)
    assert not any(value.requires_grad for value in metric._loaded["cpu"].parameters())


def test_a_package_that_is_not_there_or_cannot_fetch_is_a_clear_error(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "dreamsim", None)
    with pytest.raises(
        ValueError, match=r"dreamsim: its package cannot be imported .* pip install"
    ):
        create_metric("dreamsim", tmp_path, "cpu")
    module = types.ModuleType("dreamsim")

    def offline(**_):
        raise OSError("no network")

    module.dreamsim = offline
    monkeypatch.setitem(sys.modules, "dreamsim", module)
    for name, archive in (("dreamsim", "dreamsim"), ("dreamsim-clip", "dreamsim_clip_vitb32")):
        with pytest.raises(
            ValueError, match=rf"fetched \(no network\); fetch {archive}_checkpoint\.zip"
        ):
            create_metric(name, tmp_path, "cpu")
