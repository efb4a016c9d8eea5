"""The embedded default: the weights that its card names, and clear errors for any others."""

import hashlib
import itertools
import re
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from percert.audit import audit_network
from percert.certify import copies
from percert.data.plain_pictures import PAGES, plain_pictures
from percert.lipschitz.architectures import TinyShape, tiny_network
from percert.lipschitz.centre import centre_of
from percert.lipschitz.network import weights_hash
from percert.metrics.catalog import create_metric, metric_card
from percert.metrics.certified.lipsim import VERSIONS, LipSimTiny
from percert.search.tables.schema import metric_id

WEIGHTS = files("percert") / "weights"
THRESHOLD = metric_card("lipsim-tiny").copy_threshold or 0.0


@pytest.mark.parametrize("version", [1, 2])
def test_the_card_names_the_weights_that_are_shipped(version: Literal[1, 2]) -> None:
    metric = LipSimTiny(version=version)
    card = (WEIGHTS / f"{metric.name}.md").read_text(encoding="utf-8")
    names = [metric.name, "lipsim-tiny-1-centre"][: 3 - version]  # the second's centre is inside
    for content in [(WEIGHTS / f"{name}.safetensors").read_bytes() for name in names]:
        assert hashlib.sha256(content).hexdigest() in card
        assert len(content) < 12 * 2**20
    parameters = sum(value.numel() for value in metric.parameters())
    claimed = re.search(r"([\d.]+) million (float32 )?parameters", card)
    assert claimed
    assert float(claimed[1]) == round(parameters / 1e6, 2)


@pytest.mark.parametrize("version", [1, 2])
def test_the_shipped_network_passes_its_audit_as_the_card_says(version: Literal[1, 2]) -> None:
    metric = LipSimTiny(version=version)
    report = audit_network(metric)
    assert report.passed, report.reasons
    assert report.hash in (WEIGHTS / f"{metric.name}.md").read_text(encoding="utf-8")


def test_earlier_versions_have_their_own_weights_alone() -> None:
    with pytest.raises(ValueError, match="expected version 2, or 0 or 1 without a checkpoint"):
        LipSimTiny("random", version=1)
    with pytest.raises(ValueError, match=r"without a checkpoint, found version 3$"):
        LipSimTiny(version=3)  # type: ignore[arg-type]


def test_versions_are_metrics_by_name() -> None:
    made = [create_metric(name, device="cpu") for name in VERSIONS]
    hashes = [metric_id(metric).weights for metric in made]
    assert len(set(hashes)) == len(hashes)
    for version, (name, metric) in enumerate(zip(VERSIONS, made, strict=True)):
        assert metric.name == metric_id(metric).name == name
        assert weights_hash(LipSimTiny(version=version).network) == hashes[version]  # type: ignore[arg-type]


@pytest.mark.parametrize("version", [1, 2])
def test_it_tells_edits_from_strangers_on_real_photographs(version: Literal[1, 2]) -> None:
    data = pytest.importorskip("skimage.data")
    photos = [
        torch.tensor(image).permute(2, 0, 1)[None] / 255
        for image in (data.astronaut(), data.chelsea(), data.coffee(), data.rocket())
    ]
    metric = LipSimTiny(version=version)
    threshold = metric_card(metric.name).copy_threshold
    assert threshold is not None
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
        assert furthest < threshold < nearest


PLAIN = {
    "black and white": (torch.zeros(1, 3, 90, 120), torch.ones(1, 3, 90, 120)),
    "two grey cards": (torch.full((1, 3, 80, 80), 0.4), torch.full((1, 3, 299, 299), 0.6)),
    "red and blue": (
        torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 64, 64),
        torch.tensor([0.0, 0, 1]).view(1, 3, 1, 1).expand(1, 3, 64, 64),
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_pictures_of_one_colour_are_certified_to_be_nothing(name: str) -> None:
    """Once black and white were a copy of each other, within l2 34."""
    metric, (one, other) = LipSimTiny(), PLAIN[name]
    found = metric(one, other)
    assert found.isfinite().all()
    for perturbed in ("candidate", "reference", "both"):
        certificate = copies(metric, one, other, THRESHOLD, perturbed=perturbed)  # type: ignore[arg-type]
        assert certificate.radius.item() == 0
        assert certificate.plain is not None
        assert certificate.plain.item()


@pytest.mark.parametrize("kind", PAGES)
def test_pages_of_text_are_no_certified_copies_of_each_other(kind: str) -> None:
    """At most 1 pair in 10 of drawn ones, of a seed that no rule was fitted to; once all were."""
    metric = LipSimTiny()
    pages = [
        torch.from_numpy(np.array(page)).permute(2, 0, 1)[None] / 255
        for page in plain_pictures(kind, 8, seed=9)
    ]
    certified = [
        bool(found.decision.item()) and found.radius.item() > 0
        for one, other in itertools.combinations(pages, 2)
        for found in [copies(metric, one, other, THRESHOLD)]
    ]
    assert sum(certified) <= 2


def test_the_weights_before_the_centre_are_there_under_their_hash() -> None:
    before = "70bbe92471bd3654062aefc854bb1da74d5fc2730dda96c599d4f6aa7d02e27e"
    old, new = LipSimTiny(version=0), LipSimTiny(version=1)
    assert weights_hash(old.network) == before
    assert before in (WEIGHTS / "lipsim-tiny-1.md").read_text(encoding="utf-8")
    assert old.content is None
    centre = centre_of(new.network)
    assert centre is not None
    photo = torch.rand(1, 3, 64, 64)
    assert torch.allclose(old.embed(photo) - centre.centre, new.embed(photo), atol=1e-4)


def test_a_centre_leaves_the_lipschitz_bound_alone() -> None:
    size = (299, 299)
    assert LipSimTiny(version=1).bound(size).value == LipSimTiny(version=0).bound(size).value


def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, second = LipSimTiny("random"), LipSimTiny("random")
    assert torch.equal(before, torch.random.get_rng_state())
    photo = torch.rand(1, 3, 64, 64)
    assert torch.equal(first.embed(photo), second.embed(photo))


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(ValueError, match=r"weights\.safetensors: not a readable safetensors file"):
        LipSimTiny(path)
    path.write_bytes(b"not safetensors")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        LipSimTiny(path)
    save_file({"other": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"not weights of lipsim-tiny: .* is missing"):
        LipSimTiny(path)
    other = tiny_network(TinyShape(width=48))
    save_file(dict(other.state_dict()), path)
    with pytest.raises(ValueError, match=r"not weights of lipsim-tiny: .* has shape"):
        LipSimTiny(path)
