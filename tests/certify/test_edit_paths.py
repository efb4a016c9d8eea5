"""Paths of edits stay as near the line between two of their images as they say, and no nearer."""

import math

import pytest
import torch

from percert.certify import EDITS, AllShifts, edited, edits_everywhere
from percert.certify.editing import blur, colour, warps
from percert.certify.editing.network_input import NetworkInput
from percert.certify.editing.shifts import Shifts, shifted
from percert.images import Resize
from percert.lipschitz.fixed_layers import Flatten
from percert.lipschitz.network import LipschitzNetwork
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.lipsim import Thumbnail

PATHS = [name for name, family in EDITS.items() if family.path is not None]


def picture(seed=0, height=23, width=31):
    """Noise, with flat parts and values at both ends: what paths bend most on."""
    torch.manual_seed(seed)
    image = torch.rand(3, height, width, dtype=torch.float64)
    image[:, :6] = (image[:, :6] > 0.5).double()
    image[:, 12:16] = 0.3
    return image


def plain_metric(mode, side=8):
    """Of the resized pixels themselves; not blind to anything."""
    network = LipschitzNetwork([Flatten()], resolution=(side, side), name="pixels")
    return EmbeddingMetric(network, Resize((side, side), mode), name="pixels").double().eval()


def off_the_line(path, a, b, samples=33):
    """The farthest that the network's input between lies from the line."""
    values = [a + (b - a) * i / (samples - 1) for i in range(samples)]
    inputs = path.inputs(values).flatten(1)
    first, across = inputs[0], inputs[-1] - inputs[0]
    along = ((inputs - first) @ across / across.square().sum().clamp_min(1e-300)).clamp(0, 1)
    return float((inputs - first - along[:, None] * across).norm(dim=1).max())


def pieces(family):
    """Pieces of very different lengths all over the family's limits."""
    generator = torch.Generator().manual_seed(1)
    low, high = family.limits
    for length in (1.0, 0.3, 0.1, 0.03, 0.01, 0.003):
        for start in torch.rand(4, generator=generator, dtype=torch.float64).tolist():
            a = low + (high - low) * start * (1 - length)
            yield a, a + (high - low) * length


@pytest.mark.parametrize("mode", ["box", "bicubic", "area"])
@pytest.mark.parametrize("name", PATHS)
def test_inputs_between_two_values_stay_within_the_remainder_of_their_line(name, mode):
    family = EDITS[name]
    metric = Thumbnail(8) if mode == "box" else plain_metric(mode)
    looked = 0
    for seed in (0, 1):
        image = picture(seed)
        path = family.path(image, NetworkInput.of(metric, tuple(image.shape[1:])))
        for a, b in pieces(family):
            bound = path.remainder(a, b)
            if math.isfinite(bound):
                looked += 1
                assert off_the_line(path, a, b) <= bound * (1 + 1e-9) + 1e-12, (a, b)
    assert looked >= 8


@pytest.mark.parametrize("name", PATHS)
def test_the_remainder_falls_faster_than_the_piece(name):
    family = EDITS[name]
    image = picture()
    path = family.path(image, NetworkInput.of(Thumbnail(8), tuple(image.shape[1:])))
    middle = 0.6 * family.limits[0] + 0.4 * family.limits[1]
    widths = (0.02, 0.0002)
    bounds = [
        path.remainder(middle, middle + w * (family.limits[1] - family.limits[0])) for w in widths
    ]
    assert bounds[1] <= 0.02 * bounds[0] + 1e-12


def off_the_chord(path, a, b, share):
    """How far the input at ``share`` of the way lies from the mean of the ends with that weight."""
    first, last = path.inputs([a, b])
    return float((path.inputs([a + share * (b - a)])[0] - torch.lerp(first, last, share)).norm())


def test_half_the_bound_of_clipping_is_too_little():
    image = torch.full((3, 8, 8), 0.5, dtype=torch.float64)
    path = colour.brightness(image, NetworkInput.of(plain_metric("box"), (8, 8)))
    bound = path.remainder(1.0, 3.0)
    assert 0.99 * bound < off_the_chord(path, 1.0, 3.0, 0.5) <= bound


def test_half_of_the_second_derivative_of_gamma_is_too_little():
    image = picture(height=8, width=8)
    path = colour.gamma(image, NetworkInput.of(plain_metric("box"), (8, 8)))
    bound = path.remainder(1.0, 1.02)
    assert 0.9 * bound < off_the_chord(path, 1.0, 1.02, 0.5) <= bound


def test_a_third_of_the_slopes_of_a_rotation_is_too_little():
    """Stripes: where a place passes from one to the next, the slope changes its sign."""
    image = torch.zeros(3, 16, 16, dtype=torch.float64)
    image[:, ::2] = 1
    path = warps.rotation(image, NetworkInput.of(plain_metric("box", 16), (16, 16)))
    bound = path.remainder(-2.5, 2.5)
    assert bound / 3 < off_the_chord(path, -2.5, 2.5, 0.5) <= bound


def test_half_the_slopes_of_a_zoom_is_too_little():
    image = torch.zeros(3, 17, 17, dtype=torch.float64)
    image[:, ::2] = 1
    path = warps.zoom(image, NetworkInput.of(plain_metric("box", 17), (17, 17)))
    # Zoom is walked in 1 / t: in the middle of these two it is 1.
    first, last = path.inputs([1 / 1.04, 1 / 0.96])
    off = float((path.inputs([1.0])[0] - torch.lerp(first, last, 0.5)).norm())
    bound = path.remainder(1 / 1.04, 1 / 0.96)
    assert bound / 2 < off <= bound * (1 + 1e-9)


def test_kernels_between_stay_within_what_is_said_of_their_change():
    for a, b in ((0.0, 0.2), (0.1, 0.5), (0.5, 0.6), (1.0, 1.3), (4.0, 5.0)):
        ends = [torch.from_numpy(blur.kernel(s)) for s in (a, b)]
        two = [torch.outer(k, k) for k in ends]
        weights = torch.ones(blur.TAPS + 1, dtype=torch.float64)
        weights[1:] = 2
        both = torch.outer(weights, weights)
        for share in (0.1, 0.5, 0.8):
            k = torch.from_numpy(blur.kernel(a + share * (b - a)))
            best = min(
                float((both * (torch.outer(k, k) - (1 - w) * two[0] - w * two[1]).abs()).sum())
                for w in torch.linspace(0, 1, 201).tolist()
            )
            assert best <= blur.change_of_kernel(a, b)


@pytest.mark.parametrize("name", PATHS)
def test_what_is_certified_is_what_the_edit_does(name):
    family = EDITS[name]
    image = picture(height=20, width=26)
    seen = NetworkInput.of(Thumbnail(8), (20, 26))
    path = family.path(image, seen)
    values = [0.3 * family.limits[0] + 0.7 * family.limits[1], family.limits[1]]
    for value, got in zip(values, path.inputs(values), strict=True):
        made = edited(image, name, value)
        assert made.min() >= 0
        assert made.max() <= 1
        torch.testing.assert_close(got, seen.resized(made[None])[0], atol=1e-12, rtol=0)
    torch.testing.assert_close(path.image(family.unchanged), image, atol=1e-12, rtol=0)


def test_edits_agree_with_scikit_image_and_pillow():
    from PIL import Image, ImageEnhance
    from scipy.ndimage import gaussian_filter1d
    from skimage.transform import rotate

    image = picture(height=20, width=26)
    levels = (255 * image).round() / 255
    picture_8bit = Image.fromarray((255 * levels).permute(1, 2, 0).byte().numpy())
    for name, enhance in (
        ("brightness", ImageEnhance.Brightness),
        ("saturation", ImageEnhance.Color),
    ):
        pillow = torch.from_numpy(
            __import__("numpy").asarray(enhance(picture_8bit).enhance(1.4)).copy()
        )
        ours = 255 * edited(levels, name, 1.4)
        assert (ours - pillow.permute(2, 0, 1)).abs().max() <= 2  # pillow rounds luma first
    turned = torch.from_numpy(rotate(image.permute(1, 2, 0).numpy(), 7.0, order=1, mode="edge"))
    assert (edited(image, "rotation", 7.0) - turned.permute(2, 0, 1)).abs().max() < 1e-9
    blurred = image.numpy()
    for axis in (1, 2):
        blurred = gaussian_filter1d(blurred, 1.7, axis=axis, mode="reflect", radius=blur.TAPS)
    assert (edited(image, "blur", 1.7) - torch.from_numpy(blurred)).abs().max() < 1e-12


def test_a_shift_between_pixels_is_a_mean_of_its_four_neighbours():
    image = picture(height=12, width=14)
    region = Shifts(image, NetworkInput.of(Thumbnail(4), (12, 14)), 3)
    # The middle of a block: whole where it is of whole cells.
    for block, middle in (((1, 3, -3, 0), (2, -2)), ((1, 1.5, -2.25, -2), (1.25, -2.125))):
        (found,) = region.inputs([block])
        assert region.edit(block) == middle
        wanted = region.seen.resized(shifted(image, *middle)[None])[0]
        torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)
    corners = [
        shifted(image, 1, -2),
        shifted(image, 1, -1),
        shifted(image, 2, -2),
        shifted(image, 2, -1),
    ]
    weights = [0.7 * 0.4, 0.7 * 0.6, 0.3 * 0.4, 0.3 * 0.6]
    mean = sum(w * corner for w, corner in zip(weights, corners, strict=True))
    torch.testing.assert_close(shifted(image, 1.3, -1.4), mean, atol=1e-12, rtol=0)
    assert torch.equal(shifted(image, 2, -3)[:, 2:, :-3], image[:, :-2, 3:])


def test_every_shift_of_a_block_that_a_ball_holds_lies_in_it_and_others_are_split():
    image = picture(height=12, width=14)
    region = Shifts(image, NetworkInput.of(Thumbnail(4), (12, 14)), 3)
    for block in ((-3, 1, -2, 3), (0, 1, 0, 1), (0.25, 0.5, -2, -1.5)):
        top, bottom, left, right = block
        anchor = region.inputs([block])[0]
        grid = [
            (y, x) for y in torch.linspace(top, bottom, 13) for x in torch.linspace(left, right, 13)
        ]
        made = torch.stack([shifted(image, float(y), float(x)) for y, x in grid])
        away = region.seen.length(region.seen.resized(made) - anchor)
        assert region.rest(block, float(away.max()) * (1 + 1e-6)) == []
        halves = region.rest(block, 0.98 * float(away.max()))
        # The halves are the block, and no smaller part of it is left out.
        areas = [(b - a) * (d - c) for a, b, c, d in [block, *halves]]
        assert len(halves) == 2
        assert areas[0] == areas[1] + areas[2]
    assert region.rest((0, 1 / 32, 0, 1 / 32), 0.0) is None


def test_shifts_that_are_known_are_left_out_and_no_others():
    image = picture(height=40, width=44)
    seen = NetworkInput.of(Thumbnail(4), (40, 44))
    for most, known in ((10, 5), (10, 8), (12, 4), (2, 1)):
        blocks = Shifts(image, seen, most, known).start()
        area = sum((b - a) * (d - c) for a, b, c, d in blocks)
        assert area == 4 * (most**2 - known**2)
        for a, b, c, d in blocks:
            assert -most <= a < b <= most
            assert -most <= c < d <= most
            assert max(abs(a + b), abs(c + d)) / 2 > known


def test_shifts_are_proven_where_radii_are_smaller_than_a_pixel_of_shift():
    metric, image = Thumbnail(8), picture(height=40, width=44)[None]
    moves = torch.linspace(-1, 1, 9).tolist()
    made = [shifted(image[0], down, across)[None] for down in moves for across in moves]
    farthest = max(float(metric(image, one)) for one in made)
    for share, proven in ((1.05, True), (0.95, False)):
        found = edits_everywhere(
            metric, image, image, AllShifts(1), threshold=share * farthest, rounded=False
        )
        assert found.proven == proven
