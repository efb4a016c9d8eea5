"""Pictures inside a picture: rectangles that were pasted are found where they are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.search.conftest import smooth_image

from percert.images.insets import MOST, SMALLEST, Inset, find_insets


def share(one: Inset, other: Inset) -> float:
    wide = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    high = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    both = max(0, wide) * max(0, high)
    return both / (one.width * one.height + other.width * other.height - both)


def pasted(inset: Inset, size, seed: int) -> torch.Tensor:
    image = smooth_image(seed, size)
    image[..., inset.top : inset.top + inset.height, inset.left : inset.left + inset.width] = (
        smooth_image(seed + 1000, (inset.height, inset.width))
    )
    return image


@pytest.mark.parametrize("size", [(200, 260), (300, 240), (700, 500)])
@pytest.mark.parametrize("seed", range(6))
def test_a_picture_pasted_onto_another_is_found(size, seed):
    generator = torch.Generator().manual_seed(seed)
    height, width = (int(side * (0.35 + 0.3 * torch.rand(1, generator=generator))) for side in size)
    top = int((size[0] - height) * torch.rand(1, generator=generator))
    left = int((size[1] - width) * torch.rand(1, generator=generator))
    inset = Inset(left, top, width, height)
    found = find_insets(pasted(inset, size, seed))
    assert max((share(inset, one) for one in found), default=0) > 0.85


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_picture_in_a_border_is_found(level):
    inner = 0.15 + 0.6 * smooth_image(3, (90, 120))
    framed = torch.nn.functional.pad(inner, (20, 30, 15, 25), value=level)
    wanted = Inset(20, 15, 120, 90)
    assert max(share(wanted, one) for one in find_insets(framed)) > 0.9


def test_margins_of_one_colour_are_cut_off():
    """A picture in a viewer, between black stripes, on a page."""
    page = torch.full((3, 300, 400), 0.94)
    page[:, 50:250, 60:340] = 0.0
    page[:, 50:250, 130:270] = 0.2 + 0.6 * smooth_image(8, (200, 140))
    found = find_insets(page)
    assert max(share(Inset(130, 50, 140, 200), one) for one in found) > 0.95
    plain = torch.full((3, 300, 400), 0.94)
    plain[:, 50:250, 60:340] = 0.0
    assert all(share(one, Inset(60, 50, 280, 200)) < 0.9 for one in find_insets(plain))


@settings(max_examples=60)
@given(st.integers(1, 150), st.integers(1, 150), st.integers(0, 10_000))
def test_whatever_is_found_lies_inside_and_is_not_the_whole(height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(3, height, width, generator=generator).round()
    image[:, height // 9 : -height // 9, width // 9 :] = 0.5
    found = find_insets(image)
    assert len(found) <= MOST
    for one in found:
        part = one.cut(image)
        assert part.shape[1:] == (one.height, one.width)
        assert min(one.width, one.height) >= SMALLEST - 1
        assert (one.height, one.width) != (height, width)


def test_a_smooth_picture_has_none():
    assert find_insets(torch.full((3, 50, 60), 0.4)) == ()
    assert find_insets(torch.linspace(0, 1, 200).expand(3, 150, 200)) == ()


def test_no_two_of_them_are_the_same():
    image = pasted(Inset(20, 20, 80, 80), (180, 220), 4)
    image[:, 40:110, 120:200] = 0.9
    found = find_insets(image)
    for at, one in enumerate(found):
        assert all(share(one, other) < 0.7 for other in found[:at])


@pytest.mark.parametrize("image", [torch.rand(1, 3, 80, 80), torch.rand(80, 80), 255.0])
def test_what_is_no_image_is_refused(image):
    image = torch.full((3, 80, 80), image) if isinstance(image, float) else image
    with pytest.raises(ValueError, match="image: "):
        find_insets(image)
