"""The embedded default: the weights that its card names, and clear errors for any others."""

import hashlib
import re
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from percert.audit import audit_network
from percert.lipschitz.tiny import TinyShape, tiny_network
from percert.metrics.lipsim_tiny import lipsim_tiny

WEIGHTS = files("percert") / "weights"


def test_the_card_names_the_weights_that_are_shipped() -> None:
    card = (WEIGHTS / "lipsim-tiny.md").read_text(encoding="utf-8")
    shipped = (WEIGHTS / "lipsim-tiny.safetensors").read_bytes()
    assert hashlib.sha256(shipped).hexdigest() in card
    assert len(shipped) < 12 * 2**20
    metric = lipsim_tiny()
    parameters = sum(value.numel() for value in metric.parameters())
    claimed = re.search(r"([\d.]+) million float32 parameters", card)
    assert claimed
    assert float(claimed[1]) == round(parameters / 1e6, 2)


def test_the_shipped_network_passes_its_audit_as_the_card_says() -> None:
    report = audit_network(lipsim_tiny())
    assert report.passed, report.reasons
    assert report.hash in (WEIGHTS / "lipsim-tiny.md").read_text(encoding="utf-8")


def test_it_tells_edits_from_strangers_on_real_photographs() -> None:
    data = pytest.importorskip("skimage.data")
    photos = [
        torch.tensor(image).permute(2, 0, 1)[None] / 255
        for image in (data.astronaut(), data.chelsea(), data.coffee(), data.rocket())
    ]
    metric = lipsim_tiny()
    for index, photo in enumerate(photos):
        edits = (
            photo * 0.8,
            photo[..., 10:-10, 20:-10],
            photo.flip(-1),
            photo.mean(1, True).expand_as(photo),
        )
        strangers = [other for j, other in enumerate(photos) if j != index]
        furthest = max(metric(photo, edit).item() for edit in edits)
        nearest = min(metric(photo, other).item() for other in strangers)
        assert furthest < 0.49 < nearest


def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, second = lipsim_tiny("random"), lipsim_tiny("random")
    assert torch.equal(before, torch.random.get_rng_state())
    photo = torch.rand(1, 3, 64, 64)
    assert torch.equal(first.embed(photo), second.embed(photo))


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(ValueError, match=r"weights\.safetensors: not a readable safetensors file"):
        lipsim_tiny(path)
    path.write_bytes(b"not safetensors")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        lipsim_tiny(path)
    save_file({"other": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"not weights of lipsim-tiny: .* is missing"):
        lipsim_tiny(path)
    other = tiny_network(TinyShape(width=48))
    save_file(dict(other.state_dict()), path)
    with pytest.raises(ValueError, match=r"not weights of lipsim-tiny: .* has shape"):
        lipsim_tiny(path)
