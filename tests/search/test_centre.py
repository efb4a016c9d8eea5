"""Stores of a metric with a centre: plain pictures are never certain, and earlier stores answer."""

import pytest
import torch

from percert.metrics.catalog import create_metric
from percert.search import open_store
from percert.search.info import metric_name

from .conftest import smooth_image

pytest.importorskip("lancedb")


def cards():
    return [torch.full((3, 50, 70), level) for level in (0.0, 0.4, 1.0)]


def test_cards_of_one_colour_are_never_certain_copies(tmp_path):
    metric = create_metric("lipsim-tiny", device="cpu")
    store = open_store(tmp_path / "store", metric)
    store.add([*cards(), smooth_image(1, (50, 70))], ["black", "grey", "white", "picture"])
    for answer in store.copies(torch.stack(cards()) * 0.9 + 0.03, 0.68, eps=0.0):
        assert not answer.certain
    for link in store.duplicates(0.68).links:
        assert link.radius == 0


def test_a_store_of_the_weights_before_the_centre_is_opened_with_them(tmp_path):
    path = str(tmp_path / "store")
    store = open_store(path, create_metric("lipsim-tiny-uncentred", device="cpu"))
    image = smooth_image(1, (50, 70))
    store.add([image, smooth_image(2, (50, 70))], ["one", "two"])
    name = metric_name(path)
    assert name == "lipsim-tiny-uncentred"
    again = open_store(path, create_metric(name, device="cpu"))
    (answer,) = again.search(image[None], k=1)
    assert answer.results[0].id == "one"
    with pytest.raises(ValueError, match="with weights 70bbe92471bd3654"):
        open_store(path, create_metric("lipsim-tiny-1", device="cpu"))


def test_a_new_store_is_of_the_centred_weights(tmp_path):
    path = str(tmp_path / "store")
    open_store(path, create_metric("lipsim-tiny", device="cpu"))
    assert metric_name(path) == "lipsim-tiny"
