"""Random edits: seeded, in range, and of the kind that they say."""

from dataclasses import replace

import pytest
import torch

from percert.training.augmentations import distortion_pair, downsample
from percert.training.copies.edits import HARD, EditStrength, random_crop, random_edit

NOTHING = EditStrength(
    brightness=0, contrast=0, saturation=(1, 1), cast=0, noise=0, crop_share=0, hard_share=0,
    caption_share=0, blur_share=0, noise_share=0,
)  # fmt: skip


def _photos(count: int = 12) -> torch.Tensor:
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    return torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic").clamp(0, 1)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_edits_are_images_and_repeat_with_their_seed(share: float) -> None:
    photos = _photos()
    strength = EditStrength(hard_share=share)
    edited = random_edit(photos, photos.roll(1, 0), photos.roll(2, 0), strength, _generator())
    again = random_edit(photos, photos.roll(1, 0), photos.roll(2, 0), strength, _generator())
    other = random_edit(photos, photos.roll(1, 0), photos.roll(2, 0), strength, _generator(1))
    assert edited.shape == (12, 3, 32, 32)
    assert edited.min() >= 0
    assert edited.max() <= 1
    assert torch.equal(edited, again)
    assert not torch.equal(edited, other)


@pytest.mark.parametrize("kind", HARD)
def test_every_hard_edit_changes_a_picture_and_leaves_some_of_it(kind: str) -> None:
    photos = _photos()
    strength = replace(NOTHING, hard_share=1.0, hard=(kind,))
    edited = random_edit(photos, photos.roll(1, 0), photos.roll(2, 0), strength, _generator())
    plain = downsample(photos, 32)
    assert (edited - plain).abs().flatten(1).amax(1).median() > 0.02, kind
    # Of the picture something is left: it is nearer to the edit than most others, on average.
    grey = [batch.mean(1).flatten(1) for batch in (edited, plain)]
    near, far = (torch.cdist(*grey).diagonal(), torch.cdist(*grey).mean(1))
    assert near.mean() < far.mean(), kind


def test_unknown_hard_edits_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected hard edits of crop, .*, found \('melt',\)"):
        EditStrength(hard=("melt",))


def test_no_strength_changes_nothing() -> None:
    photos = _photos()
    edited = random_edit(photos, photos.roll(1, 0), photos.roll(2, 0), NOTHING, _generator())
    assert torch.allclose(edited, downsample(photos, 32), atol=1e-4)


def test_edits_do_not_touch_the_global_generator() -> None:
    photos = _photos()
    before = torch.random.get_rng_state()
    random_edit(photos, photos, photos, EditStrength(), _generator())
    distortion_pair(photos, _generator())
    random_crop(photos, 0.5, 0.1, 32, _generator())
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_milder_distortion_lies_between() -> None:
    photos = _photos(64)
    milder, stronger = distortion_pair(photos, _generator())
    clean = downsample(photos, 32)
    near = (milder - clean).flatten(1).norm(dim=1)
    far = (stronger - clean).flatten(1).norm(dim=1)
    assert (near < far).float().mean() > 0.95
    assert (near > 0).all()
