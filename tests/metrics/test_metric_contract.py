"""One contract over the whole catalog: what every card promises, its metric keeps."""

import re

import pytest
import torch

from percert.metrics.catalog import CATALOG, create_metric
from percert.metrics.certified.embedding import EmbeddingMetric

#: The paper's sizes take seconds per gradient; the last test takes the smallest of them once.
#: DreamSim is what its package makes it; its own tests put a small one in its place.
NAMES = [name for name in CATALOG if not re.match(r"lipsim-(small|medium|large)|dreamsim", name)]


@pytest.fixture(scope="module", params=NAMES)
def card(request):
    return CATALOG[request.param]


@pytest.fixture(scope="module")
def metric(card):
    untrained = card.checkpoint in ("required", "fetched", "packaged")
    return create_metric(card.name, "random" if untrained else None, device="cpu")


@pytest.fixture(scope="module")
def pairs(card):
    """Two batches of two images that are alike but not equal, of a size that the card takes."""
    generator = torch.Generator().manual_seed(0)
    height, width = max(card.smallest_side, 40), max(card.smallest_side, 48) + 3
    coarse = torch.rand(2, 3, 6, 6, generator=generator)
    reference = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    noise = torch.rand(reference.shape, generator=generator)
    return reference, 0.7 * reference + 0.3 * noise


def test_equal_images_are_at_exactly_zero(metric, pairs):
    reference, _ = pairs
    assert metric(reference, reference).tolist() == [0.0, 0.0]
    assert metric(reference, reference.clone()).tolist() == [0.0, 0.0]


def test_distances_have_one_number_per_pair_within_the_declared_range(card, metric, pairs):
    reference, candidate = pairs
    noise = torch.rand(candidate.shape, generator=torch.Generator().manual_seed(1))
    for other in (candidate, noise, 1 - reference, torch.zeros_like(reference), noise.round()):
        distances = metric(reference, other)
        assert distances.shape == (2,)
        assert distances.dtype in (torch.float32, torch.float64)
        assert (distances > 0).all()
        assert (distances >= card.range[0]).all()
        assert (distances <= card.range[1] + 1e-6).all()


def test_a_stronger_change_is_further(metric, pairs):
    reference, candidate = pairs
    weaker = metric(reference, 0.8 * reference + 0.2 * candidate)
    assert (weaker < metric(reference, candidate)).all()


def test_symmetry_is_as_declared(card, metric, pairs):
    reference, candidate = pairs
    there, back = metric(reference, candidate), metric(candidate, reference)
    assert torch.allclose(there, back, rtol=1e-4, atol=1e-6) == card.symmetric


def test_the_gradient_reaches_both_images_as_declared(card, metric, pairs):
    reference, candidate = (batch.clone().requires_grad_() for batch in pairs)
    metric(reference, candidate).sum().backward()
    for batch in (reference, candidate):
        reached = batch.grad is not None and bool((batch.grad.flatten(1).norm(dim=1) > 0).all())
        assert reached == card.differentiable
        if reached:
            assert batch.grad.isfinite().all()


def test_the_gradient_at_identity_is_zero(card, metric, pairs):
    if not card.differentiable:
        pytest.skip("not declared differentiable")
    reference = pairs[0]
    candidate = reference.clone().requires_grad_()
    metric(reference, candidate).sum().backward()
    # A smooth distance has its minimum there; NaN is what a square root would give.
    assert torch.allclose(candidate.grad, torch.zeros(()), atol=1e-6)


def hard_images(height, width):
    """Where roots, angles and quotients of colours, contrasts and gradients have no derivative."""
    photo = torch.nn.functional.interpolate(
        torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(2)), (height, width)
    )
    half_black = photo.clone()
    half_black[..., : height // 2, :] = 0
    clipped = (2 * photo - 0.5).clamp(0, 1)
    board = (torch.arange(height).view(-1, 1) + torch.arange(width)) % 2
    board = board.expand(1, 3, height, width).float()
    flat = [torch.full_like(photo, value) for value in (0.0, 0.5, 1.0)]
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand_as(photo)
    return torch.cat((half_black, clipped, board, red, *flat))


def test_gradients_are_finite_at_identity_and_beside_it_on_hard_images(card, metric, pairs):
    if not card.differentiable:
        pytest.skip("not declared differentiable")
    reference = hard_images(*pairs[0].shape[2:])
    one_pixel = reference.clone()
    one_pixel[:, 0, 3, 3] = (one_pixel[:, 0, 3, 3] - 0.25).abs()
    level = (reference + 1 / 255).clamp(0, 1)
    hair = (reference + 1e-6 * torch.rand_like(reference)).clamp(0, 1)
    candidates = [reference.clone(), one_pixel, level, hair, reference.flip(0)]
    if card.checkpoint in ("fetched", "packaged"):  # networks of a second an image
        few = [0, 3, 4]
        reference, candidates = reference[few], [batch[few] for batch in candidates[:2]]
    for candidate in candidates:
        candidate.requires_grad_()
        distances = metric(reference, candidate)
        assert distances.isfinite().all()
        distances.sum().backward()
        assert candidate.grad.isfinite().all()


def test_a_gradient_step_lowers_the_distance(card, metric, pairs):
    if not card.differentiable:
        pytest.skip("not declared differentiable")
    reference, candidate = pairs[0], pairs[1].clone().requires_grad_()
    before = metric(reference, candidate)
    (gradient,) = torch.autograd.grad(before.sum(), candidate)
    with torch.no_grad():
        length = gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        after = metric(reference, (candidate - 0.05 * gradient / length).clamp(0, 1))
    assert (after < before).all()


def test_the_gradient_mode_stays_the_callers(metric, pairs):
    reference, candidate = pairs[0], pairs[1].clone().requires_grad_()
    assert torch.is_grad_enabled()
    assert metric(reference, candidate).requires_grad
    assert torch.is_grad_enabled()
    with torch.no_grad():
        assert not metric(reference, candidate).requires_grad
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        metric(reference, candidate)
        assert torch.is_inference_mode_enabled()
    # What inference mode has left in a cache must not spoil a later gradient.
    assert metric(reference, candidate).requires_grad


def test_an_image_alone_has_the_distance_it_has_in_a_batch(metric, pairs):
    reference, candidate = pairs
    together = metric(reference, candidate)
    alone = torch.cat([metric(reference[i : i + 1], candidate[i : i + 1]) for i in (0, 1)])
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-6)


def test_the_inputs_are_left_as_they_were(metric, pairs):
    reference, candidate = (batch.clone() for batch in pairs)
    metric(reference, candidate)
    assert torch.equal(reference, pairs[0])
    assert torch.equal(candidate, pairs[1])


def test_the_precision_of_the_images_is_no_matter(metric, pairs):
    reference, candidate = pairs
    found = metric(reference.double(), candidate.double())
    assert torch.allclose(found.float(), metric(reference, candidate).float(), rtol=1e-3, atol=1e-6)


def test_an_empty_batch_gives_no_distances(metric, pairs):
    reference, candidate = pairs
    assert metric(reference[:0], candidate[:0]).shape == (0,)


def test_wrong_inputs_are_errors(metric, pairs):
    reference, candidate = pairs
    with pytest.raises(ValueError, match=r"candidate: values lie in .* must lie in"):
        metric(reference, 255 * candidate)
    with pytest.raises(ValueError, match="reference: holds NaN"):
        metric(reference * float("nan"), candidate)
    with pytest.raises(ValueError, match=r"candidate: expected shape \(n, 3, h, w\)"):
        metric(reference, candidate[:, :1])
    with pytest.raises(ValueError, match="reference: expected a float tensor"):
        metric((255 * reference).byte(), candidate)
    with pytest.raises(ValueError, match="candidate: expected"):
        metric(reference, candidate[:1])


def test_different_sizes_are_fine_for_embeddings_and_an_error_for_pixels(card, metric, pairs):
    reference, candidate = pairs[0], pairs[1][..., 2:, 1:]
    if card.embedding or card.name == "sscd":
        assert metric(reference, candidate).isfinite().all()
    else:
        with pytest.raises(ValueError, match="candidate: expected the reference's shape"):
            metric(reference, candidate)


def test_an_embedding_is_what_the_card_says(card, metric, pairs):
    assert isinstance(metric, EmbeddingMetric) == card.embedding
    if not card.embedding:
        assert card.resolution is None
        return
    assert metric.resolution == card.resolution
    embeddings = metric.embed(pairs[0])
    assert embeddings.shape[0] == 2
    assert embeddings.ndim == 2
    assert metric.bound(tuple(pairs[0].shape[2:])).value > 0
    assert metric.bound((50, 60)).resolution == (50, 60)


def test_the_metric_is_frozen_and_in_evaluation_mode(metric):
    assert not metric.training
    assert not any(parameter.requires_grad for parameter in metric.parameters())


def test_the_smallest_image_works(card, metric):
    side = card.smallest_side
    image = torch.rand(1, 3, side, side)
    assert metric(image, image).item() == 0
    if side > 1:
        with pytest.raises(ValueError, match=f"at least {side} x {side}"):
            metric(image[..., 1:], image[..., 1:])


def test_the_papers_smallest_network_keeps_the_contract_too():
    metric, card = create_metric("lipsim-small", "random", "cpu"), CATALOG["lipsim-small"]
    generator = torch.Generator().manual_seed(0)
    reference = torch.rand(1, 3, 40, 51, generator=generator)
    candidate = (0.9 * reference).requires_grad_()
    assert metric.resolution == card.resolution
    with torch.no_grad():
        assert metric(reference, reference).tolist() == [0.0]
    distance = metric(reference, candidate)
    distance.sum().backward()
    assert 0 < distance.item() <= card.range[1]
    assert candidate.grad.isfinite().all()
    assert candidate.grad.norm() > 0
    assert not any(parameter.requires_grad for parameter in metric.parameters())
