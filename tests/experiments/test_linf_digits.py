"""The rates of digits: what is trained on, what is measured, and which others count."""

import gzip
import json
from pathlib import Path

import numpy as np
import torch

from experiments.copies import linf_digits
from experiments.copies.linf_rates import radii
from percert.certify.features import pixel_features
from percert.lipschitz.bound import LipschitzBound


def _write_digits(folder: Path, count: int) -> None:
    generator = np.random.default_rng(0)
    folder.mkdir()
    pixels = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    for name, values in (("images-idx3", pixels), ("labels-idx1", labels)):
        head = bytes([0, 0, 8, values.ndim]) + b"".join(
            side.to_bytes(4, "big") for side in values.shape
        )
        (folder / f"t10k-{name}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))


def test_digits_of_the_other_half_are_measured(tmp_path: Path) -> None:
    _write_digits(tmp_path / "mnist", 60)
    linf_digits.main(
        [
            *("--data", str(tmp_path), "--half", "40", "--limit", "20", "--steps", "2"),
            *("--share", "16", "--work", str(tmp_path / "work"), "--out", str(tmp_path)),
        ]
    )
    found = json.loads((tmp_path / "linf-rates-mnist.json").read_text())
    assert (found["digits"], found["trained_on"], found["steps"]) == (20, 40, 2)
    # Of noise, two digits differ by nearly all somewhere.
    assert 0.9 < found["least_linf"] < 1
    for one in found["rates"]:
        for name in ("cner", "cncr", "of_others"):
            assert one[name] == sorted(one[name], reverse=True)
        assert all(a >= b for a, b in zip(one["of_others"], one["cncr"], strict=True))
    thresholds = [one["threshold"] for one in found["rates"]]
    assert thresholds == sorted(thresholds, reverse=True)


def test_others_of_one_class_are_left_out_where_classes_are_given() -> None:
    # At right angles but for the second, which lies near the first.
    h = 10 * torch.eye(4, dtype=torch.float64)
    h[1] = torch.tensor([10.0, 1.0, 0.0, 0.0])
    features = pixel_features(h, LipschitzBound(1.0, "the identity"))
    _, near = radii(features, 0.3)
    _, apart = radii(features, 0.3, torch.tensor([0, 0, 1, 2]))
    assert near[0] == near[1] == 0
    assert float(apart[0]) > 1
    assert torch.equal(near[2:], apart[2:])
