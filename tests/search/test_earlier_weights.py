"""A store that was made before ``lipsim-tiny`` had the weights that it has now."""

import dataclasses
import tarfile
from pathlib import Path

import pytest

from percert.metrics.catalog import create_metric
from percert.search import open_store
from percert.search.info import metric_name
from percert.search.tables.schema import metric_id, parse_metric_id

from .conftest import smooth_image

pytest.importorskip("lancedb")

#: Two images in one view; of its tables, those without the background that ships with the metric.
MADE_BEFORE = Path(__file__).with_name("before.store.tar.xz")
THRESHOLD, OWN, RADIUS = 0.6498136197395862, 0.38261442284056196, 12.960626434697524


@pytest.fixture
def path(tmp_path):
    with tarfile.open(MADE_BEFORE) as held:
        held.extractall(tmp_path)
    return tmp_path / "before.store"


def test_it_answers_with_the_weights_and_thresholds_that_it_was_made_with(path):
    name = metric_name(str(path))
    assert name == "lipsim-tiny-1"
    store = open_store(path, create_metric(name, device="cpu"))
    assert store.info()["metric"]["name"] == name
    rule = store.rule()
    assert rule.threshold == pytest.approx(THRESHOLD, abs=1e-12)
    assert (rule.weight, rule.source, rule.wrong) == (0.5, "shipped", 1e-3)
    (answer,) = store.copies(smooth_image(1, (50, 70))[None] * 0.9, eps=1.0)
    (match,) = answer.results
    assert (match.id, match.certain) == ("one", True)
    assert match.threshold == pytest.approx(OWN, abs=1e-9)
    assert match.radius == pytest.approx(RADIUS, rel=1e-4)


def test_more_is_added_to_it_against_the_same_background(path):
    store = open_store(path, create_metric("lipsim-tiny-1", device="cpu"))
    background = store.tables.header.background
    store.add([smooth_image(3, (50, 70))], ["three"])
    (answer,) = store.copies(smooth_image(3, (50, 70))[None], eps=1.0)
    assert [match.id for match in answer.results] == ["three"]
    assert store.rule().background == background.hash


def test_the_new_weights_do_not_open_it(path):
    with pytest.raises(ValueError, match=r"of lipsim-tiny-1 with weights fe06.*found lipsim-tiny "):
        open_store(path, create_metric("lipsim-tiny", device="cpu"))


def test_an_export_of_the_earlier_weights_opens_it(path):
    metric = create_metric("lipsim-tiny-1", device="cpu")
    metric.name = "lipsim-tiny"  # as an export made before says
    assert open_store(path, metric).count == 2


def test_only_the_weights_say_what_is_earlier():
    metric = metric_id(create_metric("lipsim-tiny", device="cpu"))
    assert parse_metric_id(metric.to_json()) == metric
    other = dataclasses.replace(metric, weights="another")
    assert parse_metric_id(other.to_json()).name == "lipsim-tiny"
