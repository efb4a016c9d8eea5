"""Plain edits along one parameter, drawn for a batch."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.tiny_world import make_world
from torch import Tensor

from percert.training.augmentations import downsample
from percert.training.copies import CopiesRecipe, read_copies_recipe
from percert.training.copies.batches import draw_batch, read_corpus
from percert.training.copies.paths import PathTerm, along_path

STILL = PathTerm(weight=1.0, crop=1.0, degrees=0.0, zoom=1.0, tone=1.0)


def _photos(count: int = 64) -> Tensor:
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bicubic").clamp(0.01, 1)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def test_edits_of_no_extent_leave_the_picture() -> None:
    photos = _photos()
    seen = along_path(photos, STILL, _generator())
    assert torch.allclose(seen, downsample(photos, 16), atol=1e-4)


@pytest.mark.parametrize("name", ["crop", "degrees", "zoom", "tone"])
def test_each_extent_moves_the_share_of_pictures_that_is_its_own(name: str) -> None:
    photos = _photos()
    wide = replace(STILL, **{name: getattr(PathTerm(), name)})
    moved = along_path(photos, wide, _generator()) - along_path(photos, STILL, _generator())
    share = (moved.flatten(1).abs().amax(1) > 1e-3).double().mean()
    kinds = 3 if name == "tone" else 1
    assert abs(float(share) - kinds / 6) < 0.15


def test_a_uniform_picture_stays_uniform_under_edits_of_place() -> None:
    grey = torch.full((32, 3, 16, 16), 0.4)
    seen = along_path(grey, replace(PathTerm(), tone=1.0), _generator())
    assert torch.allclose(seen, torch.full_like(seen, 0.4), atol=1e-6)


def test_without_the_term_batches_are_drawn_as_before(tmp_path: Path) -> None:
    recipe = make_world(tmp_path / "data")
    settings = read_copies_recipe(recipe)
    corpus = read_corpus(settings, recipe.parent, tmp_path / "out")
    with_it: CopiesRecipe = replace(settings, paths=PathTerm(weight=1.0, pictures=3))
    plain, more = (draw_batch(one, corpus, _generator()) for one in (settings, with_it))
    assert len(plain.along) == 0
    assert len(more.along) == 3
    for name in ("standard", "edited", "milder", "stronger"):
        assert torch.equal(getattr(plain, name), getattr(more, name)), name


@pytest.mark.parametrize(("name", "value"), [("crop", 0.0), ("zoom", 0.9), ("tone", 0.5)])
def test_extents_that_are_none_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match="paths: expected"):
        PathTerm(**{name: value})
