"""``eval copies`` by thresholds of each stored picture's own: the rule of an index."""

import importlib.util
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from percert.data.copy_edits import find_edit
from percert.evaluation.copies.detector import describe_asked, features_of
from percert.evaluation.copies.evaluate import CopiesPlan, evaluate_copies
from percert.evaluation.copies.gallery import (
    ThresholdChoice,
    describe_views,
    least_distances,
    view_radii,
)
from percert.evaluation.copies.hashes import metric_detector
from percert.evaluation.copies.pictures import as_tensor
from percert.search import open_store
from percert.search.ingest.views import VIEW_SETS

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


def gallery_in(views, detector, pictures):
    batches = [([place], [one]) for place, one in enumerate(pictures)]
    found, _ = describe_views([detector], batches, views)
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


def captioned(image):
    """Its lowest fifth is the negative: the band above is as it was."""
    low = round(0.8 * image.shape[1])
    return torch.cat([image[:, :low], 1 - image[:, low:]], 1)


def differences(store, detector, gallery, queries):
    """Where an evaluation and an index disagree, and the views that decide in the index."""
    asked = [describe_asked(detector, one[None], gallery.asked) for one in queries]
    found, deciding = [], set()
    for threshold in (0.3, 0.6, 0.9, 1.4):
        answers = store.copies(queries, threshold, 4.0)
        for row, (described, answer) in enumerate(zip(asked, answers, strict=True)):
            known = {one.path or one.id: one for one in answer.results}
            vectors = {name: one.vectors for name, one in described.items()}
            scores = least_distances(detector, vectors, gallery)[0]
            for place, score in enumerate(scores):
                features = features_of(described)
                copy, radius = view_radii(gallery, [place], features, threshold)
                held = known.get(str(place))
                if held is None:
                    found += [(threshold, row, place, "found")] if copy.item() else []
                    continue
                deciding.add(held.view)
                # A threshold of one's own is cut at 0 and 2; rows are kept in half precision.
                excess = held.distance - held.threshold
                compared = held.is_copy and 0 < held.threshold < 2
                same = (
                    bool(copy.item()) == held.is_copy,
                    radius.item() == pytest.approx(held.radius, rel=0.02, abs=0.02),
                    not compared or score - threshold == pytest.approx(excess, abs=1e-4),
                )
                found += [] if all(same) else [(threshold, row, place, same)]
    return found, deciding


@pytest.mark.parametrize("views", [VIEWS, VIEW_SETS["small"], VIEW_SETS["standard"]])
def test_verdicts_distances_and_radii_are_those_of_an_index(tmp_path, detector, pictures, views):
    pytest.importorskip("lancedb", reason="needs the extra 'search'")
    store = open_store(tmp_path / "store", detector.metric, views=views)
    images = as_tensor(pictures)
    store.add(list(images), [str(place) for place in range(4)])
    queries = [0.9 * one[:, 6:50, 7:57] for one in images] + [captioned(one) for one in images]
    gallery = gallery_in(views, detector, pictures)
    found, deciding = differences(store, detector, gallery, queries)
    assert not found
    if "upper" not in views:
        return
    assert {"upper"} < deciding
    # The comparison would tell: bands that meet the whole query are not what an index asks.
    whole = replace(gallery, asked={"whole": tuple(range(len(views)))})
    wrong, _ = differences(store, detector, whole, queries)
    assert {row for _, row, _, _ in wrong} >= {4, 5, 6, 7}


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
