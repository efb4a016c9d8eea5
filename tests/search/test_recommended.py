"""The recommended threshold is that of the views that a store has."""

import pytest

import percert
from percert.metrics.embedding import EmbeddingMetric
from percert.metrics.thumbnail import thumbnail
from percert.search import open_store
from percert.search.recommended import MEASURED, recommended_threshold

pytest.importorskip("lancedb")


@pytest.mark.parametrize(
    ("views", "threshold", "measured"),
    [
        ("whole", 0.49, True),
        ("standard", MEASURED["lipsim-tiny", "standard"], True),
        ("crops", MEASURED["lipsim-tiny", "crops"], True),
        ("centre-80", 0.49, False),
    ],
)
def test_views_have_thresholds_of_their_own(tmp_path, views, threshold, measured):
    metric = percert.create_metric("lipsim-tiny", device="cpu")
    found = recommended_threshold(open_store(tmp_path / "store", metric, views=views))
    assert (found.threshold, found.measured) == (threshold, measured)


def test_a_metric_without_a_recommendation_says_so(tmp_path):
    network = thumbnail(8).network
    metric = EmbeddingMetric(network, thumbnail(8).resize, name="mine")
    store = open_store(tmp_path / "store", metric)
    with pytest.raises(ValueError, match="mine recommends no threshold: give one"):
        recommended_threshold(store)


def test_other_weights_of_the_same_name_have_no_recommendation(tmp_path):
    metric = percert.create_metric("lipsim-tiny", checkpoint="random", device="cpu")
    store = open_store(tmp_path / "store", metric)
    with pytest.raises(ValueError, match="no threshold for weights of your own"):
        recommended_threshold(store)
