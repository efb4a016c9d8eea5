"""Retrieval under attack: neighbours by a slow twin, radii by the certificates, lies caught."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from percert import certify
from percert.attacks import create_attack
from percert.evaluation.copies.detector import MetricDetector
from percert.evaluation.retrieval import (
    RetrievalRow,
    describe_items,
    folders_as_labels,
    retrieve,
    score,
)
from percert.evaluation.retrieval_report import example_queries
from percert.lipschitz.bound import LipschitzBound
from percert.reports.records import columns_of
from percert.runs import BrokenCertificate, ImageItem, read_sample
from percert.tensors import l2_norm

_spec = importlib.util.spec_from_file_location(
    "copies_world", Path(__file__).with_name("copies_world.py")
)
world = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(world)

PGD = create_attack("pgd", norm="l2", eps=1.5, steps=8)


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for place, image in enumerate(world.pictures(6)):
        image.save(folder / f"{place}.png")
    return [ImageItem(f"{i}.png", folder / f"{i}.png", label=i // 3) for i in range(6)]


@pytest.fixture(scope="module")
def found(items):
    return rows_and_images([world.thumbnail()], items, [0, 1, 4, 5], PGD)


def rows_and_images(detectors, items, queries, attack, **more):
    steps = list(retrieve(detectors, describe_items(detectors, items), queries, attack, **more))
    rows = [RetrievalRow(**row) for step in steps for row in step.rows]
    return rows, [image for step in steps for image in step.images]


def test_the_nearest_are_those_of_a_slow_twin(items, found):
    metric = world.thumbnail().metric
    images = [read_sample(item).image[None] for item in items]
    rows, moved = found
    assert [row.image for row in rows] == ["0.png", "1.png", "4.png", "5.png"]
    for row, attacked, place in zip(rows, moved, [0, 1, 4, 5], strict=True):
        others = [other for other in range(6) if other != place]

        def nearest(image, others=others):
            distances = [(metric(image, images[other]).item(), other) for other in others]
            return min(distances)

        distance, first = nearest(images[place])
        assert (row.first, row.first_label) == (f"{first}.png", first // 3)
        assert row.distance == pytest.approx(distance, abs=1e-6)
        after, last = nearest(attacked[None])
        assert (row.after, row.after_label) == (f"{last}.png", last // 3)
        assert row.after_distance == pytest.approx(after, abs=1e-6)
        assert row.unchanged == (first == last)
        gallery = torch.cat([metric.embed(images[other]) for other in others])
        radius = certify.nearest(metric, images[place], gallery).radius.item()
        assert row.radius == pytest.approx(radius, rel=1e-4)
        assert row.l2 == pytest.approx(l2_norm(attacked[None] - images[place]).item(), abs=1e-5)
        assert 0 < row.l2 <= 1.5 * (1 + 1e-5)
    assert columns_of(RetrievalRow)["radius"] is float  # with or without certificates


def test_scores_are_shares_of_the_rows(found):
    rows, _ = found
    (result,) = score(rows, 1.5)
    assert result.queries == 4
    assert result.unchanged == sum(row.unchanged for row in rows) / 4
    assert result.certified == sum(row.radius > 1.5 for row in rows) / 4
    assert result.certified <= result.unchanged
    assert result.same_class == sum(row.first_label == row.label for row in rows) / 4
    unlabelled = [replace(row, label=None) for row in rows]
    assert score(unlabelled)[0].same_class is None
    assert score(unlabelled)[0].certified is None


def test_what_is_done_is_left_out(items, found):
    done = {("1.png", "thumbnail-8"), ("4.png", "thumbnail-8")}
    rows, _ = rows_and_images([world.thumbnail()], items, [0, 1, 4, 5], PGD, done=done)
    # Seeds belong to images: what is left comes out as it did with the others.
    assert rows == [found[0][0], found[0][3]]


def test_a_bound_that_is_too_small_is_caught(items):
    class Lying(MetricDetector):
        def describe(self, batch):
            made = super().describe(batch)
            features = made.features
            bound = LipschitzBound(features.bound.value / 50, "a lie")
            return replace(made, features=replace(features, h=50 * features.h, bound=bound))

    far = create_attack("pgd", norm="l2", eps=12.0, steps=20)
    with pytest.raises(BrokenCertificate, match="broke a certificate"):
        rows_and_images([Lying(world.thumbnail().metric)], items, range(6), far)


def test_scores_refuse_what_breaks_the_order():
    row = RetrievalRow(
        "a", "m", None, "b", None, 0.1, "c", None, 0.2, "c", False, False, 2.0, 0.5, 0.5
    )
    with pytest.raises(BrokenCertificate, match="a: an attack broke a certificate"):
        score([row], 1.0)
    assert score([replace(row, radius=0.4)], 1.0)[0].certified == 0
    more = [row, replace(row, image="z", unchanged_8bit=True), replace(row, detector="n")]
    assert example_queries(more, 1) == ["a"]
    assert example_queries(more, 9) == ["a", "z"]


def test_folders_are_classes_where_all_images_lie_in_one(tmp_path):
    items = [ImageItem(f"{n}/x.png", tmp_path / n) for n in ("dog", "cat", "dog")]
    assert [item.label for item in folders_as_labels(items)] == [1, 0, 1]
    for some in (items[:1], [*items, ImageItem("x.png", tmp_path)], [replace(items[0], label=7)]):
        assert folders_as_labels(some) == some


def test_unreadable_images_are_told_apart(items, tmp_path):
    (tmp_path / "bad.png").write_text("no image")
    described = describe_items([], [*items[:3], ImageItem("bad.png", tmp_path / "bad.png")])
    assert described.items == items[:3]
    assert [name for name, _ in described.bad] == ["bad.png"]
    with pytest.raises(ValueError, match="at least 3 images"):
        describe_items([], items[:2])
