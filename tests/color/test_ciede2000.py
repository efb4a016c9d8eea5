"""CIEDE2000 against the published table, scikit-image, and finite differences."""

import pytest
import torch
from skimage.color import deltaE_ciede2000

from percert.color import ciede2000, srgb_to_lab
from percert.metrics.full_reference.pixel_errors import ciede2000_distance

#: L, a, b, L', a', b', difference: Table 1 of Sharma, Wu and Dalal, The CIEDE2000 color-difference
#: formula: implementation notes, supplementary test data, and mathematical observations, 2005.
TABLE = """
50.0000   2.6772 -79.7751  50.0000   0.0000 -82.7485   2.0425
50.0000   3.1571 -77.2803  50.0000   0.0000 -82.7485   2.8615
50.0000   2.8361 -74.0200  50.0000   0.0000 -82.7485   3.4412
50.0000  -1.3802 -84.2814  50.0000   0.0000 -82.7485   1.0000
50.0000  -1.1848 -84.8006  50.0000   0.0000 -82.7485   1.0000
50.0000  -0.9009 -85.5211  50.0000   0.0000 -82.7485   1.0000
50.0000   0.0000   0.0000  50.0000  -1.0000   2.0000   2.3669
50.0000  -1.0000   2.0000  50.0000   0.0000   0.0000   2.3669
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0009   7.1792
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0010   7.1792
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0011   7.2195
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0012   7.2195
50.0000  -0.0010   2.4900  50.0000   0.0009  -2.4900   4.8045
50.0000  -0.0010   2.4900  50.0000   0.0010  -2.4900   4.8045
50.0000  -0.0010   2.4900  50.0000   0.0011  -2.4900   4.7461
50.0000   2.5000   0.0000  50.0000   0.0000  -2.5000   4.3065
50.0000   2.5000   0.0000  73.0000  25.0000 -18.0000  27.1492
50.0000   2.5000   0.0000  61.0000  -5.0000  29.0000  22.8977
50.0000   2.5000   0.0000  56.0000 -27.0000  -3.0000  31.9030
50.0000   2.5000   0.0000  58.0000  24.0000  15.0000  19.4535
50.0000   2.5000   0.0000  50.0000   3.1736   0.5854   1.0000
50.0000   2.5000   0.0000  50.0000   3.2972   0.0000   1.0000
50.0000   2.5000   0.0000  50.0000   1.8634   0.5757   1.0000
50.0000   2.5000   0.0000  50.0000   3.2592   0.3350   1.0000
60.2574 -34.0099  36.2677  60.4626 -34.1751  39.4387   1.2644
63.0109 -31.0961  -5.8663  62.8187 -29.7946  -4.0864   1.2630
61.2901   3.7196  -5.3901  61.4292   2.2480  -4.9620   1.8731
35.0831 -44.1164   3.7933  35.0232 -40.0716   1.5901   1.8645
22.7233  20.0904 -46.6940  23.0331  14.9730 -42.5619   2.0373
36.4612  47.8580  18.3852  36.2715  50.5065  21.2231   1.4146
90.8027  -2.0831   1.4410  91.1528  -1.6435   0.0447   1.4441
90.9257  -0.5406  -0.9208  88.6381  -0.8985  -0.7239   1.5381
 6.7747  -0.2908  -2.4247   5.8714  -0.0985  -2.2286   0.6377
 2.0776   0.0795  -1.1350   0.9033  -0.0636  -0.5514   0.9082
"""


def pairs(dtype=torch.float64):
    table = torch.tensor(
        [[float(word) for word in line.split()] for line in TABLE.strip().split("\n")], dtype=dtype
    )
    return (*table[:, :6].view(34, 2, 3, 1, 1).unbind(1), table[:, 6])


def test_the_published_table():
    reference, candidate, expected = pairs()
    found = ciede2000(reference, candidate).flatten()
    torch.testing.assert_close(found, expected, rtol=0, atol=6e-5)
    torch.testing.assert_close(ciede2000(candidate, reference).flatten(), found)


def test_the_published_table_in_float32():
    reference, candidate, expected = pairs(torch.float32)
    found = ciede2000(reference, candidate).flatten()
    # Pairs 10 and 14 have exactly opposite hues, a tie that rounding may decide either way.
    tied = torch.tensor([9, 13])
    keep = torch.ones(34, dtype=torch.bool).index_fill(0, tied, False)
    torch.testing.assert_close(found[keep], expected[keep], rtol=0, atol=2e-4)
    torch.testing.assert_close(found[tied], expected[tied], rtol=0.02, atol=0)


@pytest.mark.parametrize("spread", [0.01, 1.0, 60.0])
def test_agrees_with_scikit_image_on_random_colours(spread):
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(2000, 3, generator=generator, dtype=torch.float64)
    first = first * torch.tensor([100.0, 200.0, 200.0]) - torch.tensor([0.0, 100.0, 100.0])
    second = first + spread * torch.randn(2000, 3, generator=generator, dtype=torch.float64)
    expected = torch.from_numpy(deltaE_ciede2000(first.numpy(), second.numpy()))
    found = ciede2000(first.view(-1, 3, 1, 1), second.view(-1, 3, 1, 1)).flatten()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def test_small_differences_keep_their_digits_in_float32():
    reference, _, _ = pairs()
    candidate = reference + torch.tensor([1e-2, -2e-2, 1.5e-2]).view(1, 3, 1, 1)
    exact = ciede2000(reference, candidate)
    found = ciede2000(reference.float(), (candidate - reference).float() + reference.float())
    torch.testing.assert_close(found.double(), exact, rtol=5e-3, atol=0)


def test_gradient_is_that_of_finite_differences_away_from_the_kink():
    generator = torch.Generator().manual_seed(0)
    reference, candidate = torch.rand(2, 1, 3, 4, 5, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x, y: ciede2000_distance(x.clamp(0, 1), y.clamp(0, 1)),
        ((0.1 + 0.8 * reference).requires_grad_(), (0.1 + 0.8 * candidate).requires_grad_()),
        fast_mode=True,
    )


CORNERS = torch.cartesian_prod(*3 * [torch.tensor([0.0, 1e-12, 1e-6, 0.04045, 0.5, 1.0])])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_between_all_corners_greys_and_darks(dtype):
    # Every colour against every other, itself included, in one image each.
    colours = CORNERS.to(dtype).T.reshape(1, 3, 1, -1)
    count = colours.shape[3]
    reference = colours.expand(1, 3, count, count).clone().requires_grad_()
    candidate = reference.detach().mT.clone().requires_grad_()
    distances = ciede2000(srgb_to_lab(reference), srgb_to_lab(candidate))
    assert distances.isfinite().all()
    assert (distances.diagonal(dim1=1, dim2=2) == 0).all()
    distances.sum().backward()
    for images in (reference, candidate):
        assert images.grad.isfinite().all()
        assert (images.grad.diagonal(dim1=2, dim2=3) == 0).all()


@pytest.mark.parametrize("tiny", [0.0, 1e-30, 1e-23, 1e-12, 1e-4])
def test_gradients_are_finite_at_the_grey_axis_of_lab(tiny):
    axis = torch.tensor([[0.0, 0.0, 0.0], [40.0, 0.0, 0.0], [40.0, tiny, 0.0], [40.0, 0.0, -tiny]])
    others = torch.cat((axis, torch.tensor([[40.0, 0.0, tiny], [90.0, 5.0, 70.0]])))
    reference = axis.repeat_interleave(6, 0).view(-1, 3, 1, 1).requires_grad_()
    candidate = others.repeat(4, 1).view(-1, 3, 1, 1).requires_grad_()
    ciede2000(reference, candidate).sum().backward()
    assert reference.grad.isfinite().all()
    assert candidate.grad.isfinite().all()


def test_the_distance_is_the_mean_over_pixels():
    black, white = torch.zeros(1, 3, 2, 4), torch.zeros(1, 3, 2, 4)
    white[..., 0, 0] = 1
    assert ciede2000_distance(black, white).item() == pytest.approx(100 / 8, rel=1e-4)
