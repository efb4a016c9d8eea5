"""Planted copies: a tiny run, counted by hand, and the published page."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("augly", reason="needs the extra 'augly'")
pytest.importorskip("lancedb", reason="needs the extra 'search'")
pytest.importorskip("imagehash", reason="needs the extra 'rivals'")
pytest.importorskip("pdqhash", reason="needs the extra 'rivals'")

from experiments.copies import planted  # after what it needs
from percert.data.augly_edits import AUGLY_EDITS  # as above

PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "results" / "planted-copies.json"


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Six pictures that differ, and edits that leave them nearly as they are."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(6):
        coarse = np.random.default_rng(seed).integers(20, 236, (9, 9, 3)).astype(np.uint8)
        image = Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)
        image.save(folder / f"{seed}.png")
    names = ("augly-encoding-quality", "augly-scale", "augly-vflip")
    monkeypatch.setattr(
        planted, "AUGLY_EDITS", tuple(edit for edit in AUGLY_EDITS if edit.name in names)
    )
    return folder


def test_a_tiny_run_finds_what_was_planted_and_writes_the_page(pictures, tmp_path):
    words = ["--pictures", pictures, "--count", 6, "--planted", 3, "--metric", "thumbnail-8"]
    words += ["--sets", "whole", "--out", tmp_path, "--set-name", "made-up pictures"]
    planted.main([str(word) for word in words])
    result = planted.read_result(tmp_path / "planted-copies.json")
    assert (result.pictures, result.planted) == (6, 3)
    assert sum(result.planted_by_edit.values()) == 3
    index, *hashes = result.finders
    assert index.name.endswith("whole")
    for one in result.finders:
        assert one.found == sum(one.found_by_edit.values())
        assert one.found_by_edit["augly-vflip"] == 0
    usual = {one.name: one for one in hashes if one.rule.startswith(("10 of", "31 of"))}
    assert usual["phash"].found_by_edit["augly-encoding-quality"] == 1
    page = (tmp_path / "planted-copies.md").read_text("utf-8")
    assert f"| {index.name} | {index.rule} | {index.found / 3:.3f} | {index.wrong}" in page
    assert "made-up pictures" in page


def test_links_are_counted_right_wrong_or_neither():
    names = [
        Path(f"/{name}") for name in ("a", "b", "c", "jpeg 0.png", "jpeg 1.png", "paste 2.png")
    ]
    a, b, c, of_a, of_b, of_c = names
    made = planted.PlantedFiles({of_a: a, of_b: b, of_c: c}, frozenset([frozenset((of_c, a))]))
    pairs = {frozenset(pair) for pair in ((a, of_a), (of_c, c), (of_c, a), (a, b), (of_a, of_b))}
    found = planted.finder("x", "r", pairs, made, (1.0, 2.0))
    assert (found.found, found.wrong, found.between) == (2, 2, 1)
    assert found.found_by_edit == {"jpeg": 1, "paste": 1}
    assert (found.describing, found.comparing) == (1.0, 2.0)


def test_pairs_of_hashes_are_those_of_a_double_loop(monkeypatch):
    monkeypatch.setattr(planted, "AT_ONCE", 3)
    bits = np.sign(np.random.default_rng(0).normal(size=(10, 16))).astype(np.float32)
    expected = {
        (one, other, int((bits[one] != bits[other]).sum()))
        for one in range(10)
        for other in range(one + 1, 10)
        if (bits[one] != bits[other]).sum() <= 6
    }
    assert set(planted.hash_distances(bits, 6)) == expected


@pytest.mark.skipif(not PUBLISHED.exists(), reason="not measured yet")
def test_the_published_page_is_that_of_its_numbers():
    result = planted.read_result(PUBLISHED)
    page = PUBLISHED.with_suffix(".md").read_text("utf-8")
    assert planted.report(result, "40 classes of Tiny ImageNet's training set") == page
