"""File names and kinds that other programs leave behind: the rest is done, and they are told."""

import os

import numpy as np
import pytest
from PIL import Image

from percert.reports import read_records

pytest.importorskip("matplotlib", reason="needs the extra 'report'")
pytest.importorskip("pyarrow", reason="needs the extra 'report'")

ODD = os.fsdecode(b"caf\xe9.png")
LONG = "x" * 248 + ".png"  # 252 bytes
LONGEST = "y" * 251 + ".bmp"  # 255 bytes, as long as a name may be
SHOWN = {"a.png", "b.png", "caf\\xe9.png", LONG, LONGEST}
THUMBNAIL = ("--metric", "thumbnail-8", "--device", "cpu")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for place, name in enumerate(("a.png", "b.png", ODD, LONG, LONGEST)):
        coarse = np.random.default_rng(place).integers(20, 236, (7, 7, 3)).astype(np.uint8)
        image = Image.fromarray(coarse).resize((48, 40), Image.Resampling.BICUBIC)
        try:
            image.save(folder / name)
        except OSError:
            pytest.skip("this file system takes no such names")
    (folder / "bad.png").write_text("no image")
    (folder / os.fsdecode(b"b\xe4d.png")).write_text("no image")
    (folder / "moving.gif").write_bytes(b"GIF89a")
    return folder


def told(answer):
    """What the JSON says of files that are no images, and that all of it is text."""
    assert {one["path"].rpartition("/")[2] for one in answer["bad"]} >= {"bad.png", "b\\xe4d.png"}
    assert [one["kind"] for one in answer["left_out"]] == ["GIF"]
    str(answer).encode()


def test_attack_metric(photos, percert_json, tmp_path):
    out = tmp_path / "out"
    answer = percert_json(
        "attack", "metric", "--goal", "embedding", "--images", photos, *THUMBNAIL,
        "--attack", "pgd:norm=l2,eps=1,steps=2", "--out", out, exit_code=1,
    )  # fmt: skip
    rows = read_records(out / "records.parquet")
    assert {row["image"] for row in rows} == SHOWN
    assert all((out / row["file"]).is_file() for row in rows)
    assert len({row["file"] for row in rows}) == 5
    assert [one["kind"] for one in answer["left_out"]] == ["GIF"]
    assert {one["name"] for one in answer["bad"]} == {"bad.png", "b\\xe4d.png"}
    assert (out / "report.html").is_file()


def test_attack_classify(photos, percert, tmp_path):
    out = tmp_path / "out"
    said = percert(
        "attack", "classify", "--images", photos, "--model", "tests.models.tiny_factory:linear",
        "--attack", "ascent:steps=2", "--out", out, "--device", "cpu", exit_code=1,
    )  # fmt: skip
    assert "2 images could not be read" in said.stderr
    assert "left out, for they are no images that are read: 1 GIF" in said.stderr
    rows = read_records(out / "records.parquet")
    assert {row["image"] for row in rows} == SHOWN
    assert all((out / row["file"]).is_file() for row in rows if row["file"])


def test_eval_copies(photos, percert_json, tmp_path):
    told(
        percert_json(
            "eval", "copies", photos, *THUMBNAIL, "--edits", "mirror", "--queries", 2,
            "--out", tmp_path / "out", exit_code=1,
        )
    )  # fmt: skip
    rows = read_records(tmp_path / "out" / "records.parquet")
    assert rows


def test_eval_stability(photos, percert_json, tmp_path):
    told(
        percert_json(
            "eval", "stability", photos, "--metric", "thumbnail-8", "--device", "cpu",
            "--l2", "1", "--steps", 2, "--out", tmp_path / "out", exit_code=1,
        )
    )  # fmt: skip
    rows = read_records(tmp_path / "out" / "records.parquet")
    assert {row["image"] for row in rows} == SHOWN


def test_eval_retrieval(photos, percert_json, tmp_path):
    out = tmp_path / "out"
    told(
        percert_json(
            "eval", "retrieval", photos, *THUMBNAIL, "--attack", "pgd:norm=l2,eps=1,steps=2",
            "--pictures", 2, "--queries", 5, "--out", out, exit_code=1,
        )
    )  # fmt: skip
    assert {row["image"] for row in read_records(out / "records.parquet")} == SHOWN


def test_compare(photos, percert_json):
    answer = percert_json(
        "compare", photos / "a.png", photos, "--metric", "thumbnail-8", exit_code=1
    )
    told(answer)
    assert len(answer["results"]) == 5


def test_index(photos, percert_json, tmp_path):
    pytest.importorskip("lancedb", reason="needs the extra 'search'")
    store = tmp_path / "store"
    added = percert_json(
        "index", "add", photos, "--store", store, *THUMBNAIL, "--views", "whole", exit_code=1
    )
    told(added)
    assert added["added"] == 5
    told(percert_json("index", "search", photos, "--store", store, exit_code=1))


def test_max_memory_is_an_option_and_ends_with_the_command(photos, percert):
    said = percert(
        "compare", photos / "a.png", photos, "--metric", "thumbnail-8", "--max-memory", "1MiB",
        exit_code=1,
    )  # fmt: skip
    assert "more than max_memory = 1.0 MiB" in said.stderr
    assert "PERCERT_MAX_MEMORY" not in os.environ
    refused = percert("compare", "a", "b", "--max-memory", "lots", exit_code=2)
    assert "2GiB" in refused.stderr
