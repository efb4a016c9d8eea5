"""A store in a parquet file: what other tools read of it is what the store answers."""

import shutil

import numpy as np
import pytest
import torch

from percert.images import Resize, load_image
from percert.lipschitz.fixed_layers import Flatten
from percert.lipschitz.network import LipschitzNetwork
from percert.lipschitz.sll import SLLDense
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.lipsim import Thumbnail
from percert.search import open_store
from percert.search.export import export_store
from percert.search.own_ids import keep_own_ids

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def store(photos, tmp_path, metric):
    """Eight images, of which one has a twin, and one image without a file."""
    shutil.copy(photos / "3.png", photos / "twin of 3.png")
    store = open_store(tmp_path / "store", metric, views="whole,centre-80")
    store.add_files([photos])
    store.add(torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(9)), ["without"])
    return store


def test_a_row_is_a_file_and_dot_products_are_distances(store, photos, tmp_path, metric):
    assert export_store(store, tmp_path / "all.parquet") == 10
    table = parquet.read_table(tmp_path / "all.parquet")
    assert table.schema.metadata[b"percert.metric"] == b"thumbnail-8"
    rows = table.to_pylist()
    assert [row["filepath"] for row in rows].count(None) == 1
    by_path = {row["filepath"]: row for row in rows}
    assert set(by_path) == {*map(str, photos.iterdir()), None}
    assert by_path[None]["id"] == "without"
    assert all(row["own_id"] is None for row in rows)
    twins = by_path[str(photos / "3.png")], by_path[str(photos / "twin of 3.png")]
    assert twins[0]["id"] == twins[1]["id"]
    assert (twins[0]["height"], twins[0]["width"]) == load_image(photos / "3.png").shape[1:]
    query = photos / "5.png"
    (answer,) = store.search(load_image(query)[None], k=9)
    own = np.array(by_path[str(query)]["embedding"])
    assert np.linalg.norm(own) == pytest.approx(1, abs=1e-6)
    whole = [match for match in answer.results if match.view == "whole"]
    assert len(whole) > 3
    for match in whole:
        other = np.array(by_path[match.path]["embedding"])
        assert 1 - own @ other == pytest.approx(match.distance, abs=2e-4)


def test_links_are_those_of_duplicates_from_both_ends(store, photos, tmp_path):
    found = store.duplicates(0.3)
    assert found.links
    assert export_store(store, tmp_path / "all.parquet", found) == 10
    rows = parquet.read_table(tmp_path / "all.parquet").to_pylist()
    told = {
        (row["filepath"], link["filepath"], link["distance"], link["threshold"], link["radius"])
        for row in rows
        for link in row["links"]
    }
    expected = set()
    for link in found.links:
        numbers = link.distance, link.threshold, link.radius
        expected.add((link.first_path, link.second_path, *numbers))
        expected.add((link.second_path, link.first_path, *numbers))
    assert told == expected
    ids = {row["filepath"]: row["id"] for row in rows}
    assert all(ids[one["filepath"]] == one["id"] for row in rows for one in row["links"])


def test_own_ids_stand_beside_their_files(store, photos, tmp_path):
    keep_own_ids(store.path, {str(photos / "3.png"): "three", str(photos / "0.png"): "zero"})
    keep_own_ids(store.path, {str(photos / "0.png"): "nought"})
    export_store(store, tmp_path / "all.parquet")
    rows = parquet.read_table(tmp_path / "all.parquet").to_pylist()
    named = {row["filepath"]: row["own_id"] for row in rows if row["own_id"] is not None}
    assert named == {str(photos / "3.png"): "three", str(photos / "0.png"): "nought"}


def test_the_metrics_constant_is_part_of_the_embedding(tmp_path, photos):
    torch.manual_seed(0)
    network = LipschitzNetwork((Flatten(), SLLDense(48, 16)), resolution=(4, 4), name="own").eval()
    metric = EmbeddingMetric(
        network.requires_grad_(False), Resize((4, 4), "box"), name="own", constant=0.5
    )
    store = open_store(tmp_path / "own", metric)
    store.add_files([photos / "0.png", photos / "1.png"])
    export_store(store, tmp_path / "own.parquet")
    rows = parquet.read_table(tmp_path / "own.parquet").to_pylist()
    first, second = (np.array(row["embedding"]) for row in rows)
    assert (len(first), store.metric_id.constant) == (49, 0.5)
    (answer,) = store.search(load_image(rows[0]["filepath"])[None], k=2)
    assert 1 - first @ second == pytest.approx(answer.results[1].distance, abs=2e-4)
    plain = 1 - first[:48] @ second[:48] / np.linalg.norm(first[:48]) / np.linalg.norm(second[:48])
    assert abs(plain - answer.results[1].distance) > 1e-3


def test_a_file_that_is_there_stays_until_the_new_one_is_whole(store, tmp_path, monkeypatch):
    (tmp_path / "all.parquet").write_text("as it was")
    monkeypatch.setattr("percert.search.export._directions", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_store(store, tmp_path / "all.parquet")
    assert (tmp_path / "all.parquet").read_text() == "as it was"
    assert [one.name for one in tmp_path.iterdir() if one.name.endswith(".part")] == []


def test_a_store_is_exported_without_its_metric(store, tmp_path):
    assert export_store(open_store(store.path, create=False), tmp_path / "all.parquet") == 10
    assert isinstance(store.metric, Thumbnail)
