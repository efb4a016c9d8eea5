"""Few pixels, patches and l1: nothing within what is proven changes a verdict, and no more is."""

import math

import pytest
import torch

from percert.certify import local_changes, pixel_distance
from percert.certify.editing.few_pixels import _longest_column, _windows, _worst
from percert.certify.editing.network_input import NetworkInput
from percert.certify.editing.summary import blind_to_mirroring
from percert.metrics.certified.lipsim import LipSimTiny, Thumbnail


def photo(height=40, width=52):
    rows, columns = torch.linspace(0, 3, height), torch.linspace(0, 4, width)
    waves = (rows[:, None].sin() * columns.cos() + 1) / 2
    return torch.stack([waves, 1 - waves, waves**2])[None].double()


@pytest.mark.parametrize("make", [Thumbnail, LipSimTiny])
def test_no_patch_and_no_pixels_change_a_copy(make):
    metric, image, threshold = make(), photo(), 0.3
    found = local_changes(metric, image, image, threshold=threshold)
    assert found.decision == 1
    assert 0 < found.pixels < (found.patch + 1) ** 2
    assert 0 < found.caption < found.patch
    generator = torch.Generator().manual_seed(0)
    far = (image < 0.5).double()
    for top, left in [(0, 0), (20, 20), (40 - found.patch, 52 - found.patch), (7, 13)]:
        place = torch.zeros(1, 1, 40, 52)
        place[..., top : top + found.patch, left : left + found.patch] = 1
        for content in (far, torch.rand(image.shape, generator=generator).double()):
            assert float(metric(image, torch.where(place > 0, content, image))) <= threshold
    for top, left, wide in [(0, 0, 52), (11, 0, 52), (40 - found.caption, 0, 52), (20, 9, 30)]:
        caption = image.clone()
        rows = slice(top, top + found.caption), slice(left, left + wide)
        caption[..., rows[0], rows[1]] = far[..., rows[0], rows[1]]
        assert float(metric(image, caption)) <= threshold
    for _ in range(5):
        chosen = torch.randperm(40 * 52, generator=generator)[: found.pixels]
        changed = image.flatten(2).clone()
        changed[..., chosen] = far.flatten(2)[..., chosen]
        assert float(metric(image, changed.view_as(image))) <= threshold


def test_bounds_of_patches_are_those_of_the_operator():
    """Against every place and the operator as a matrix, where the bound is nearly attained."""
    metric, size = Thumbnail(4), (10, 13)
    seen = NetworkInput.of(metric, size)
    moves = torch.rand(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for high, wide in ((1, 1), (3, 3), (6, 6), (2, 13)):
        longest = 0.0
        for top in range(size[0] - high + 1):
            for left in range(size[1] - wide + 1):
                change = torch.zeros(1, 3, *size, dtype=torch.float64)
                patch = slice(top, top + high), slice(left, left + wide)
                change[0, 0][patch] = moves[patch].sqrt()
                longest = max(longest, float(seen.resized(change).norm()))
        assert longest <= _worst(seen, moves, (high, wide)) <= 1.25 * longest
    assert _windows(seen, 0, 3).shape == (8, 10)


def test_the_longest_column_is_the_operators():
    seen = NetworkInput.of(Thumbnail(4), (6, 9))
    unit = torch.eye(54, dtype=torch.float64).view(54, 1, 6, 9).expand(54, 3, 6, 9)
    columns = seen.length(seen.resized(unit)) / math.sqrt(3)
    assert _longest_column(seen) == pytest.approx(float(columns.max()), rel=1e-8)


def test_l1_is_exact_for_a_thumbnail_up_to_the_angle():
    """A change of one value by what is proven keeps a copy; one of several times that does not."""
    metric, image = Thumbnail(2), photo(8, 8)
    found = local_changes(metric, image, image, threshold=0.2)
    ends = []
    for times in (0.999, 6.0):
        farthest = 0.0
        for row, column, sign in [(r, c, s) for r in range(8) for c in range(8) for s in (-1, 1)]:
            moved = image.clone()
            moved[0, :, row, column] += sign * times * found.l1 / 3
            h = metric.network(metric.resize(moved))
            own = metric.embed(image)
            farthest = max(farthest, 1 - float(torch.cosine_similarity(h, own)))
        ends.append(farthest)
    assert ends[0] <= 0.2 < ends[1]


def test_nothing_is_proven_at_the_threshold():
    image = photo()
    found = local_changes(Thumbnail(8), image, image, threshold=0.0)
    assert (found.pixels, found.patch, found.caption, found.l1) == (0, 0, 0, 0.0)


@pytest.mark.parametrize("kind", ["l2", "rmse", "psnr", "linf"])
def test_intervals_of_pixel_distances_are_attained_and_never_left(kind):
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 4, 3, 5, 6, generator=generator, dtype=torch.float64)

    def value(x, y):
        d = (x - y).flatten(1)
        rmse = d.norm(dim=1) / math.sqrt(d.shape[1])
        return {
            "l2": d.norm(dim=1),
            "rmse": rmse,
            "psnr": -20 * rmse.log10(),
            "linf": d.abs().amax(1),
        }[kind]

    found = pixel_distance(a, b, 0.4, kind)
    torch.testing.assert_close(found.distance, value(a, b))
    noise = torch.randn(200, *b.shape, generator=generator, dtype=torch.float64)
    noise = 0.4 * noise / noise.flatten(2).norm(dim=2)[..., None, None, None]
    for change in noise:
        moved = value(a, b + change)
        assert ((found.lower <= moved + 1e-12) & (moved <= found.upper + 1e-12)).all()
    d = a - b
    if kind == "linf":
        flat = d.flatten(1)
        level = found.lower[:, None]
        towards = (flat - flat.clamp(-level, level)).view_as(d)
        assert towards.flatten(1).norm(dim=1).numpy() == pytest.approx(0.4, rel=1e-9)
        away = torch.zeros_like(flat)
        at = flat.abs().argmax(1)
        rows = torch.arange(len(flat))
        away[rows, at] = -0.4 * flat[rows, at].sign()
        ends = value(a, b + towards), value(a, b + away.view_as(d))
    else:
        unit = d / d.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        ends = value(a, b + 0.4 * unit), value(a, b - 0.4 * unit)
    low, high = torch.minimum(*ends), torch.maximum(*ends)
    torch.testing.assert_close(low, found.lower)
    torch.testing.assert_close(high, found.upper)


def test_pixel_distances_refuse_what_they_cannot_compare():
    with pytest.raises(ValueError, match="expected the reference's size"):
        pixel_distance(torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 5), 1.0, "l2")
    with pytest.raises(ValueError, match="kind"):
        pixel_distance(torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4), 1.0, "l3")


def test_what_is_said_to_be_exact_is():
    metric, image = LipSimTiny(), photo()
    assert blind_to_mirroring(metric.network)
    assert not blind_to_mirroring(Thumbnail(8).network)
    own = metric.embed(image)
    torch.testing.assert_close(metric.embed(image.flip(-1)), own, rtol=0, atol=1e-9)
    darker = image * 0.8
    cast = darker + torch.tensor([0.2, 0.0, 0.1]).view(1, 3, 1, 1)
    torch.testing.assert_close(metric.embed(cast), metric.embed(darker), rtol=0, atol=1e-9)
