"""triplets.bounds on a few pictures: its table against radii that are computed by hand."""

import json

import pytest

from experiments.photographs import as_tensor
from experiments.triplets import bounds
from percert import certify, create_metric
from percert.data.distortions import DISTORTIONS, distortion_triplet


def test_bounds_are_those_of_each_triplet(data, photographs, tmp_path):
    bounds.main(["--data", str(data), "--out", str(tmp_path), "--limit", "2"])
    result = json.loads((tmp_path / "twoafc-bounds.json").read_text())
    assert (result["photographs"], result["triplets"]) == (2, 2 * len(DISTORTIONS))
    metric = create_metric("thumbnail-8", device="cpu")
    slow = []
    for index, image in enumerate(photographs[:2]):
        for distortion in DISTORTIONS:
            one = distortion_triplet(image, distortion, 0, index)
            images = [as_tensor([part]) for part in (one.reference, one.milder, one.stronger)]
            found = certify.twoafc(metric, *images)
            difference = metric(images[0], images[2]) - metric(images[0], images[1])
            right = float(difference) > 0 and float(found.radius) > 0
            length = metric.bound((64, 64)).value
            slow.append((right, float(difference) / (2 * length), float(found.radius)))
    rows = {one["bound"]: one for one in result["bounds"] if one["metric"] == "thumbnail-8"}
    for at, eps in enumerate(bounds.EPS):
        share = sum(right and radius > eps for right, _, radius in slow) / len(slow)
        assert rows["exact"]["certified"][at] == pytest.approx(share)
        share = sum(right and half > eps for right, half, _ in slow) / len(slow)
        assert rows["tsuzuku"]["certified"][at] == pytest.approx(share)
        three = [rows[name]["certified"][at] for name in ("tsuzuku", "eq8", "exact")]
        assert three == sorted(three)
    assert rows["tsuzuku"]["of_exact"] < rows["eq8"]["of_exact"] < rows["exact"]["of_exact"] == 1
    said = (tmp_path / "twoafc-bounds.md").read_text()
    assert "| thumbnail-8 | LipSim, Eq. 8 |" in said
