"""``percert compare --threshold auto:RATE``: by how rarely strangers are as near."""

import json

import pytest
import torch
from torch.nn.functional import interpolate

from percert.images import save_image
from percert.metrics.catalog import create_metric
from percert.search.query.reference_rule import RuleAsked, reference_rule


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
    own = reference_rule(metric, image[None], RuleAsked(wrong=1e-6))
    assert said["threshold"] == pytest.approx(own.threshold, abs=1e-2)
    assert (said["rule"]["wrong"], said["rule"]["counted"]) == (1e-6, True)
    assert said["rule"]["source"] == "shipped"
    for result in said["results"]:
        assert result["copy"] == (result["distance"] <= said["threshold"])
    assert "1 in 1,000,000 is as near" in percert(*words).stdout
    plain = json.loads(percert("compare", *files, "--json").stdout)
    assert plain["rule"]["wrong"] == 1e-3
    assert plain["threshold"] > said["threshold"]
    usual = json.loads(percert("compare", *files, "--threshold", "usual", "--json").stdout)
    assert (usual["threshold"], usual["rule"]["weight"]) == (0.68, 0.0)
    assert usual["rule"]["background"] is None
    for text in ("auto:0", "auto", "auto:x", "3", "-1", "nan", "fpr:1e-3"):
        refused = percert("compare", *files, f"--threshold={text}", exit_code=2).stderr
        assert "auto:RATE" in refused


def test_views_find_a_crop_and_name_the_view(tmp_path, percert):
    seed = torch.Generator().manual_seed(3)
    image = interpolate(torch.rand(1, 3, 9, 9, generator=seed), (90, 120))[0]
    save_image(image, tmp_path / "a.png")
    save_image(image[:, 9:81, 12:108], tmp_path / "crop.png")
    words = ("compare", tmp_path / "a.png", tmp_path / "crop.png", "--views", "standard")
    said = json.loads(percert(*words, "--json").stdout)
    (result,) = said["results"]
    assert said["views"][:3] == ["whole", "upper", "centre-80"]
    assert (result["copy"], result["view"]) == (True, "centre-80")
    assert result["view_distance"] == pytest.approx(0, abs=1e-9)
    assert "in the view centre-80" in percert(*words).stdout
    table = percert(*words, tmp_path / "a.png").stdout
    assert "within its own of any of 11 views" in " ".join(table.split())
    assert "centre-80" in table
    percert(*words[:-1], "no-such", exit_code=1)
    refused = percert(*words, "--edits", exit_code=2).stderr
    assert "as a whole" in " ".join(refused.split())
