"""Folders, parquet files and tars give the same images, in an order that can be taken up again."""

import io
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.training.image_world import encoded_images, image_folder

from percert.training.engine.loader import Cursor, Loader, ShuffledOrder
from percert.training.image_sources import Entry, ImageSource, open_images


def _tar(path: Path, contents: list[bytes], first: int) -> None:
    with tarfile.open(path, "w") as tar:
        for i, content in enumerate(contents):
            for suffix, data in ((".cls", b"3"), (".png", content)):
                info = tarfile.TarInfo(f"sample{first + i:06d}{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


@pytest.fixture(params=["folder", "parquet", "tar", "range"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> ImageSource:
    """12 images in 3 shards."""
    contents = encoded_images(12)
    if request.param == "folder":
        image_folder(tmp_path / "images")
        (tmp_path / "images" / "0" / "notes.txt").write_text("no image")
        (tmp_path / "images" / ".hidden").mkdir()
        (tmp_path / "images" / ".hidden" / "x.png").write_bytes(contents[0])
        return open_images("images", tmp_path)
    if request.param == "parquet":
        arrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        for number, part in enumerate((contents[:8], contents[8:])):
            rows = [{"bytes": content, "path": None} for content in part]
            table = arrow.table({"image": rows, "label": list(range(len(part)))})
            parquet.write_table(table, tmp_path / f"{number}.parquet", row_group_size=4)
        return open_images(".", tmp_path)
    for number in range(3):
        _tar(
            tmp_path / f"train-{number:04d}.tar", contents[4 * number : 4 * number + 4], 4 * number
        )
    return open_images("train-{0000..0002}.tar" if request.param == "range" else ".", tmp_path)


def test_every_image_is_read_byte_for_byte(source: ImageSource) -> None:
    entries = [entry for shard in source.shards() for entry in source.entries(shard)]
    assert len(source.shards()) == 3
    assert Counter(map(source.read, entries)) == Counter(encoded_images(12))


def test_an_epoch_has_every_entry_once_and_the_next_another_order(source: ImageSource) -> None:
    order = ShuffledOrder(source, seed=1, mix=2)
    first, cursor = order.take(Cursor(), 12)
    second, cursor = order.take(cursor, 12)
    assert cursor == Cursor(2, 0, 0, 24)
    assert sorted(first) == sorted(second)
    assert len(set(first)) == 12
    assert first != second
    again, _ = ShuffledOrder(source, seed=1, mix=2).take(Cursor(), 12)
    assert again == first
    other, _ = ShuffledOrder(source, seed=2, mix=2).take(Cursor(), 12)
    assert other != first


def test_the_order_is_taken_up_at_any_point_and_in_any_pieces(source: ImageSource) -> None:
    whole, _ = ShuffledOrder(source, seed=0, mix=2).take(Cursor(), 40)
    generator = np.random.default_rng(0)
    for _ in range(10):
        cursor, parts = Cursor(), []
        while len(parts) < 40:
            fresh = ShuffledOrder(source, seed=0, mix=2)  # a new process
            some, cursor = fresh.take(cursor, min(int(generator.integers(1, 9)), 40 - len(parts)))
            parts += some
        assert parts == whole


class _Numbers:
    """Two shards of five numbers each."""

    def shards(self) -> list[str]:
        return ["0", "5"]

    def entries(self, shard: str, /) -> list[int]:
        return [int(shard) + i for i in range(5)]


def _seen(rank: int, world: int, batch: int, steps: int) -> list[list[tuple[int, float]]]:
    def prepare(entry: int, generator: np.random.Generator) -> tuple[int, float]:
        return entry, generator.random()

    loader = Loader(ShuffledOrder(_Numbers(), seed=0), prepare, batch, 5, rank, world)
    batches = loader.batches(Cursor())
    found = [next(batches)[0] for _ in range(steps)]
    batches.close()
    return found


def test_two_processes_see_together_what_one_with_the_doubled_batch_sees() -> None:
    one = _seen(0, 1, 4, 6)
    first, second = _seen(0, 2, 2, 6), _seen(1, 2, 2, 6)
    assert [a + b for a, b in zip(first, second, strict=True)] == one
    draws = [draw for batch in one for _, draw in batch]
    assert len(set(draws)) == len(draws)  # also where an entry comes again in a later epoch


def test_a_loader_goes_on_from_the_cursor_of_any_batch() -> None:
    def prepare(entry: int, generator: np.random.Generator) -> tuple[int, float]:
        return entry, generator.random()

    loader = Loader(ShuffledOrder(_Numbers(), seed=0), prepare, 3, 5)
    batches = loader.batches(Cursor())
    whole = [next(batches) for _ in range(8)]
    batches.close()
    for number in range(7):
        later = loader.batches(whole[number][1])
        assert next(later) == whole[number + 1]
        later.close()


def test_what_goes_wrong_in_a_thread_is_raised_with_the_files_name(tmp_path: Path) -> None:
    image_folder(tmp_path)
    source = open_images(".", tmp_path)
    entry = Entry(str(tmp_path / "missing.png"))
    with pytest.raises(ValueError, match=r"missing\.png: cannot be read"):
        source.read(entry)

    class One:
        def shards(self) -> list[str]:
            return ["only"]

        def entries(self, shard: str, /) -> list[Entry]:
            return [entry]

    loader = Loader(ShuffledOrder(One(), seed=0), lambda e, _: source.read(e), 2, 0)
    batches = loader.batches(Cursor())
    with pytest.raises(ValueError, match="cannot be read"):
        next(batches)
    batches.close()


def test_only_a_few_tars_are_looked_into_at_a_time(tmp_path: Path) -> None:
    contents = encoded_images(2)
    for number in range(6):
        _tar(tmp_path / f"{number}.tar", contents, 0)
    source = open_images(".", tmp_path)
    listed: list[str] = []
    inside = source.entries

    class Watched:
        shards = staticmethod(source.shards)

        def entries(self, shard: str, /) -> list[Entry]:
            listed.append(shard)
            return list(inside(shard))

    ShuffledOrder(Watched(), seed=0, mix=2).take(Cursor(), 3)
    assert len(listed) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tar", b"not a tar", "not an uncompressed tar"),
        ("a.parquet", b"not parquet", "not a parquet file"),
        ("a.csv", b"", r"expected a folder of images, \.parquet or \.tar"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        ShuffledOrder(open_images(name, tmp_path), seed=0).take(Cursor(), 1)


def test_a_cut_off_or_empty_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder or files"):
        open_images("nowhere", tmp_path)
    with pytest.raises(ValueError, match="no images found"):
        open_images(".", tmp_path)
    _tar(tmp_path / "a.tar", encoded_images(1), 0)
    source = open_images("a.tar", tmp_path)
    (entry,) = source.entries(source.shards()[0])
    with (tmp_path / "a.tar").open("r+b") as stream:
        stream.truncate(entry.first + 5)
    with pytest.raises(ValueError, match="ends too early"):
        source.read(entry)
