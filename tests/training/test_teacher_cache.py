"""The cache of teacher embeddings: what is there stays, what was half written never was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.image_world import exit_status, in_a_child, kill_oneself

from percert.training.distillation import targets as cache_module
from percert.training.distillation.targets import EmbeddingCache, image_key


def _keys(count: int, first: int = 0) -> list[bytes]:
    return [image_key(str(first + i).encode()) for i in range(count)]


def test_what_is_put_is_found_again_by_another_process(tmp_path: Path) -> None:
    vectors = torch.randn(5, 7)
    with EmbeddingCache(tmp_path, "one") as cache:
        assert torch.equal(cache.put(_keys(5), vectors), vectors)
        assert torch.equal(cache.get(_keys(5)[3]), vectors[3])
    with EmbeddingCache(tmp_path, "one") as again:
        assert len(again) == 5
        for key, vector in zip(_keys(5), vectors, strict=True):
            assert torch.equal(again.get(key), vector)
        assert again.get(image_key(b"another")) is None
    with EmbeddingCache(tmp_path, "two") as other:
        assert other.get(_keys(1)[0]) is None


def test_keys_depend_on_content_and_variant() -> None:
    keys = {image_key(b"a"), image_key(b"b"), image_key(b"a", "flip"), image_key(b"a\0flip")}
    assert len(keys) == 4
    assert all(len(key) == 16 for key in keys)


def test_float16_is_given_back_as_it_is_stored(tmp_path: Path) -> None:
    vectors = torch.randn(2, 3)
    with EmbeddingCache(tmp_path, "half", dtype="float16") as cache:
        put = cache.put(_keys(2), vectors)
        assert torch.equal(put, vectors.half().float())
        assert torch.equal(cache.get(_keys(2)[1]), put[1])


def test_two_processes_see_what_each_other_added(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path, "shared") as first, EmbeddingCache(tmp_path, "shared") as second:
        first.put(_keys(2), torch.ones(2, 3))
        second.put(_keys(2, 2), torch.zeros(2, 3))
        assert first.get(_keys(1, 3)[0]) is None
        first.refresh()
        assert torch.equal(first.get(_keys(1, 3)[0]), torch.zeros(3))
        first.put(_keys(1, 9), torch.full((1, 3), 9.0))
        second.refresh()
        assert torch.equal(second.get(_keys(1, 9)[0]), torch.full((3,), 9.0))


@pytest.mark.parametrize("lost", range(1, 80, 7))
def test_a_torn_tail_takes_its_whole_batch_with_it(tmp_path: Path, lost: int) -> None:
    with EmbeddingCache(tmp_path, "torn") as cache:
        cache.put(_keys(3), torch.ones(3, 4))
        cache.put(_keys(4, 10), torch.zeros(4, 4))
    (index,) = tmp_path.glob("torn*/*.keys")
    with index.open("r+b") as stream:
        stream.truncate(index.stat().st_size - lost)
    with EmbeddingCache(tmp_path, "torn") as again:
        assert len(again) == 3
        assert all(again.get(key) is None for key in _keys(4, 10))
        again.put(_keys(4, 10), torch.zeros(4, 4))
    with EmbeddingCache(tmp_path, "torn") as last:
        assert len(last) == 7


class _Killed:
    """A stream whose next write is the end."""

    def write(self, _: bytes) -> None:
        kill_oneself()


def _die_between_the_files(folder: Path) -> None:
    cache = EmbeddingCache(folder, "killed")
    cache.put(_keys(2), torch.ones(2, 3))
    assert cache._out is not None
    vectors, _, segment = cache._out
    cache._out = (vectors, _Killed(), segment)  # type: ignore[assignment]
    cache.put(_keys(2, 5), torch.ones(2, 3))


def test_a_kill_between_the_two_files_leaves_a_cache_that_works(tmp_path: Path) -> None:
    assert exit_status(in_a_child(_die_between_the_files, tmp_path)) == -9
    with EmbeddingCache(tmp_path, "killed") as cache:
        assert len(cache) == 2
        cache.put(_keys(2, 5), torch.zeros(2, 3))
        assert torch.equal(cache.get(_keys(1, 5)[0]), torch.zeros(3))


def test_a_damaged_embedding_is_an_error_and_not_a_target(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path, "bad") as cache:
        cache.put(_keys(2), torch.ones(2, 3))
    (vectors,) = tmp_path.glob("bad*/*.vectors")
    held = np.fromfile(vectors, np.float32)
    held[4] = 7
    held.tofile(vectors)
    with EmbeddingCache(tmp_path, "bad") as again:
        assert torch.equal(again.get(_keys(2)[0]), torch.ones(3))
        with pytest.raises(ValueError, match="row 1 is damaged; delete"):
            again.get(_keys(2)[1])


def test_many_records_are_found_after_they_are_sorted_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "FOLD", 10)
    with EmbeddingCache(tmp_path, "many") as cache:
        for first in range(0, 60, 6):
            cache.put(_keys(6, first), torch.arange(first, first + 6.0)[:, None])
    with EmbeddingCache(tmp_path, "many") as again:
        assert not again._recent  # all sorted in at once
        for number, key in enumerate(_keys(60)):
            assert again.get(key).item() == number  # type: ignore[union-attr]


def test_another_width_is_refused(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path, "width") as cache:
        cache.put(_keys(1), torch.ones(1, 3))
        with pytest.raises(ValueError, match="holds embeddings of 3 values, found 4"):
            cache.put(_keys(1, 1), torch.ones(1, 4))
