"""The bank keeps the last embeddings, each of a picture that an edit may show or not."""

import torch
from torch import nn

from percert.training.copies.bank import EMPTY, Bank
from percert.training.losses import copy_loss

CPU = torch.device("cpu")


def test_the_oldest_give_way() -> None:
    bank = Bank.of(5, 1, CPU)
    seen: list[int] = []
    for first in range(0, 12, 3):
        rows = torch.arange(first, first + 3)
        bank.add(rows[:, None].float(), rows)
        seen += rows.tolist()
        kept = bank.identity[bank.identity != EMPTY].tolist()
        assert sorted(kept) == seen[-5:]
        full = bank.identity != EMPTY
        assert torch.equal(bank.embeddings[full, 0], bank.identity[full].float())
    bank.add(torch.arange(20.0, 29)[:, None], torch.arange(20, 29))  # more than it holds
    assert sorted(bank.identity.tolist()) == list(range(24, 29))


def test_what_an_edit_shows_is_no_stranger_nor_is_what_is_not_there() -> None:
    bank = Bank.of(3, 2, CPU)
    shown = torch.tensor([[7, 8], [8, 9]])  # the first edit shows 7 and 8, the second 8 and 9
    assert not bank.strangers(shown).any()
    bank.add(torch.eye(2), torch.tensor([7, 9]))
    assert bank.strangers(shown).tolist() == [[False, True, False], [True, False, False]]


def test_a_loss_takes_what_is_kept_as_strangers_and_gives_it_no_gradient() -> None:
    here = torch.tensor([[5.0, 0.0], [0.0, 5.0]], requires_grad=True)
    bank = Bank.of(2, 2, CPU)
    bank.add(nn.Parameter(torch.tensor([[4.0, 0.1]])), torch.tensor([3]))
    assert not bank.embeddings.requires_grad
    settings = {"threshold_angle": 1.0, "margin": 1.0, "temperature": 0.1, "hardest": 0.01}
    apart = ~torch.eye(2, dtype=torch.bool)
    alone = copy_loss(here, here, apart, **settings)
    strangers = torch.cat((apart, bank.strangers(torch.tensor([[0, 1]]))), 1)
    beside = copy_loss(here, torch.cat((here, bank.embeddings)), strangers, **settings)
    assert alone < 0.01
    assert beside > 3  # the first is well within the angle of what is kept
    (gradient,) = torch.autograd.grad(beside, here)
    assert gradient[0].norm() > 0.5
