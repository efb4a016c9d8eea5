"""What is never certified: no bound, an estimate, NaN, a zero embedding, low precision."""

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from percert import certify
from percert.images import Resize
from percert.lipschitz.bound import LipschitzBound, LipschitzEstimate
from percert.metrics.catalog import CATALOG, create_metric
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.lipsim import Thumbnail

from .feature_attacks import features, random_embeddings

SOURCE = Path(__file__).resolve().parents[2] / "src" / "percert"


def calls(metric: object, images: Tensor) -> dict[str, Callable[[], object]]:
    gallery = torch.ones(2, 192)
    return {
        "twoafc": lambda: certify.twoafc(metric, images, images, images),
        "distance": lambda: certify.distance(metric, images, images, 1.0),
        "copies": lambda: certify.copies(metric, images, images, 0.2),
        "nearest": lambda: certify.nearest(metric, images, gallery),
    }


@pytest.mark.parametrize("name", [name for name, card in CATALOG.items() if not card.embedding])
def test_a_metric_without_a_bound(name: str) -> None:
    if name.startswith("dreamsim"):
        pytest.skip("dreamsim's networks are its package's, and have no random weights")
    weights = None if CATALOG[name].checkpoint == "none" else "random"
    metric = create_metric(name, weights, device="cpu")
    for call in calls(metric, torch.rand(1, 3, 176, 176)).values():
        with pytest.raises(ValueError, match=r"has no proven Lipschitz bound.*lipsim-tiny"):
            call()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_of_less_than_float32(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match="expected a float32 or float64 tensor"):
        certify.pixel_features(torch.ones(1, 2, dtype=dtype), LipschitzBound(1.0, "given"))


def test_a_metric_in_training_mode() -> None:
    metric = Thumbnail(8)
    metric.network.layers[0].train()
    for call in calls(metric, torch.rand(1, 3, 16, 16)).values():
        with pytest.raises(ValueError, match=r"thumbnail-8: is in training mode.*metric.eval\(\)"):
            call()
    for call in calls(metric.eval(), torch.rand(1, 3, 16, 16)).values():
        call()


def test_an_estimate_at_run_time() -> None:
    with pytest.raises(TypeError, match="expected a proven LipschitzBound, found LipschitzEst"):
        certify.pixel_features(torch.ones(1, 2), LipschitzEstimate(1.0, "power iteration"))

    class Guessed(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)

        def lipschitz_bound(self) -> LipschitzEstimate:
            return LipschitzEstimate(1.0, "power iteration")

    metric = EmbeddingMetric(Guessed(), Resize((8, 8), "box"), name="guessed")
    for call in calls(metric, torch.rand(1, 3, 16, 16)).values():
        with pytest.raises(TypeError, match="guessed: expected a proven LipschitzBound"):
            call()


def test_an_estimate_when_types_are_checked(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    snippet = tmp_path / "snippet.py"
    snippet.write_text(
        "from percert.certify.features import pixel_features\n"
        "from percert.lipschitz.bound import LipschitzBound, LipschitzEstimate\n"
        "def proven(h: object, bound: LipschitzBound) -> None:\n"
        "    pixel_features(h, bound)\n"
        "def guessed(h: object, bound: LipschitzEstimate) -> None:\n"
        "    pixel_features(h, bound)\n"
    )
    # Torch is left out, it would take mypy long; its tensors are Any here.
    files = [SOURCE / "certify" / "features.py", SOURCE / "lipschitz" / "bound.py"]
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--follow-imports=skip", "--config-file=", snippet, *files],
        capture_output=True,
        text=True,
        env={"MYPYPATH": str(SOURCE.parent), "MYPY_CACHE_DIR": str(tmp_path / "cache")},
        check=False,
    )
    errors = [line for line in run.stdout.splitlines() if "snippet.py" in line]
    assert len(errors) == 1, run.stdout + run.stderr
    assert "snippet.py:6: error:" in errors[0]
    assert '"LipschitzEstimate"; expected "LipschitzBound"' in errors[0]


@pytest.mark.parametrize("spoiled", ["nan", "inf", "zero"])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_embedding_without_a_direction_abstains(spoiled: str, which: int) -> None:
    drawn = random_embeddings(0, 3, 8, batch=4)
    drawn[which][1] = {"nan": math.nan, "inf": math.inf, "zero": 0.0}[spoiled]
    triplet = [features(h) for h in drawn]
    for perturbed in ("reference", "candidates", "all"):
        got = certify.twoafc_of_features(*triplet, perturbed=perturbed)
        assert got.radius[1] == 0
        assert got.radius_paper[1].isnan()
        assert (got.radius[[0, 2, 3]] > 0).all()
    if which == 2:
        return
    pair = triplet[0], triplet[1]
    for perturbed in ("reference", "candidate", "both"):
        copy = certify.copies_of_features(*pair, 0.3, perturbed=perturbed)
        assert copy.radius[1] == 0
        interval = certify.distance_of_features(*pair, 0.001, perturbed=perturbed)
        assert (interval.lower[1], interval.upper[1]) == (0, 2)
        assert interval.lower_paper[1].isnan()
    if which == 0:
        found = certify.nearest_of_features(triplet[0], triplet[1])
        assert found.radius[1] == 0
        assert found.radius_top_k[1] == 0


def test_an_image_without_contrast_abstains() -> None:
    """Its thumbnail is zero up to rounding: a direction of noise, which certifies nothing."""
    grey = torch.full((1, 3, 30, 50), 0.3)
    photo = torch.rand(1, 3, 30, 50)
    for metric in (Thumbnail(8), Thumbnail(16), Thumbnail(8).float()):
        for left, right in ((grey, photo), (photo, grey)):
            assert certify.copies(metric, left, right, 0.3).radius.item() == 0
            interval = certify.distance(metric, left, right, 0.0)
            assert (interval.lower.item(), interval.upper.item()) == (0, 2)
        assert certify.twoafc(metric, grey, photo, photo.flip(-1)).radius.item() == 0
        gallery = metric.embed(torch.cat([photo, photo.flip(-1)]))
        assert certify.nearest(metric, grey, gallery).radius.item() == 0


def test_low_precision_is_refused() -> None:
    metric = Thumbnail(8).to(torch.bfloat16)
    with pytest.raises(ValueError, match="certificates need float32 or float64 embeddings"):
        certify.copies(metric, torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16), 0.2)


def test_unequal_numbers_of_images_and_unknown_movers() -> None:
    metric, one, two = Thumbnail(8), torch.rand(1, 3, 16, 16), torch.rand(2, 3, 20, 16)
    with pytest.raises(ValueError, match="candidate: expected 2 images"):
        certify.distance(metric, two, one, 1.0)
    with pytest.raises(ValueError, match="right: expected 2 images"):
        certify.twoafc(metric, two, two, one)
    with pytest.raises(ValueError, match="perturbed: expected one of 'candidate'"):
        certify.copies(metric, one, one, 0.2, perturbed="left")
    with pytest.raises(ValueError, match="perturbed: expected one of 'reference'"):
        certify.twoafc(metric, one, one, one, perturbed="both")


def test_the_bound_is_that_of_the_images_that_move() -> None:
    metric = Thumbnail(8)
    small, large = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 64, 64)
    both = certify.copies(metric, small, large, 0.3, perturbed="both")
    assert both.bounds.keys() == {"reference", "candidate"}
    assert both.bounds["reference"].value == pytest.approx(0.5, rel=1e-12)
    assert both.bounds["candidate"].value == pytest.approx(0.125, rel=1e-12)
    assert both.bound.resolution == (16, 16)
    alone = certify.copies(metric, small, large, 0.3)
    assert alone.bound.resolution == (64, 64)
    assert certify.distance(metric, small, large, 1.0).bounds.keys() == {"candidate"}
    assert isinstance(certify.twoafc(metric, small, large, large).bound, LipschitzBound)
