"""Names, checkpoints and devices: what create_metric takes and what it refuses."""

import json
import subprocess
import sys

import pytest
import torch

from percert.metrics.catalog import CATALOG, create_metric, list_metrics, metric_card
from percert.metrics.certified.embedding import EmbeddingMetric


def test_the_list_is_the_catalog_with_the_default_first():
    assert list_metrics() == list(CATALOG)
    assert list_metrics()[0] == "lipsim-tiny"
    assert all(name == card.name for name, card in CATALOG.items())


def test_every_card_is_complete():
    for card in CATALOG.values():
        assert card.summary
        assert card.range[0] <= 0 < card.range[1]
        assert card.checkpoint in ("none", "optional", "required", "fetched", "packaged")
        assert card.copy_threshold is None or 0 < card.copy_threshold < card.range[1]


@pytest.mark.parametrize(
    ("name", "near"), [("lipsim-tin", "lipsim-tiny"), ("SSIM", "ssim"), ("thumbnial", "thumbnail")]
)
def test_an_unknown_name_suggests_the_nearest(name, near):
    with pytest.raises(ValueError, match=f"unknown name '{name}', did you mean '{near}'.*Known: "):
        metric_card(name)


def test_an_unknown_name_far_from_all_lists_them():
    with pytest.raises(ValueError, match=r"unknown name 'zzz'\. Known: lipsim-tiny, "):
        create_metric("zzz")


def test_a_part_of_a_name_is_not_a_name():
    with pytest.raises(ValueError, match="unknown name 'lipsim'"):
        create_metric("lipsim")


def test_a_checkpoint_is_refused_where_there_are_no_weights():
    with pytest.raises(ValueError, match="ssim: has no weights"):
        create_metric("ssim", checkpoint="weights.safetensors")


def test_a_checkpoint_is_asked_for_where_none_come_with_percert():
    with pytest.raises(ValueError, match="lipsim-small: needs checkpoint=FILE"):
        create_metric("lipsim-small")


def test_an_unknown_device_is_an_error():
    with pytest.raises(ValueError, match=r"device: expected .* found 'tpu'"):
        create_metric("mse", device="tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="device: 'cuda' is not available"):
        create_metric("mse", device="cuda")


def test_thumbnail_is_the_one_of_eight_pixels():
    metric = create_metric("thumbnail")
    assert isinstance(metric, EmbeddingMetric)
    assert metric.resolution == (8, 8)
    assert create_metric("thumbnail-16").resolution == (16, 16)


def test_naming_a_metric_loads_no_other():
    script = (
        "import sys, json; from percert import create_metric; create_metric('mse'); "
        "print(json.dumps([m for m in sys.modules if m.startswith('percert.metrics.')]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = json.loads(done.stdout)
    assert "percert.metrics.full_reference.pixel_errors" in loaded
    assert "percert.metrics.full_reference.ssim" not in loaded
    assert "percert.metrics.certified.lipsim" not in loaded
