"""The larger network: the weights that its card names, proven, and what is said without them."""

import hashlib
import re
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from percert.audit import audit_network
from percert.certify import copies
from percert.metrics.catalog import create_metric, metric_card
from percert.metrics.certified import lipsim
from percert.metrics.certified.lipsim import LipSimBase, LipSimTiny

WEIGHTS = files("percert") / "weights"


def test_the_card_names_the_weights_and_the_audit_passes() -> None:
    metric = LipSimBase()
    card = (WEIGHTS / "lipsim-base.md").read_text(encoding="utf-8")
    content = (WEIGHTS / "lipsim-base.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest() in card
    assert len(content) < 12 * 2**20
    claimed = re.search(r"([\d.]+) million parameters", card)
    assert claimed
    assert float(claimed[1]) == round(sum(p.numel() for p in metric.parameters()) / 1e6, 2)
    report = audit_network(metric)
    assert report.passed, report.reasons
    assert report.hash in card


def test_it_sees_twice_the_side_and_is_the_metric_of_its_name() -> None:
    made = create_metric("lipsim-base", device="cpu")
    assert type(made) is LipSimBase
    assert made.resolution == metric_card("lipsim-base").resolution == (128, 128)
    photo = torch.rand(1, 3, 160, 200, generator=torch.Generator().manual_seed(0))
    assert float(made(photo, photo.flip(-1))) < 1e-9
    assert float(made.embed(torch.full((1, 3, 90, 90), 0.7)).norm()) < 1e-3
    # The same tamper is twice as long at 128 px as at 64, and no radius is longer for it.
    assert made.bound((299, 299)).value == pytest.approx(
        2 * LipSimTiny().bound((299, 299)).value, rel=1e-3
    )


def test_copies_are_certified_and_strangers_told_apart() -> None:
    data = pytest.importorskip("skimage.data")
    photo, other = (
        torch.tensor(image).permute(2, 0, 1)[None] / 255
        for image in (data.astronaut(), data.coffee())
    )
    metric, threshold = LipSimBase(), metric_card("lipsim-base").copy_threshold or 0.0
    kept = copies(metric, photo, 0.8 * photo, threshold=threshold)
    assert bool(kept.decision)
    assert float(kept.radius) > 4
    assert not bool(copies(metric, photo, other, threshold=threshold).decision)


def test_without_its_weights_it_says_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (WEIGHTS / "lipsim-base.safetensors").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(lipsim, "files", lambda package: tmp_path)
        with pytest.raises(ValueError, match=r"not installed with percert; name the file .*base"):
            LipSimBase()
        (tmp_path / "mine.safetensors").write_bytes(content)
        named = LipSimBase(tmp_path / "mine.safetensors")
    photo = torch.rand(1, 3, 64, 64)
    assert torch.equal(named.embed(photo), LipSimBase().embed(photo))


def test_weights_of_another_shape_are_refused_by_their_name(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    path.write_bytes((WEIGHTS / "lipsim-tiny.safetensors").read_bytes())
    with pytest.raises(ValueError, match="not weights of lipsim-base: layers"):
        LipSimBase(path)
    state = load_file(path) | {"layers.3.bias": torch.zeros(2)}
    save_file(state, path)
    with pytest.raises(ValueError, match="not weights of lipsim-base: layers"):
        LipSimBase(path)
    save_file(LipSimBase("random").network.state_dict() | {"layers.3.bias": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"layers.3.bias has shape \(2,\), expected \(32,\)"):
        LipSimBase(path)
