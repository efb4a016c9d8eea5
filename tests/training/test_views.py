"""The two pipelines' views: each jitter against its plain formula, and nothing by default."""

import colorsys
import math

import numpy as np
import pytest
import torch

from percert.training.augmentations import Jitter, draw_jitter, jittered, standard_view

NEUTRAL = (0.0, 1.0, 1.0, 1.0, 0.0, 0.0)


def _photos(count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.25 + 0.5 * torch.rand(count, 3, 6, 5, generator=generator)


def _draws(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows)


def test_each_amount_does_its_own_thing() -> None:
    photo = _photos(1)
    mean, grey = photo.mean(), photo.mean(1, keepdim=True)
    luma = 0.299 * photo[:, :1] + 0.587 * photo[:, 1:2] + 0.114 * photo[:, 2:]
    for draws, expected in (
        (NEUTRAL, photo),
        ((1.0, 1.0, 1.0, 1.0, 0.0, 0.0), photo.flip(-1)),
        ((0.0, 1.2, 1.0, 1.0, 0.0, 0.0), 1.2 * photo),
        ((0.0, 1.0, 0.5, 1.0, 0.0, 0.0), mean + 0.5 * (photo - mean)),
        ((0.0, 1.0, 1.0, 0.0, 0.0, 0.0), grey.expand_as(photo)),
        ((0.0, 1.0, 1.0, 1.0, 2 * math.pi / 3, 0.0), photo.roll(1, 1)),
        ((0.0, 1.0, 1.0, 1.0, 0.0, 1.0), luma.expand_as(photo)),
    ):
        assert torch.allclose(jittered(photo, _draws(draws)), expected.clamp(0, 1), atol=1e-5)


def test_a_turn_of_the_hue_is_that_of_hsv_on_pure_colours_and_leaves_grey_alone() -> None:
    red = torch.tensor([0.75, 0.25, 0.25]).view(1, 3, 1, 1)
    turned = jittered(red, _draws((0.0, 1.0, 1.0, 1.0, math.pi / 3, 0.0)))
    hue, _, _ = colorsys.rgb_to_hsv(*turned.flatten().tolist())
    assert hue == pytest.approx(1 / 6, abs=1e-5)
    grey = torch.full((1, 3, 2, 2), 0.4)
    assert torch.allclose(jittered(grey, _draws((0.0, 1.0, 1.0, 1.0, 1.0, 0.0))), grey, atol=1e-6)


def test_views_are_images_and_each_has_its_own_draws() -> None:
    photos = torch.rand(8, 3, 9, 9)
    generators = [np.random.default_rng([1, i]) for i in range(8)]
    wild = Jitter(brightness=1, contrast=1, saturation=1, hue=0.5)
    draws = torch.stack([draw_jitter(wild, generator) for generator in generators])
    seen = jittered(photos, draws)
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert torch.equal(seen[3:4], jittered(photos[3:4], draws[3:4]))
    again = torch.stack([draw_jitter(wild, np.random.default_rng([1, i])) for i in range(8)])
    assert torch.equal(draws, again)
    assert len({tuple(row) for row in draws.tolist()}) == 8
    still = draw_jitter(Jitter(0, 0, 0, 0, 0), np.random.default_rng(0))
    assert still.tolist() == list(NEUTRAL)


def test_the_standard_view_squeezes_or_takes_the_centre() -> None:
    wide = torch.zeros(3, 8, 24)
    wide[:, :, 8:16] = 1
    assert torch.equal(standard_view(wide, 8, "crop"), torch.ones(3, 8, 8))
    squeezed = standard_view(wide, 8, "squeeze")
    assert squeezed.shape == (3, 8, 8)
    assert squeezed[:, :, 0].max() < 0.1
    assert squeezed[:, :, 4].min() > 0.9


def test_amounts_that_mean_nothing_are_refused() -> None:
    for bad in ({"hue": 0.6}, {"flip": 2}, {"contrast": 1.5}):
        with pytest.raises(ValueError, match="jitter: expected"):
            Jitter(**bad)


def test_the_authors_jitter_leaves_a_fifth_alone_and_makes_a_fifth_grey() -> None:
    theirs = Jitter(saturation=0.2, chance=0.8, grey=0.2)
    generator = np.random.default_rng(0)
    draws = torch.stack([draw_jitter(theirs, generator) for _ in range(4000)])
    alone = (draws[:, 1:5] == torch.tensor(NEUTRAL[1:5])).all(1).float().mean().item()
    assert alone == pytest.approx(0.2, abs=0.03)
    assert draws[:, 5].mean().item() == pytest.approx(0.2, abs=0.03)
    changed = draws[(draws[:, 1:5] != torch.tensor(NEUTRAL[1:5])).any(1)]
    assert changed[:, 3].min().item() == pytest.approx(0.8, abs=0.01)
    assert changed[:, 3].max().item() == pytest.approx(1.2, abs=0.01)
    for wrong in ({"chance": 1.5}, {"grey": -0.1}):
        with pytest.raises(ValueError, match="expected chance and grey"):
            Jitter(**wrong)


def test_what_is_not_asked_for_takes_no_random_number() -> None:
    """So that a recipe without a chance and without grey draws what it has always drawn."""
    plain = draw_jitter(Jitter(), np.random.default_rng(7))
    by_hand = np.random.default_rng(7)
    factors = [1 + 0.4 * by_hand.uniform(-1, 1) for _ in range(3)]
    turn = 2 * math.pi * 0.1 * by_hand.uniform(-1, 1)
    mirror = float(by_hand.random() < 0.5)
    assert torch.equal(plain, torch.tensor([mirror, *factors, turn, 0.0]))
