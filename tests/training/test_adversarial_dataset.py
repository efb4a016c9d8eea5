"""D on disk: weights and draws in closed form, shards that are whole, reading while it grows."""

import hashlib

import numpy as np
import pytest
import torch
from scipy import stats

pytest.importorskip("pyarrow")

from tests.training.shards_world import bright_and_dark

from percert.data.labelled_images import read_labelled_images
from percert.training.dro.dataset import DatasetInfo, open_dataset, read_in_order, write_info
from percert.training.dro.shards import clean_facts, decode_png, encode_png, write_shard
from percert.training.dro.weighting import WeightedSampler, example_weights, step_scale, stream


@pytest.fixture
def written(tmp_path):
    """600 images in three shards, and the pixels."""
    images = bright_and_dark(600)
    pixels = images.read(np.arange(600))
    for number in range(3):
        rows = np.arange(200 * number, 200 * (number + 1))
        write_shard(
            tmp_path / "shards", number, pixels[rows], clean_facts(images.labels[rows], rows[0])
        )
    write_info(tmp_path, DatasetInfo(600, images.size, 2, "normalised"))
    return tmp_path, pixels


def test_literal_weights_are_the_papers():
    rounds = np.array([0, 0, 1, 1, 2, 3])
    positions = np.array([1, 7, 1, 7, 3, 7])
    literal = example_weights(rounds, positions, 7, "literal")
    assert literal.tolist() == [1, 1, 1, 7, 10, 21]  # 1, or (k - 1) N + i
    # Normalised: the same in units of N, and the clean images stay at 1.
    normalised = example_weights(rounds, positions, 7, "normalised")
    assert np.allclose(normalised, [1, 1, 1 / 7, 1, 10 / 7, 3])


@pytest.mark.parametrize("last", [1, 2, 5])
def test_the_share_of_clean_draws_is_as_stated(last):
    count = 2000
    rounds = np.repeat(np.arange(last + 1), count)
    positions = np.tile(np.arange(1, count + 1), last + 1)
    normalised = example_weights(rounds, positions, count, "normalised")
    share = normalised[:count].sum() / normalised.sum()
    assert share == pytest.approx(2 / (2 + last**2), rel=1e-3)
    literal = example_weights(rounds, positions, count, "literal")
    assert literal[:count].sum() / literal.sum() < 2 / (count * last**2)


def test_the_mean_normalised_step_is_one():
    weights = np.random.default_rng(0).uniform(0, 3, 50)
    chance = weights / weights.sum()
    assert (chance * weights * step_scale(weights, "normalised")).sum() == pytest.approx(1)
    assert step_scale(weights, "literal") == 1


def test_draws_follow_the_weights():
    weights = np.array([0.0, 1.0, 2.5, 0.0, 4.0, 0.5, 12.0, 0.0])
    drawn = WeightedSampler(weights).draw(40_000, stream(0))
    found = np.bincount(drawn, minlength=8)
    assert found[weights == 0].sum() == 0
    kept = weights > 0
    expected = 40_000 * weights[kept] / weights.sum()
    assert stats.chisquare(found[kept], expected).pvalue > 0.01


def test_draws_are_the_same_in_any_portions():
    draws = WeightedSampler(np.arange(1.0, 100.0))
    once = draws.draw(50, stream(3, 1))
    source = stream(3, 1)
    assert np.array_equal(once, np.concatenate([draws.draw(n, source) for n in (1, 20, 29)]))
    assert not np.array_equal(once, draws.draw(50, stream(3, 2)))


@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, -1.0], [1.0, np.nan], [[1.0]]])
def test_weights_that_make_no_chances_are_refused(weights):
    with pytest.raises(ValueError, match="weights: expected one"):
        WeightedSampler(np.array(weights))


def test_images_come_back_in_any_order(written):
    folder, pixels = written
    rows = np.array([599, 3, 3, 200, 0, 399, 255, 256])
    for cache_bytes in (0, 1 << 30):
        dataset = open_dataset(folder, cache_bytes=cache_bytes)
        assert np.array_equal(dataset.read(rows), pixels[rows])
        assert dataset.read(rows[:0]).shape == (0, 3, 12, 12)
        batches = list(read_in_order(dataset, np.arange(599, -1, -1), 64, ahead=150))
        assert np.array_equal(np.concatenate([b for b, _ in batches]), pixels[::-1])
        assert [len(b) for b, _ in batches] == [64] * 9 + [24]
        with pytest.raises(ValueError, match="rows: expected 0 to 599"):
            dataset.read(np.array([600]))


def test_shards_are_read_by_others(written):
    folder, pixels = written
    path = min((folder / "shards").iterdir())
    found = read_labelled_images(path)  # pyarrow and Pillow
    assert np.array_equal(found.labels, np.arange(200) % 2)
    decoded = (found.decode(np.arange(200)) * 255).round().to(torch.uint8).numpy()
    assert np.array_equal(decoded, pixels[:200])


def test_a_png_of_any_kind_is_read():
    import io

    from PIL import Image

    image = np.random.default_rng(0).integers(0, 256, (3, 5, 4), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "PNG", optimize=True)
    for content in (buffer.getvalue(), encode_png(image)):
        assert np.array_equal(decode_png(content, (5, 4)), image)
        with pytest.raises(ValueError, match="expected 4 x 5 pixels"):
            decode_png(content, (4, 5))
    with pytest.raises(ValueError, match="not a picture"):
        decode_png(b"no picture", (5, 4))


def test_a_shard_is_named_after_its_bytes(written):
    folder, _ = written
    for path in (folder / "shards").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest()[:16] == path.stem[7:]


@pytest.mark.parametrize("part", ["cut short", "a bit flipped", "gone", "there twice", "renamed"])
def test_torn_shards_are_found_when_opened(written, part):
    folder, _ = written
    path = sorted((folder / "shards").iterdir())[1]
    content = bytearray(path.read_bytes())
    if part == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif part == "a bit flipped":
        content[len(content) // 3] ^= 1
        path.write_bytes(content)
    elif part == "there twice":
        path.with_name("000001-0123456789abcdef.parquet").write_bytes(content)
    elif part == "renamed":
        path.rename(path.with_name("other.parquet"))
    else:
        path.unlink()
    reason = {
        "cut short": "damaged",
        "a bit flipped": "damaged",
        "gone": "shard 1 is missing",
        "there twice": "two shards of number 1",
        "renamed": "expected a name",
    }[part]
    with pytest.raises(ValueError, match=reason):
        open_dataset(folder)


def test_a_lost_last_shard_of_clean_images_is_found(written):
    folder, _ = written
    max((folder / "shards").iterdir()).unlink()
    with pytest.raises(ValueError, match="expected 600 clean images, found 400"):
        open_dataset(folder)


def test_what_a_killed_writer_left_is_not_read(written):
    folder, _ = written
    (folder / "shards" / ".0123456789abcdef.part").write_bytes(b"half a sh")
    assert len(open_dataset(folder)) == 600


def test_it_is_read_while_it_grows(written):
    folder, pixels = written
    dataset = open_dataset(folder)
    dataset.read(np.arange(10))  # what is cached must grow as well
    new = pixels[:40][:, :, ::-1]
    facts = clean_facts(np.zeros(40, np.int64), 600)
    write_shard(folder / "shards", 3, np.ascontiguousarray(new), facts)
    assert len(dataset) == 600
    assert dataset.refresh() == 40
    assert dataset.refresh() == 0
    assert np.array_equal(dataset.read(np.array([639, 0])), np.stack([new[39], pixels[0]]))
    sampler, _ = dataset.draws()
    assert (sampler.draw(2000, stream(0)) >= 600).any()


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"found no dataset\.json"):
        open_dataset(tmp_path)
    (tmp_path / "dataset.json").write_text('{"format": 2}')
    with pytest.raises(ValueError, match="does not describe a data set"):
        open_dataset(tmp_path)


def test_large_images_are_decoded_side_by_side_and_stay_in_their_places(tmp_path, monkeypatch):
    monkeypatch.setattr("percert.training.dro.dataset.usable_cores", lambda: 3)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 3, 128, 130), dtype=np.uint8)
    for number in range(2):
        rows = np.arange(20 * number, 20 * number + 20)
        write_shard(tmp_path / "shards", number, pixels[rows], clean_facts(rows % 2, rows[0]))
    write_info(tmp_path, DatasetInfo(40, (128, 130), 2, "normalised"))
    dataset = open_dataset(tmp_path, cache_bytes=0)
    rows = rng.integers(0, 40, 200)
    assert np.array_equal(dataset.read(rows), pixels[rows])
    damaged = dataset._encoded
    monkeypatch.setattr(
        dataset, "_encoded", lambda place, some: [b"?" for _ in damaged(place, some)]
    )
    with pytest.raises(ValueError, match=r"image 7: not a picture"):
        dataset.read(np.array([7, 9]))
