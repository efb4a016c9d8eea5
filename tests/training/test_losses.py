"""The losses' radii are the certificates' radii, and their gradients push the right way."""

import math

import torch

from percert.training.distillation.targets import fit_target
from percert.training.losses import (
    class_loss,
    copy_loss,
    copy_radii,
    distillation_loss,
    signed_radius,
    twoafc_loss,
)


def test_copy_radius_is_the_distance_to_the_cone_of_copies() -> None:
    reference = torch.randn(20, 6, dtype=torch.float64)
    candidate = reference + 0.3 * torch.randn(20, 6, dtype=torch.float64)
    tau = 1.2
    stays, differs = copy_radii(candidate, reference, tau)
    unit = torch.nn.functional.normalize(reference, dim=1)
    along = (candidate * unit).sum(1)
    across = (candidate - along[:, None] * unit).norm(dim=1)
    # In the plane of both, the cone's edge is a line at angle tau: the distance to that line.
    expected = along * math.sin(tau) - across * math.cos(tau)
    assert torch.allclose(stays, expected, atol=1e-3)
    assert torch.allclose(differs.diagonal(), -stays, atol=1e-9)


def test_twoafc_radius_is_the_distance_to_the_plane_between() -> None:
    reference, closer, further = torch.randn(3, 50, 8, dtype=torch.float64)
    radii = signed_radius(reference, closer, further)
    normal = torch.nn.functional.normalize(
        closer / closer.norm(dim=1, keepdim=True) - further / further.norm(dim=1, keepdim=True)
    )
    on_plane = reference - radii[:, None] * normal
    assert torch.allclose(
        torch.cosine_similarity(on_plane, closer), torch.cosine_similarity(on_plane, further)
    )
    assert torch.equal(signed_radius(reference, further, closer), -radii)


def test_losses_fall_along_their_gradient() -> None:
    reference, candidate, further = (torch.randn(8, 5).requires_grad_() for _ in range(3))
    strangers = ~torch.eye(8, dtype=torch.bool)
    target = torch.randn(8, 3)
    losses = (
        lambda: copy_loss(
            candidate,
            reference,
            strangers,
            threshold_angle=1.0,
            margin=2,
            temperature=1,
            hardest=0.1,
        ),
        lambda: twoafc_loss(reference, candidate, further, margin=2, temperature=1),
        lambda: distillation_loss(reference, candidate, target),
    )
    for loss in losses:
        before = loss()
        (gradient,) = torch.autograd.grad(before, candidate)
        with torch.no_grad():
            candidate -= 1e-2 * gradient / gradient.norm()
        assert loss() < before


def test_pairs_of_one_photograph_are_not_strangers() -> None:
    embeddings = torch.tensor([[5.0, 0.0], [5.0, 0.1], [0.0, 5.0]])
    settings = {"threshold_angle": 1.0, "margin": 1.0, "temperature": 0.1, "hardest": 1.0}
    every, photograph = ~torch.eye(3, dtype=torch.bool), torch.tensor([0, 0, 2])
    apart = copy_loss(embeddings, embeddings, every, **settings)
    others = photograph[:, None] != photograph
    together = copy_loss(embeddings, embeddings, others, **settings)
    assert together < 0.2 < apart


def test_the_class_loss_is_that_of_every_triplet() -> None:
    embeddings, labels = torch.randn(8, 5).double(), torch.tensor([0, 0, 1, 1, 0, 0, 2, 2])
    triplets = [(i, i ^ 1, j) for i in range(8) for j in range(8) if labels[i] != labels[j]]
    reference, near, far = (embeddings[list(rows)] for rows in zip(*triplets, strict=True))
    settings = {"margin": 2.0, "temperature": 0.7}
    expected = twoafc_loss(reference, near, far, **settings)
    assert torch.allclose(class_loss(embeddings, labels, **settings), expected)
    assert class_loss(embeddings[:2], labels[:2], **settings) == 0


def test_principal_targets_keep_what_varies_most() -> None:
    features = torch.randn(200, 6) * torch.tensor([9.0, 5.0, 0.1, 0.1, 0.1, 0.1])
    targets = fit_target(features, 2, 3.0)(features)
    angle = torch.nn.functional.normalize(features[:, :2], dim=1)
    found = targets @ targets.T / 9
    assert (found - angle @ angle.T).abs().mean() < 0.1
