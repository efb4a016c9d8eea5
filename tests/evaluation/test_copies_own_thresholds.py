"""``eval copies`` by thresholds of each stored picture's own: the rule of an index."""

import importlib.util
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from percert.data.copy_edits import find_edit
from percert.evaluation.copies.evaluate import CopiesPlan, evaluate_copies
from percert.evaluation.copies.gallery import ThresholdChoice, describe_views, view_radii
from percert.evaluation.copies.hashes import metric_detector
from percert.evaluation.copies.pictures import as_tensor
from percert.search import open_store

_spec = importlib.util.spec_from_file_location(
    "copies_world", Path(__file__).with_name("copies_world.py")
)
world = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(world)

VIEWS = ("whole", "centre-80")
EDITS = (find_edit("jpeg-50"), find_edit("crop-80-centre"))


@pytest.fixture(scope="module")
def detector():
    return metric_detector("lipsim-tiny", device="cpu", own=True)


@pytest.fixture(scope="module")
def pictures():
    return [world.picture(seed, (64, 56)) for seed in range(4)]


@pytest.fixture(scope="module")
def galleries(detector, pictures):
    batches = [([place], [one]) for place, one in enumerate(pictures)]
    found, _ = describe_views([detector], batches, VIEWS)
    return found[detector.name]


def test_a_score_is_the_distance_and_half_of_the_stored_picture_s_likeness(detector, pictures):
    images = as_tensor(pictures)
    described = detector.describe(images)
    plain = metric_detector("lipsim-tiny", device="cpu").describe(images)
    alike = detector.background.likeness(plain.features)
    assert torch.allclose(described.own, 0.5 * alike)
    scores = detector.distances(described.vectors, described.vectors)
    expected = 1 - plain.vectors @ plain.vectors.T + 0.5 * alike[None, :]
    assert torch.allclose(scores, expected, atol=1e-9)
    _, decided = detector.gaps(detector.values(images), described.vectors.roll(1, 0))
    of_pairs = torch.stack([scores[place, place - 1] for place in range(4)])
    assert torch.allclose(decided, of_pairs, atol=1e-6)


def test_verdicts_and_radii_are_those_of_an_index(tmp_path, detector, pictures, galleries):
    pytest.importorskip("lancedb", reason="needs the extra 'search'")
    store = open_store(tmp_path / "store", detector.metric, views=VIEWS)
    images = as_tensor(pictures)
    store.add(list(images), [str(place) for place in range(4)])
    queries = [0.9 * one[:, 6:50, 7:57] for one in images]
    features = [detector.describe(one[None]).features for one in queries]
    for threshold in (0.3, 0.6, 0.9, 1.4):
        answers = store.copies(queries, threshold, 4.0)
        for query, answer in zip(features, answers, strict=True):
            known = {one.path or one.id: one for one in answer.results}
            for place in range(4):
                copy, radius = view_radii(galleries, [place], query, threshold)
                held = known.get(str(place))
                if held is None:
                    assert not copy.item()
                    continue
                assert bool(copy.item()) == (held.distance <= held.threshold)
                assert radius.item() == pytest.approx(held.radius, rel=0.02, abs=0.02)


def test_an_evaluation_names_the_rule_and_holds_its_own_check(detector, pictures):
    plan = CopiesPlan(
        edits=EDITS, views=VIEWS, budgets=(1.0, 4.0), attacked=3, steps=3, side=0,
        threshold=ThresholdChoice("given", 0.8),
    )  # fmt: skip
    one = metric_detector("thumbnail-8", device="cpu", own=True)  # it has no background
    own, plain = evaluate_copies([detector, one], pictures, range(4), range(4), plan)
    assert asdict(own.rule) == asdict(own.rule) | {"threshold": 0.8, "weight": 0.5}
    assert own.rule.source == "shipped"
    assert own.rule.background == detector.background.id.hash
    assert (plain.rule.weight, plain.rule.background) == (0.0, None)
    assert own.natural > 0
    for entry, left in zip(own.certified, own.evasion.budgets, strict=True):
        assert entry.rate <= own.natural
        assert left.certified <= left.rate <= own.evasion.natural
