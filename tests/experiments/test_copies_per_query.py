"""Copies at a rate of wrong answers: a tiny run, and the published page."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.copies import crowd, per_query
from experiments.copies.asked import embed_files
from experiments.detectors import make_metric
from percert.search.ingest.views import VIEW_SETS, asked_views
from percert.training.copies import read_copies_recipe

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


def test_more_images_mean_a_lower_threshold_and_fewer_copies(out: Path) -> None:
    result = per_query.read_result(out / "copies-per-query.json")
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
    for one in per_query.read_result(PUBLISHED).collections:
        assert one.found == pytest.approx(sum(one.found_by_edit.values()) / len(one.found_by_edit))


def test_the_published_page_shows_what_was_measured() -> None:
    page = PUBLISHED.with_suffix(".md").read_text("utf-8")
    assert page == per_query.report(per_query.read_result(PUBLISHED))
    (row, _) = [one for one in per_query.read_result(PUBLISHED).collections if len(one.views) == 11]
    cells = [line.strip("| ").split(" | ") for line in page.splitlines()]
    (shown, _) = [line for line in cells if line[:2] == ["standard", "11"]]
    size = per_query.read_result(PUBLISHED).bytes["standard"]
    assert ["standard", f"{size:,}", "11", "2"] in cells
    assert size <= 24_000
    assert shown[2:] == [
        "300",
        f"{row.threshold:.4f}",
        f"{row.found:.3f}",
        *(f"{share:.3f}" for share in row.certified.values()),
        f"{row.answered} of {per_query.read_result(PUBLISHED).strangers:,}",
    ]


def test_the_crowd_is_of_the_classes_that_the_recipe_leaves_out(
    tmp_path: Path, photographs: list[Image.Image]
) -> None:
    sources = read_copies_recipe("lipsim-tiny").data
    left_out = [name for source in sources for name in source.leave_out]
    assert len(left_out) == 40
    for name in [*left_out, "n01443537"]:
        (tmp_path / name).mkdir()
    assert "n01443537" not in left_out
    for name in (left_out[0], left_out[-1], "n01443537"):
        for place, image in enumerate(photographs):
            image.save(tmp_path / name / f"{place}.png")
    found = crowd.crowd_in(tmp_path, "lipsim-tiny", 100)
    names = sorted(path.parent.name for path in found)
    assert names == sorted([left_out[0]] * 4 + [left_out[-1]] * 4)
    assert len(set(found)) == 8
    assert crowd.crowd_in(tmp_path, "lipsim-tiny", 4) == found[:4]


def coarse(seed: int) -> Image.Image:
    """Eight by eight colours, unlike any other seed's."""
    drawn = np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    return Image.fromarray(drawn).resize((64, 64), Image.Resampling.BICUBIC)


def test_strangers_that_a_crowd_answers_are_counted(tmp_path: Path) -> None:
    pytest.importorskip("lancedb", reason="needs the extra 'search'")
    metric = make_metric("thumbnail-8", [])
    paths = [tmp_path / f"{seed}.png" for seed in range(13)]
    for seed, path in enumerate(paths):
        coarse(seed).save(path)
    stored, asking = paths[:12], [*paths[:2], paths[12]]  # two of three are stored
    others = embed_files(metric, asking, asked_views(VIEW_SETS["thorough"]))
    crowd.store_crowd(metric, stored[:5], "standard", tmp_path)
    store = crowd.store_crowd(metric, stored, "standard", tmp_path)  # goes on
    few, rare = crowd.ask_crowd(store, "standard", others)
    assert [few.wrong, rare.wrong] == list(crowd.WRONG)
    assert few.images == rare.images == 12
    assert rare.threshold < few.threshold
    assert few.answered == rare.answered == 2
    page = per_query.report(replace(per_query.read_result(PUBLISHED), crowd=[few, rare]))
    assert f"| standard | 12 | 0.01 | {few.threshold:.4f}" in page
    assert f"| 0.0 of 3 | 2 | {few.commit[:12]} |" in page


def test_a_crowd_is_added_to_what_is_there(
    out: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "copies-per-query.json").write_bytes((out / "copies-per-query.json").read_bytes())
    paths = [tmp_path / f"{seed}.png" for seed in range(12)]
    for seed, path in enumerate(paths):
        coarse(seed).save(path)
    monkeypatch.setattr(per_query, "crowd_in", lambda folder, recipe, count: paths[:count])
    words = ["--out", tmp_path, "--metric", "thumbnail-8", "--strangers"]
    words += [data / "imagenet-compatible", "--every", 2, "--crowd", tmp_path, "--crowd-only"]
    words += ["--work", tmp_path / "work", "--crowd-images", 10]
    for views in ("whole", "standard", "whole"):
        per_query.main([str(word) for word in [*words, "--crowd-set", views]])
    before = per_query.read_result(out / "copies-per-query.json")
    after = per_query.read_result(tmp_path / "copies-per-query.json")
    assert replace(after, crowd=[]) == before
    assert [one.views for one in after.crowd] == ["standard"] * 2 + ["whole"] * 2
    assert {(one.images, one.strangers) for one in after.crowd} == {(10, 2)}
    page = (tmp_path / "copies-per-query.md").read_text("utf-8")
    assert page == per_query.report(after)
