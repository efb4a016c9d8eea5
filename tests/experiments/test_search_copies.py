"""A tiny run of the benchmark of copies in a collection: its numbers are those of its tables."""

import json
from pathlib import Path

import pytest

from experiments.copies import collection


@pytest.fixture(scope="module")
def out(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("search-copies")
    words = ["--data", data, "--out", folder, "--work", folder / "work", "--distractors", 0]
    words += ["--metric", "thumbnail-8", "--rival", "thumbnail-16", "--views", "mirror-whole"]
    words += ["--edits", "jpeg-50", "mirror", "--eps", 1, 64, "--attacked", 3, "--steps", 3]
    collection.main([str(word) for word in words])
    return folder


def test_views_find_the_mirror_image(out: Path) -> None:
    result = json.loads((out / "search-copies.json").read_text())
    views, whole, rival = result["detectors"]
    assert [one["name"] for one in (views, whole, rival)] == [
        "thumbnail-8, 2 views",
        "thumbnail-8",
        "thumbnail-16",
    ]
    found = {one["name"]: {e["name"]: e["natural"] for e in one["edits"]} for one in (views, whole)}
    assert found["thumbnail-8, 2 views"] == {"jpeg-50": 1, "mirror": 1}
    assert found["thumbnail-8"]["mirror"] < 1
    for one in (views, whole, rival):
        assert one["certified"][1]["rate"] <= one["certified"][0]["rate"] <= one["natural"]
        for side in ("evasion", "collision"):
            for entry in one[side]["budgets"]:
                assert entry["certified"] <= entry["rate"] <= one[side]["natural"]


def test_the_tables_hold_the_numbers(out: Path) -> None:
    result = json.loads((out / "search-copies.json").read_text())
    text = (out / "search-copies.md").read_text()
    for one in result["detectors"]:
        shares = [one["natural"], *(entry["rate"] for entry in one["certified"])]
        assert f"| {one['name']} | {' | '.join(f'{share:.3f}' for share in shares)} |" in text
    assert "4 ImageNet-Compatible photographs under 2 edits (jpeg-50, mirror)" in text
    assert (out / "search-copies.png").read_bytes().startswith(b"\x89PNG")
    assert list((out / "work").rglob("*.pt"))
