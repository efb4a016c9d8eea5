"""Copies at a rate of wrong answers: a tiny run, and the published page."""

import json
from pathlib import Path

import pytest

from experiments.conditions import Conditions
from experiments.copies import per_query

PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "results" / "copies-per-query.json"


@pytest.fixture(scope="module")
def out(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("lancedb", reason="needs the extra 'search'")
    folder: Path = tmp_path_factory.mktemp("per-query")
    words = ["--data", data, "--out", folder, "--metric", "thumbnail-8", "--sets", "whole"]
    words += ["standard", "--edits", "jpeg-50", "crop-80-random", "--strangers"]
    words += [data / "imagenet-compatible", "--every", 2]
    per_query.main([str(word) for word in words])
    return folder


def read(path: Path) -> per_query.CopiesPerQuery:
    result = json.loads(path.read_text("utf-8"))
    result["collections"] = [per_query.PerQuery(**one) for one in result["collections"]]
    result["crowd"] = [per_query.Crowd(**one) for one in result.get("crowd", [])]
    result["conditions"] = Conditions(**result["conditions"])
    return per_query.CopiesPerQuery(**result)


def test_more_images_mean_a_lower_threshold_and_fewer_copies(out: Path) -> None:
    result = read(out / "copies-per-query.json")
    assert result.copies == 2 * result.photographs
    for few, many in zip(result.collections[::2], result.collections[1::2], strict=True):
        assert few.views == many.views
        assert (few.images, many.images) == (300, 100_000)
        assert many.threshold < few.threshold
        assert many.found <= few.found
        assert few.certified["16"] <= few.certified["4"] <= few.found
        assert few.answered is not None
        assert few.answered <= result.strangers
        assert many.answered is None
    whole, crops = result.collections[0], result.collections[2]
    assert crops.found_by_edit["crop-80-random"] >= whole.found_by_edit["crop-80-random"]


def test_found_is_the_mean_of_the_edits() -> None:
    for one in read(PUBLISHED).collections:
        assert one.found == pytest.approx(sum(one.found_by_edit.values()) / len(one.found_by_edit))


def test_the_published_page_shows_what_was_measured() -> None:
    page = PUBLISHED.with_suffix(".md").read_text("utf-8")
    assert page == per_query.report(read(PUBLISHED))
    (row, _) = [one for one in read(PUBLISHED).collections if len(one.views) == 11]
    cells = [line.strip("| ").split(" | ") for line in page.splitlines()]
    (shown, _) = [line for line in cells if line[:2] == ["standard", "11"]]
    assert shown[2:] == [
        "300",
        f"{row.threshold:.4f}",
        f"{row.found:.3f}",
        *(f"{share:.3f}" for share in row.certified.values()),
        f"{row.answered} of {read(PUBLISHED).strangers:,}",
    ]
