"""copies.query_views: its scores against pairs one by one, and its page."""

import json
from pathlib import Path

import pytest
import torch

from experiments.copies import query_views
from experiments.copies.rules import RULES, Certified
from experiments.copies.sets import ASKED, Sets
from percert.data.copy_edits import find_edit
from percert.images import save_image

PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "results" / "copies-query-views.json"


def write(folder: Path, count: int, seed: int) -> None:
    folder.mkdir(parents=True)
    for at in range(count):
        coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed + at))
        image = torch.nn.functional.interpolate(coarse, (48, 56), mode="bilinear")[0]
        save_image(image, folder / f"{at}.png")


@pytest.fixture
def sets(tmp_path: Path) -> Sets:
    write(tmp_path / "data" / "imagenet-compatible" / "images", 3, 0)
    more = tmp_path / "more"
    for at, part in enumerate(("imagenette-160/val", "tiny-imagenet-64/val")):
        write(more / part, 4, 100 * (at + 1))
    write(more / "tiny-imagenet-64" / "test", 8, 1000)
    return Sets(tmp_path / "data", more, tmp_path / "work", "thumbnail-8", "thumbnail-16")


def test_a_picture_upside_down_is_found_where_it_is_asked_so(sets: Sets) -> None:
    certified = Certified(sets)
    found = query_views.measure(sets, (find_edit("jpeg-50"),), 3, 2)
    assert [row["embeddings"] for row in found["rows"]] == [4, 5, 9, 18]
    rows = sets.certified("photographs").rows
    asked = query_views.embed_in(sets, [torch.rand(1, 3, 40, 30).flip(-2)])
    assert asked.shape == (1, len(ASKED) + len(query_views.EXTRA), rows.shape[2])
    upside = torch.nn.functional.normalize(asked, dim=-1)
    best = query_views.scores(certified, upside, ("flip",), False)
    flip = len(ASKED)
    for m in range(3):
        by_hand = max(
            float(upside[0, view] @ certified.stored[m, v]) - 0.5 * float(certified.likeness[m, v])
            for a, v in RULES[-1].pairs()
            for view in ({a} if a else {0, flip})
        )
        assert float(best[0, m]) == pytest.approx(by_hand, abs=1e-5)


def test_the_published_page_shows_what_was_measured() -> None:
    result = json.loads(PUBLISHED.read_text("utf-8"))
    page = PUBLISHED.with_suffix(".md").read_text("utf-8")
    assert page == query_views.report(result)
    for row in result["rows"]:
        shares = row["by edit"].values()
        assert row["found"] == pytest.approx(sum(shares) / len(shares))
        assert f"| {row['asked']} | {row['embeddings']} | {row['found']:.3f} |" in page
