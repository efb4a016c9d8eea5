"""Published weights: where they are looked for, fetched whole or not at all, clear errors."""

import hashlib

import pytest
import torch

from percert.metrics.deep.weight_files import WeightFile, fetch, find_weights, search_path

BYTES = b"weights" * 1000
DIGITS = hashlib.sha256(BYTES).hexdigest()


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An empty cache, hub and folder, and a server with the file, all below one folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PERCERT_WEIGHTS", str(tmp_path / "mine"))
    monkeypatch.delenv("PERCERT_OFFLINE", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "server.bin").write_bytes(BYTES)
    return tmp_path


def published(places, digits=DIGITS[:8]):
    return WeightFile(("a.pth", "old.pth"), "a's weights", (places / "server.bin").as_uri(), digits)


def test_they_are_fetched_once_and_kept(places):
    path = find_weights(published(places), "metric")
    assert path == places / "cache" / "percert" / "a.pth"
    assert path.read_bytes() == BYTES
    (places / "server.bin").unlink()
    assert find_weights(published(places), "metric") == path
    assert [entry.name for entry in path.parent.iterdir()] == ["a.pth"]


def test_another_hash_is_an_error_and_leaves_nothing(places):
    with pytest.raises(ValueError, match=rf"sha256 begins with 12345678, found {DIGITS}"):
        find_weights(published(places, "12345678"), "metric")
    assert list((places / "cache" / "percert").iterdir()) == []


def test_what_cannot_be_had_says_what_to_fetch_and_where_to_put_it(places, monkeypatch):
    (places / "server.bin").unlink()
    with pytest.raises(ValueError, match=r"metric: needs a\.pth \(a's weights\)") as caught:
        find_weights(published(places), "metric")
    assert "Fetching it failed" in str(caught.value)
    assert all(str(place) in str(caught.value) for place in search_path())
    monkeypatch.setenv("PERCERT_OFFLINE", "1")
    with pytest.raises(ValueError, match=r"needs a\.pth") as caught:
        find_weights(published(places), "metric")
    assert "failed" not in str(caught.value)


def test_a_file_whose_hash_is_not_known_is_not_fetched(places):
    with pytest.raises(ValueError, match=r"needs a\.pth"):
        find_weights(published(places, ""), "metric")


def test_folders_are_searched_in_order_under_every_name(places):
    file = published(places)
    (places / "hub" / "checkpoints").mkdir(parents=True)
    (places / "hub" / "checkpoints" / "old.pth").write_bytes(b"hub")
    assert find_weights(file, "metric").read_bytes() == b"hub"
    (places / "mine").mkdir()
    (places / "mine" / "old.pth").write_bytes(b"mine")
    assert find_weights(file, "metric").read_bytes() == b"mine"


def test_a_given_folder_is_the_only_place(places):
    with pytest.raises(ValueError, match=r"needs a\.pth"):
        find_weights(published(places), "metric", places)
    with pytest.raises(ValueError, match="no such file or folder"):
        find_weights(published(places), "metric", places / "nowhere")
    given = places / "anything.bin"
    given.write_bytes(b"x")
    assert find_weights(published(places), "metric", given) == given


def test_an_unwritable_place_is_an_os_error(places):
    (places / "cache").write_bytes(b"a file in the way")
    with pytest.raises(OSError):  # noqa: PT011  # which one depends on the system
        fetch(published(places), places / "cache" / "percert")
    with pytest.raises(ValueError, match="Fetching it failed"):
        find_weights(published(places), "metric")
