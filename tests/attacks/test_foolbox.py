"""foolbox's attacks through the adapter, and ours beside them."""

import random

import numpy as np
import pytest
import torch

from percert.attacks import FlipTriplet, MoveEmbedding, Targeted, Untargeted, create_attack
from percert.attacks.threat import length
from percert.metrics.certified.lipsim import Thumbnail

from .closed_form import Linear, grey_images

foolbox = pytest.importorskip("foolbox")


def test_the_adapter_gives_what_foolbox_gives():
    """One image, the same seed: foolbox called by hand, in its own terms."""
    model, images = Linear(), grey_images(1)
    labels = model(images).argmax(1)

    class Module(torch.nn.Module):
        def forward(self, images):
            return model(images)

    theirs = foolbox.PyTorchModel(Module().eval(), bounds=(0, 1), device="cpu")
    for name, eps in (("L2PGD", 0.2), ("LinfPGD", 0.02), ("DDNAttack", None)):
        torch.manual_seed(5)
        wanted = getattr(foolbox.attacks, name)()(theirs, images, labels, epsilons=eps)[1]
        attack = create_attack("foolbox", attack=name, eps=eps)
        got = attack(model, images, Untargeted(labels), seeds=torch.tensor([5]))
        torch.testing.assert_close(got, wanted)


def test_all_class_goals():
    model, images = Linear(), grey_images(2)
    attack = create_attack("foolbox", attack="L2PGD", eps=3.0)
    targets = model(images).argmin(1)
    moved = attack(model, images, Targeted(targets))
    assert torch.equal(model(moved).argmax(1), targets)
    metric = Thumbnail(8)
    left, right = grey_images(2, seed=4), grey_images(2, seed=5)
    goal = FlipTriplet(left, right, (metric(images, right) < metric(images, left)).long())
    moved = attack(metric, images, goal)
    assert (goal.margin(goal.scores(metric, moved)) > 0).all()


def test_global_random_numbers_are_put_back():
    model, images = Linear(), grey_images(1)
    goal = Untargeted(model(images).argmax(1))
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    create_attack("foolbox", attack="LinfPGD", eps=0.1)(model, images, goal)
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert states[2] == random.getstate()


@pytest.mark.parametrize(
    ("options", "goal", "message"),
    [
        ({"attack": "NoSuch"}, None, "no attack 'NoSuch'"),
        ({"attack": "FGSM", "steps": 3, "eps": 1.0}, None, "foolbox FGSM: .*steps"),
        ({"attack": "LinfPGD"}, None, "eps must be given"),
        ({}, MoveEmbedding(grey_images(1)), "expected a goal with labels, found MoveEmbedding"),
        ({}, Untargeted(torch.tensor([0]), confidence=1.0), "no confidence, found 1.0"),
    ],
)
def test_what_cannot_be_is_said(options, goal, message):
    model, images = Linear(), grey_images(1)
    goal = goal or Untargeted(model(images).argmax(1))
    with pytest.raises(ValueError, match=message):
        create_attack("foolbox", **options)(model, images, goal)


def network() -> torch.nn.Module:
    """A small network, trained for a second on noisy patterns of four classes."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(72, 4),
    )
    images, labels = patterns(256, seed=0)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(net(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval().requires_grad_(False)


def patterns(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(100)
    centres = 0.35 + 0.3 * torch.rand(4, 3, 8, 8, generator=generator)
    generator.manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator)
    noise = torch.randn(count, 3, 8, 8, generator=generator)
    return (centres[labels] + 0.1 * noise).clamp(0, 1), labels


@pytest.mark.parametrize(("norm", "rival"), [("linf", "LinfPGD"), ("l2", "L2PGD")])
def test_ours_break_a_trained_network_wherever_foolboxs_pgd_does(norm, rival):
    net = network()
    images, labels = patterns(24, seed=1)
    right = net(images).argmax(1) == labels
    assert right.float().mean() > 0.9
    images, labels = images[right], labels[right]
    goal = Untargeted(labels)
    # The median distance to the boundary, as FAB has it: half the images can be broken.
    nearest = length(create_attack("fab", norm=norm, steps=20)(net, images, goal) - images, norm)
    eps = float(nearest.median())

    def broken(name: str, **options: object) -> torch.Tensor:
        moved = create_attack(name, eps=eps, **options)(net, images, goal)
        assert (length(moved - images, norm) <= eps * (1 + 1e-5)).all()
        return goal.margin(net(moved)) > 0

    theirs = broken("foolbox", attack=rival, steps=40)
    budgets = {"steps": 30, "fab_steps": 10, "targets": 3, "queries": 50}
    ours = broken("autoattack", norm=norm, **budgets)
    assert not (theirs & ~ours).any()
    assert ours.sum() >= (nearest <= eps).sum()
    alone = broken("apgd", norm=norm, loss="dlr", steps=50)
    assert (alone.sum() - theirs.sum()) >= -1
