"""Attacks by name: what the catalog promises, and what it refuses."""

import dataclasses
import inspect

import pytest

from percert.attacks import create_attack, list_attacks, parse_attack
from percert.attacks.catalog import CATALOG


@pytest.mark.parametrize("name", list_attacks())
def test_every_card_leads_to_a_frozen_dataclass_of_plain_settings(name):
    card, kind = CATALOG[name], CATALOG.load(name)
    assert card.name == name
    assert card.kind in ("minimal", "bounded")
    assert set(card.goals) <= {"classifier", "triplet", "embedding"}
    assert card.goals
    assert 10 < len(card.summary) < 100
    assert kind.__dataclass_params__.frozen
    assert kind.__doc__
    assert all(field.kw_only for field in dataclasses.fields(kind))
    for field in dataclasses.fields(kind):
        assert field.default is None or isinstance(field.default, bool | int | float | str), field
    parameters = list(inspect.signature(kind.__call__).parameters)
    assert parameters == ["self", "model", "images", "goal", "seeds", "watch"]


@pytest.mark.parametrize("name", list_attacks())
def test_what_a_command_line_writes_is_what_python_makes(name):
    """Every setting at its default, written as text and read again."""
    settings = {field.name: field.default for field in dataclasses.fields(CATALOG.load(name))}
    text = ",".join(f"{key}={value}" for key, value in settings.items())
    assert parse_attack(f"{name}:{text}") == (name, create_attack(name))
    assert parse_attack(name)[1] == create_attack(name)


def test_values_are_read_as_their_setting_has_them():
    attack = parse_attack("pgd: norm=linf, eps=0.03,steps=7,random_start=false,step=none")[1]
    assert (attack.norm, attack.eps, attack.steps) == ("linf", 0.03, 7)
    assert attack.random_start is False
    assert attack.step is None
    assert parse_attack("pgd:step=1e-3")[1].step == 1e-3
    assert parse_attack("fab:eps=1")[1].eps == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pdg", "unknown name 'pdg', did you mean 'pgd'"),
        ("nothing-like-it", "unknown name 'nothing-like-it'. Known: "),
        ("pgd:epsilon=1", "attack pgd: unknown option 'epsilon'; known: eps,"),
        ("pgd:eps", "attack pgd: expected key=value, found 'eps'"),
        ("pgd:eps=wide", "attack pgd: eps: expected float, found 'wide'"),
        ("pgd:steps=1.5", "attack pgd: steps: expected int, found '1.5'"),
        ("pgd:stop=perhaps", "attack pgd: stop: expected bool, found 'perhaps'"),
        ("pgd:norm=l7", "norm: expected one of 'l2', 'linf', found 'l7'"),
    ],
)
def test_what_is_misspelt_is_said(text, message):
    with pytest.raises(ValueError, match=message):
        parse_attack(text)


def test_settings_cannot_be_changed_afterwards():
    attack = create_attack("pgd")
    with pytest.raises(dataclasses.FrozenInstanceError):
        attack.eps = 2.0
