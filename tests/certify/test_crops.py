"""How far all crops of an image lie from one of them, against crops that are made one by one."""

from types import SimpleNamespace

import pytest
import torch

from percert.certify import AllCrops, edits_everywhere
from percert.certify.editing.cover import _half_of_the_threads
from percert.certify.editing.crops import SINGLE, Crops
from percert.certify.editing.network_input import NetworkInput
from percert.images import Resize
from percert.metrics.certified.lipsim import Thumbnail


def seen_by(mode, antialias, blind):
    """As much of a network's input as crops are measured by."""
    metric = SimpleNamespace(resize=Resize((8, 6), mode, antialias))
    return SimpleNamespace(metric=metric, blind_to_means=blind)


def apart(seen, picture, one, other):
    made = []
    for top, low, left, right in (one, other):
        _, height, width = picture.shape
        crop = picture[:, int(top) : height - int(low), int(left) : width - int(right)]
        made.append(seen.metric.resize(crop[None]))
    difference = made[0] - made[1]
    if seen.blind_to_means:
        difference = difference - difference.mean((2, 3), keepdim=True)
    return float(difference.norm())


@pytest.mark.parametrize("blind", [True, False])
@pytest.mark.parametrize(
    ("mode", "antialias"),
    [("box", True), ("area", True), ("bicubic", True), ("bicubic", False), ("bilinear", True)],
)
def test_what_a_ball_takes_away_lies_in_it_and_nothing_in_it_is_left(mode, antialias, blind):
    seen = seen_by(mode, antialias, blind)
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    picture = Resize((37, 33), "bilinear", antialias=False)(coarse)[0]
    crops = Crops(picture, seen, 0.85)
    # 5 and 4 pixels of margins together: 21 and 15 pairs of them.
    assert crops.open.shape == (21, 15)
    for anchor in ((0, 0), (13, 4), (20, 14)):
        crops.open.fill_(True)
        there = crops.edit(anchor)
        away = torch.tensor(
            [
                [apart(seen, picture, crops.edit((row, column)), there) for column in range(15)]
                for row in range(21)
            ],
            dtype=torch.float64,
        )
        radius = float(away.flatten().sort().values[100:102].mean())
        assert crops.strike(anchor, radius)
        assert not bool((~crops.open & (away >= radius)).any())
        # Far from the diagonal nothing is looked at, and what is estimated is not all.
        assert int((~crops.open).sum()) > 50
        rows = torch.arange(21)[crops.gram.reaches(anchor[0])]
        columns, _ = crops._beside(anchor[1], 99)
        found = crops.distances(anchor, rows, 1e9)
        wanted = away[rows[:, None], columns]
        assert bool((found >= wanted).all())
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-2)


def test_inputs_are_the_resized_crops():
    seen = seen_by("box", True, True)
    picture = torch.rand(3, 40, 52, generator=torch.Generator().manual_seed(1)).double()
    crops = Crops(picture, seen, 0.9, step=2)
    anchors = [(1, 3), (4, 0)]
    for anchor, one in zip(anchors, crops.inputs(anchors), strict=True):
        top, low, left, right = map(int, crops.edit(anchor))
        made = seen.metric.resize(picture[None, :, top : 40 - low, left : 52 - right])
        torch.testing.assert_close(one, made[0], rtol=0, atol=1e-12)


def test_every_crop_is_taken_away_in_the_end_and_known_ones_are_not_looked_at():
    metric = Thumbnail(8)
    picture = torch.rand(3, 40, 52, generator=torch.Generator().manual_seed(2)).double()
    crops = Crops(picture, NetworkInput.of(metric, (40, 52)), 0.9, known=0.95)
    assert int((~crops.open).sum()) == 6 * 6
    asked = []
    while some := crops.take(16):
        asked += some
        assert all(crops.strike(anchor, 0.3) for anchor in some)
    assert not bool(crops.open.any())
    assert len(asked) == len(set(asked))


def test_a_tamper_counts_by_the_norm_of_each_crops_own_resize():
    metric = Thumbnail(8)
    picture = torch.rand(3, 40, 52, generator=torch.Generator().manual_seed(3)).double()
    crops = Crops(picture, NetworkInput.of(metric, (40, 52)), 0.9, eps=0.5)
    for anchor in ((0, 0), (7, 9)):
        top, low, left, right = crops.edit(anchor)
        norm = metric.resize.norm((int(40 - top - low), int(52 - left - right)))
        assert float(crops.tampered[anchor]) == 0.5 * norm
    assert not crops.strike((0, 0), 0.4 * metric.resize.norm((40, 52)))


def test_more_crops_than_can_be_looked_at_are_refused():
    photo = torch.rand(1, 3, 300, 300)
    with pytest.raises(ValueError, match=r"step: .* crops keep 0.5 .* expected a larger step"):
        edits_everywhere(Thumbnail(8), photo, photo, AllCrops(0.5, step=1), threshold=0.1)


@pytest.mark.parametrize("mode", ["box", "bicubic"])
def test_float32_products_are_off_by_less_than_is_allowed_for(mode):
    seen = seen_by(mode, antialias=False, blind=False)
    picture = torch.rand(3, 40, 52, generator=torch.Generator().manual_seed(4)).double()
    crops = Crops(picture, seen, 0.9)
    row, column = 5, 8
    columns, products = crops._beside(column, 99)
    rows = torch.arange(len(crops.open))[crops.gram.reaches(row)]
    halves = torch.stack([crops._exact_half(one) for one in columns.tolist()])
    exact = crops.gram.products(halves, crops._exact_half(column))
    here = torch.tensor([row])
    off = crops.gram.inner(rows, here, products) - crops.gram.inner(rows, here, exact)
    spread = crops._spread[rows[:, None], columns]
    gamma = SINGLE * (3 * 6 + 3)
    allowed = gamma * (spread * crops._spread[row, column]).sqrt()
    assert float(off.abs().max()) > 0
    assert bool((off.abs() < allowed).all())
    # What the lengths of the rows of N say, summed by hand.
    for at, one in enumerate(rows.tolist()):
        resize = crops.lines[0].dense(one).abs()
        direct = (halves.norm(dim=2) @ resize.T).square().sum(1)
        assert bool((spread[at] >= direct * (1 - 1e-12)).all())


def test_distances_without_what_float32_rounds_are_found_too_small(monkeypatch):
    seen = seen_by("box", antialias=True, blind=False)
    picture = torch.rand(3, 40, 52, generator=torch.Generator().manual_seed(4)).double()
    crops = Crops(picture, seen, 0.9)
    anchor = (5, 8)
    columns, _ = crops._beside(anchor[1], 99)
    rows = torch.arange(len(crops.open))[crops.gram.reaches(anchor[0])]
    wanted = torch.tensor(
        [
            [
                apart(seen, picture, crops.edit((row, column)), crops.edit(anchor))
                for column in columns.tolist()
            ]
            for row in rows.tolist()
        ]
    ).double()
    assert bool((crops.distances(anchor, rows, 1e9) >= wanted).all())
    monkeypatch.setattr("percert.certify.editing.crops.SINGLE", 0.0)
    monkeypatch.setattr("percert.certify.editing.crops.CANCELLED", 0.0)
    assert bool((crops.distances(anchor, rows, 1e9) < wanted).any())


def test_two_threads_share_torchs_own_and_give_them_back():
    before = torch.get_num_threads()
    with _half_of_the_threads():
        assert torch.get_num_threads() == max(1, before // 2)
    assert torch.get_num_threads() == before
