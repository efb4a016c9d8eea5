"""SSIM's Hessian against double backward, against a dense one from autograd, and by its uses."""

import pytest
import torch
from skimage import data

from percert.metrics.full_reference.ssim import ssim_distance
from percert.metrics.full_reference.ssim_curvature import (
    conjugate_gradients,
    spread,
    ssim_curvature,
)


def photograph(size=(13, 15), channels=3):
    image = torch.from_numpy(data.astronaut()[100 : 100 + size[0], 180 : 180 + size[1]].copy())
    return image.permute(2, 0, 1)[None, :channels].double() / 255


def nearby(reference, noise, seed=0):
    generator = torch.Generator().manual_seed(seed)
    step = noise * torch.randn(reference.shape, generator=generator, dtype=reference.dtype)
    return (reference + step).clamp(0, 1)


def batch(size=(13, 15)):
    generator = torch.Generator().manual_seed(3)
    noise = torch.rand(1, 3, *size, generator=generator, dtype=torch.float64)
    flat = torch.full_like(noise, 0.02)
    return torch.cat((photograph(size), noise, flat))


CANDIDATES = {
    "identity": None,
    "near": lambda images: nearby(images, 0.01),
    "far": lambda images: nearby(images, 0.4),
    "inverted": lambda images: 1 - images,
}
candidate = pytest.mark.parametrize("make", CANDIDATES.values(), ids=CANDIDATES)


def double_backward(reference, at, vectors):
    at = at.clone().requires_grad_()
    total = ssim_distance(reference, at).sum()
    (gradient,) = torch.autograd.grad(total, at, create_graph=True)
    return torch.autograd.grad((gradient * vectors).sum(), at)[0]


@candidate
def test_products_are_those_of_double_backward(make):
    reference = batch()
    at = None if make is None else make(reference)
    vectors = torch.randn(reference.shape, dtype=torch.float64)
    expected = double_backward(reference, reference if at is None else at, vectors)
    found = ssim_curvature(reference, at)(vectors)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)


@candidate
def test_the_dense_hessian_is_autograds_and_its_diagonal_the_diagonal(make):
    reference = photograph((12, 13))
    at = None if make is None else make(reference)
    start = reference if at is None else at

    exact = torch.autograd.functional.hessian(lambda y: ssim_distance(reference, y).sum(), start)
    exact = exact.reshape(3, 156, 3, 156)
    curvature = ssim_curvature(reference, at)
    dense = curvature.dense()
    assert dense.shape == (1, 3, 156, 156)
    for one in range(3):
        torch.testing.assert_close(dense[0, one], exact[one, :, one], rtol=1e-8, atol=1e-12)
        for other in range(3):
            if one != other:
                assert exact[one, :, other].abs().max() == 0
    torch.testing.assert_close(
        curvature.diagonal().flatten(2), dense.diagonal(dim1=2, dim2=3), rtol=1e-8, atol=1e-12
    )


def test_the_general_form_is_that_of_identity_there():
    reference = batch()
    special, general = ssim_curvature(reference), ssim_curvature(reference, reference)
    vectors = torch.randn(reference.shape, dtype=torch.float64)
    torch.testing.assert_close(special(vectors), general(vectors))
    torch.testing.assert_close(special.diagonal(), general.diagonal())
    torch.testing.assert_close(special.dense(), general.dense())


def test_it_predicts_the_distance_of_a_small_step_in_float32_too():
    reference = photograph((40, 50))
    step = 1e-4 * torch.randn(reference.shape, dtype=torch.float64)
    actual = ssim_distance(reference, reference + step).item()
    predicted = (step * ssim_curvature(reference)(step)).sum().item() / 2
    assert predicted == pytest.approx(actual, rel=1e-3)
    single = ssim_curvature(reference.float())(step.float())
    assert (step * single).sum().item() / 2 == pytest.approx(predicted, rel=1e-3)


def test_at_identity_it_is_positive_definite_and_elsewhere_need_not_be():
    reference = photograph()
    assert torch.linalg.eigvalsh(ssim_curvature(reference).dense()).min() > 0
    assert torch.linalg.eigvalsh(ssim_curvature(reference, 1 - reference).dense()).min() < 0


def test_grey_images_have_one_channel():
    grey = photograph((28, 28), channels=1)
    assert grey.shape[1] == 1
    dense = ssim_curvature(grey).dense()
    assert dense.shape == (1, 1, 784, 784)
    # A grey picture in three equal channels: moving all three at once is moving the one.
    three = ssim_curvature(grey.expand(-1, 3, -1, -1))
    vectors = torch.randn(1, 1, 28, 28, dtype=torch.float64)
    together = three(vectors.expand(-1, 3, -1, -1)).sum(1, keepdim=True)
    torch.testing.assert_close(ssim_curvature(grey)(vectors), together)
    torch.testing.assert_close(dense[0, 0] @ vectors.flatten(), together.flatten())


def test_an_image_has_the_curvature_it_has_in_a_batch():
    reference = batch()
    at, vectors = nearby(reference, 0.1), torch.randn(reference.shape, dtype=torch.float64)
    for whole, alone in (
        (ssim_curvature(reference), ssim_curvature(reference[1:2])),
        (ssim_curvature(reference, at), ssim_curvature(reference[1:2], at[1:2])),
    ):
        chosen = whole.select(torch.tensor([1]))
        torch.testing.assert_close(chosen(vectors[1:2]), alone(vectors[1:2]))
        torch.testing.assert_close(whole(vectors)[1:2], alone(vectors[1:2]))
        torch.testing.assert_close(whole.diagonal()[1:2], chosen.diagonal())
    empty = ssim_curvature(reference[:0])
    assert empty(vectors[:0]).shape == empty.diagonal().shape == (0, 3, 13, 15)


def test_spreading_is_the_transpose_of_blurring():
    from percert.metrics.full_reference.ssim import blur

    images = torch.randn(2, 3, 14, 17, dtype=torch.float64)
    windows = torch.randn(2, 3, 4, 7, dtype=torch.float64)
    assert (blur(images) * windows).sum().item() == pytest.approx(
        (images * spread(windows)).sum().item()
    )


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"expected a float tensor \(n, c, h, w\)"):
        ssim_curvature(torch.zeros(1, 28, 28))
    with pytest.raises(ValueError, match="at least 11 x 11 pixels, found 10 x 28"):
        ssim_curvature(torch.zeros(1, 1, 10, 28))
    with pytest.raises(ValueError, match=r"candidate: expected the reference's shape"):
        ssim_curvature(torch.zeros(1, 1, 28, 28), torch.zeros(1, 3, 28, 28))
    with pytest.raises(ValueError, match="Hessian of 299 x 299 pixels is too large"):
        ssim_curvature(torch.zeros(1, 1, 299, 299)).dense()


def test_conjugate_gradients_solve_what_the_dense_hessian_solves():
    reference = batch()
    curvature = ssim_curvature(reference)
    right = torch.randn(reference.shape, dtype=torch.float64)
    exact = torch.linalg.solve(curvature.dense(), right.flatten(2).unsqueeze(3)).view_as(right)
    found = conjugate_gradients(
        curvature, right, diagonal=curvature.diagonal(), iterations=2000, tolerance=1e-11
    )
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5 * exact.abs().max().item())
    damped = conjugate_gradients(curvature, right, damping=0.01, iterations=2000, tolerance=1e-11)
    identity = torch.eye(195, dtype=torch.float64)
    exact = torch.linalg.solve(curvature.dense() + 0.01 * identity, right.flatten(2).unsqueeze(3))
    torch.testing.assert_close(damped, exact.view_as(right), rtol=1e-6, atol=1e-6)


def test_the_diagonal_saves_iterations_and_each_image_stops_by_itself():
    reference = batch()
    curvature, calls = ssim_curvature(reference), []
    right = torch.randn(reference.shape, dtype=torch.float64)

    def counted(vectors):
        calls.append(len(vectors))
        return curvature(vectors)

    conjugate_gradients(counted, right, diagonal=curvature.diagonal(), iterations=500)
    guided = len(calls)
    conjugate_gradients(counted, right, iterations=500)
    assert guided < len(calls) - guided
    together = conjugate_gradients(curvature, right, iterations=7)
    alone = ssim_curvature(reference[:1])
    torch.testing.assert_close(
        together[:1], conjugate_gradients(alone, right[:1], iterations=7), rtol=1e-7, atol=1e-7
    )


def test_negative_curvature_and_a_zero_right_side_are_no_trap():
    right = torch.tensor([1.0, -2.0]).view(1, 1, 1, 2)
    assert torch.equal(conjugate_gradients(torch.neg, right), right)
    zero = torch.zeros(1, 1, 1, 2)
    assert torch.equal(conjugate_gradients(torch.neg, zero), zero)
    with pytest.raises(ValueError, match="iterations of at least 1"):
        conjugate_gradients(torch.neg, right, iterations=0)
