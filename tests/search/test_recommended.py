"""How many wrong answers a threshold gives, by a store's views and by how much it holds."""

import pytest
import torch

import percert
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.lipsim import Thumbnail
from percert.search import open_store
from percert.search.ingest.views import VIEW_SETS
from percert.search.query.recommended import (
    Quantiles,
    StrangerTable,
    WrongRate,
    has_table,
    read_table,
    recommended_threshold,
    shipped_tables,
    write_table,
    wrong_rate,
)

from .conftest import smooth_image

pytest.importorskip("lancedb")

PAIRS = Quantiles(10**8, ((1e-2, 0.5), (1e-3, 0.3), (1e-5, 0.12)), 6.0)
MANY = Quantiles(10**4, ((1e-1, 0.4), (1e-2, 0.25), (1e-3, 0.15)), 6.0, images=1000)


@pytest.fixture(scope="module")
def metric():
    return percert.create_metric("lipsim-tiny", device="cpu")


@pytest.mark.parametrize("views", ["whole", "small", "standard", "thorough", "exhaustive"])
def test_an_index_is_asked_at_one_wrong_answer_in_a_thousand_queries(tmp_path, metric, views):
    store = open_store(tmp_path / "store", metric, views=views)
    store.add([smooth_image(seed, (40, 50)) for seed in range(5)], [str(n) for n in range(5)])
    rule = store.rule()
    assert rule.wrong == 1e-3
    assert (rule.weight, rule.source) == (0.5, "shipped")
    assert store.rule(wrong=1e-6).threshold < rule.threshold < store.rule(wrong=1e-2).threshold
    assert store.rule(rule.threshold).wrong == pytest.approx(1e-3, rel=1e-6)
    assert store.rule(wrong=1e-9).counted is False


def test_the_more_a_store_holds_the_nearer_a_copy_must_be(metric):
    header = open_header(metric)
    found = [recommended_threshold(header, images).threshold for images in (1, 30, 1000, 10**6)]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1] + 0.1


def open_header(metric, views="standard"):
    from percert.search.background import background_of
    from percert.search.tables.schema import StoreHeader, metric_id

    own = metric_id(metric)
    background = background_of(own)
    return StoreHeader(own, VIEW_SETS[views], None if background is None else background.id)


def test_fewer_views_than_were_counted_are_no_nearer(metric):
    from dataclasses import replace

    standard = open_header(metric)
    fewer = replace(standard, views=standard.views[:4])
    one, other = (recommended_threshold(header, 100) for header in (standard, fewer))
    assert one.threshold == other.threshold
    assert (one.measured, other.measured) == (True, False)


def test_views_that_were_not_counted_share_the_rate_of_the_whole(metric):
    from dataclasses import replace

    whole = open_header(metric, "whole")
    views = replace(whole, views=("whole", "centre-80", "mirror-whole"))
    found = recommended_threshold(views, 10, 3e-4)
    assert not found.measured
    assert found.threshold == recommended_threshold(whole, 30, 3e-4).threshold


@pytest.mark.parametrize(
    "name", ["lipsim-tiny", "lipsim-tiny-1", "lipsim-tiny-uncentred", "thumbnail", "thumbnail-16"]
)
def test_every_metric_with_a_copy_threshold_has_a_table(tmp_path, name):
    store = open_store(tmp_path / "store", percert.create_metric(name, device="cpu"))
    assert has_table(store.tables.header)
    near, far = (store.rule(wrong=rate).threshold for rate in (1e-9, 1e-3))
    assert 0 < near < far < 0.9


def test_a_table_is_that_of_its_background_alone(metric):
    from dataclasses import replace

    header = open_header(metric)
    other = replace(header, background=replace(header.background, hash="another"))
    assert has_table(header)
    assert not has_table(other)
    assert wrong_rate(other, 10, 0.3) is None


def test_a_rate_that_is_none_is_refused(metric):
    for rate in (0.0, -1.0, 1.0):
        with pytest.raises(ValueError, match="wrong: expected a rate between 0 and 1"):
            recommended_threshold(open_header(metric), 10, rate)
    assert wrong_rate(open_header(metric), 10, 2.0) is None


def test_a_metric_without_a_table_is_asked_by_what_is_stored(tmp_path):
    network = Thumbnail(8).network
    metric = EmbeddingMetric(network, Thumbnail(8).resize, name="mine")
    store = open_store(tmp_path / "store", metric)
    with pytest.raises(ValueError, match="mine has no table of strangers: give a threshold"):
        recommended_threshold(store.tables.header, 1)
    store.add(torch.rand(40, 3, 16, 16), [str(n) for n in range(40)])
    rule = store.rule(wrong=0.5)
    assert 0 < rule.threshold < 1
    assert rule.counted is False  # 20 independent pairs are too few


def test_other_weights_of_the_same_name_have_no_table(tmp_path):
    metric = percert.create_metric("lipsim-tiny", checkpoint="random", device="cpu")
    store = open_store(tmp_path / "store", metric)
    assert store.tables.header.background is None
    with pytest.raises(ValueError, match="no table of strangers for weights of your own"):
        recommended_threshold(store.tables.header, 1)


def test_thresholds_and_rates_are_inverses_and_rise_together():
    rates = [10.0**-power for power in range(2, 13)]
    thresholds = [PAIRS.threshold(rate) for rate in rates]
    assert thresholds == sorted(thresholds, reverse=True)
    for rate, threshold in zip(rates, thresholds, strict=True):
        assert PAIRS.rate(threshold) == pytest.approx(rate)


@pytest.mark.parametrize("images", [1, 7, 1000, 50_000])
def test_the_rate_of_a_query_is_joined_between_the_sizes_that_were_counted(images):
    found = WrongRate((PAIRS, MANY), images)
    for wrong in (3e-3, 1e-3, 1e-5):
        assert found.rate(found.threshold(wrong)) == pytest.approx(wrong, rel=1e-6)
    if images in (1, 1000):
        table = PAIRS if images == 1 else MANY
        assert found.rate(0.2) == pytest.approx(table.rate(0.2))
    if images == 50_000:
        assert found.rate(0.2) == pytest.approx(50 * MANY.rate(0.2))
    assert found.counted(0.2) is (images <= 1000)
    assert not found.counted(0.01)


def test_pairs_alone_are_added_up():
    assert WrongRate((PAIRS,), 100).rate(0.12) == pytest.approx(1e-3)
    assert WrongRate((PAIRS,), 10**9).rate(0.12) == 1.0


def test_a_table_is_read_as_it_was_written(tmp_path):
    table = StrangerTable("mine", "hash", {"whole": (PAIRS, MANY)}, "background")
    write_table(table, tmp_path / "table.json")
    assert read_table(tmp_path / "table.json") == table
    assert all(one.views["whole"] for one in shipped_tables().values())
