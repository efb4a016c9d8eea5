"""The recommended threshold is that of a store's views and of how much it holds."""

import pytest

import percert
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.lipsim import Thumbnail
from percert.search import open_store
from percert.search.query.recommended import (
    Quantiles,
    has_table,
    shipped_tables,
    stranger_rate,
)

from .conftest import smooth_image

pytest.importorskip("lancedb")


@pytest.fixture(scope="module")
def metric():
    return percert.create_metric("lipsim-tiny", device="cpu")


def test_an_index_recommends_one_wrong_answer_in_a_million_queries(tmp_path, metric):
    store = open_store(tmp_path / "store", metric)
    store.add([smooth_image(seed, (40, 50)) for seed in range(5)], [str(n) for n in range(5)])
    found = store.recommended_threshold()
    assert found.rate == pytest.approx(1e-6 / 5)
    assert found.measured
    assert not found.counted  # pairs were counted down to 5e-7
    assert 0.05 < found.threshold < store.recommended_threshold(1e-6).threshold < 0.15
    assert store.recommended_threshold(1e-6).counted
    assert stranger_rate(store.tables.header, found.threshold) == pytest.approx(found.rate)


def test_the_more_a_store_holds_the_nearer_a_copy_must_be(tmp_path, metric):
    store = open_store(tmp_path / "store", metric)
    images = [smooth_image(seed, (40, 50)) for seed in range(36)]
    store.add(images[:4], [str(n) for n in range(4)])
    before = store.recommended_threshold().threshold
    store.add(images, [str(n) for n in range(36)])
    after = store.recommended_threshold().threshold
    exponent = shipped_tables()[metric.name, store.metric_id.weights].views["whole"].exponent
    assert after == pytest.approx(before * 9 ** (-1 / exponent))


def test_views_without_a_table_share_the_rate_of_the_whole(tmp_path, metric):
    whole = open_store(tmp_path / "whole", metric)
    views = open_store(tmp_path / "views", metric, views="centre-80,mirror-whole")
    found = views.recommended_threshold(3e-4)
    assert not found.measured
    assert found.threshold == whole.recommended_threshold(1e-4).threshold
    assert stranger_rate(views.tables.header, found.threshold) == pytest.approx(3e-4)


@pytest.mark.parametrize(
    "name", ["lipsim-tiny", "lipsim-tiny-uncentred", "thumbnail", "thumbnail-16"]
)
def test_every_metric_with_a_copy_threshold_has_a_table(tmp_path, name):
    store = open_store(tmp_path / "store", percert.create_metric(name, device="cpu"))
    assert has_table(store.tables.header)
    near, far = (store.recommended_threshold(rate).threshold for rate in (1e-9, 1e-3))
    assert 0 < near < far < 0.6


def test_a_rate_outside_the_table_is_refused(tmp_path, metric):
    store = open_store(tmp_path / "store", metric)
    for rate in (0.0, -1.0, 0.3):
        with pytest.raises(ValueError, match=r"rate: expected 0 < rate <= 0\.01"):
            store.recommended_threshold(rate)
    assert stranger_rate(store.tables.header, 1.5) is None


def test_a_metric_without_a_table_says_so(tmp_path):
    network = Thumbnail(8).network
    metric = EmbeddingMetric(network, Thumbnail(8).resize, name="mine")
    store = open_store(tmp_path / "store", metric)
    assert stranger_rate(store.tables.header, 0.1) is None
    with pytest.raises(ValueError, match="mine recommends no threshold: give one"):
        store.recommended_threshold()


def test_other_weights_of_the_same_name_have_no_recommendation(tmp_path):
    metric = percert.create_metric("lipsim-tiny", checkpoint="random", device="cpu")
    store = open_store(tmp_path / "store", metric)
    with pytest.raises(ValueError, match="no threshold for weights of your own"):
        store.recommended_threshold()


def test_thresholds_and_rates_are_inverses_and_rise_together():
    table = Quantiles(10**7, ((1e-2, 0.5), (1e-3, 0.3), (1e-5, 0.12)), 6.0)
    rates = [10.0**-power for power in range(2, 13)]
    thresholds = [table.threshold(rate) for rate in rates]
    assert thresholds == sorted(thresholds, reverse=True)
    for rate, threshold in zip(rates, thresholds, strict=True):
        assert table.rate(threshold) == pytest.approx(rate)
