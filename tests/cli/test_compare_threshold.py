"""``percert compare --threshold auto:RATE``: by how rarely strangers are as near."""

import json

import pytest
import torch
from torch.nn.functional import interpolate

from percert.certify.answers import prepare
from percert.images import save_image
from percert.metrics.catalog import create_metric
from percert.search.query.reference_threshold import reference_threshold


def test_compare_takes_it_by_its_rate(tmp_path, percert):
    image = interpolate(
        torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(1)), (60, 80)
    )[0]
    for name, one in (("a.png", image), ("b.png", image * 0.9), ("c.png", image.flip(0))):
        save_image(one, tmp_path / name)
    files = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    words = ("compare", *files, "--threshold", "auto:1e-6")
    said = json.loads(percert(*words, "--json").stdout)
    metric = create_metric("lipsim-tiny", device="cpu")
    own = reference_threshold(metric, prepare(metric, image).features, 1e-6)
    assert said["threshold"] == pytest.approx(own.threshold.distance, abs=1e-2)
    assert (said["wrong"], said["counted"]) == (1e-6, True)
    for result in said["results"]:
        assert result["copy"] == (result["distance"] <= said["threshold"])
    assert "1 in 1,000,000 is as near" in percert(*words).stdout
    plain = json.loads(percert("compare", *files, "--json").stdout)
    assert plain["threshold"] == 0.68
    assert not {"wrong", "counted"} & set(plain)
    for text in ("auto:0", "auto", "auto:x", "3", "-1", "nan", "fpr:1e-3"):
        refused = percert("compare", *files, f"--threshold={text}", exit_code=2).stderr
        assert "auto:RATE" in refused
