"""Names, settings and texts of one registry, whatever it holds."""

from dataclasses import dataclass, fields

import pytest

from percert.attacks.catalog import CATALOG as ATTACKS
from percert.defences import CATALOG as DEFENCES
from percert.metrics.catalog import CATALOG as METRICS
from percert.registry import Registry, lazy_names, load, make, read_settings


@dataclass(frozen=True, kw_only=True)
class Shake:
    steps: int
    eps: float | None = None
    gentle: bool = False
    norm: str = "l2"


@dataclass(frozen=True)
class Named:
    name: str
    where: str


SHAKES = Registry("shake", [Named("shake", f"{__name__}:Shake"), Named("other", "math:sqrt")])


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    """This file is imported by its path, and so not found by its name."""
    import sys
    import types

    module = types.ModuleType(__name__)
    module.Shake = Shake
    monkeypatch.setitem(sys.modules, __name__, module)


@pytest.mark.parametrize("registry", [ATTACKS, DEFENCES, METRICS], ids=lambda r: r.kind)
def test_every_card_leads_to_what_it_names(registry):
    assert len(registry) > 3
    for name, card in registry.items():
        assert card.name == name
        assert registry.find(name) is card
        assert callable(registry.load(name))
        assert registry.load(name).__doc__


def test_settings_are_read_by_their_types():
    text = "steps=7, eps=none,gentle=TRUE,norm=linf"
    name, made = SHAKES.parse(f"shake:{text}")
    assert (name, made) == ("shake", Shake(steps=7, eps=None, gentle=True, norm="linf"))
    assert SHAKES.settings("shake") == {"steps": "...", "eps": None, "gentle": False, "norm": "l2"}
    assert [field.name for field in fields(Shake)] == list(SHAKES.settings("shake"))
    assert read_settings("eps=2", Shake, "shake") == {"eps": 2.0}
    assert read_settings("", Shake, "shake") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shak", "shake: unknown name 'shak', did you mean 'shake'[?] Known: shake, other"),
        ("zzz", "shake: unknown name 'zzz'[.] Known: shake, other"),
        ("shake", "shake shake: option 'steps' must be given"),
        ("shake:steps", "shake shake: expected key=value, found 'steps'"),
        ("shake:steps=1.5", "shake shake: steps: expected int, found '1.5'"),
        ("shake:steps=1,eps=wide", "shake shake: eps: expected float or NoneType, found 'wide'"),
        ("shake:steps=1,gentle=perhaps", "shake shake: gentle: expected bool, found 'perhaps'"),
        ("shake:steps=1,speed=2", "shake shake: unknown option 'speed'; known: eps, gentle"),
    ],
)
def test_what_does_not_fit_is_said(text, message):
    with pytest.raises(ValueError, match=message):
        SHAKES.parse(text)


def test_names_far_from_any_and_names_that_are_there():
    assert "shake" in SHAKES
    assert "shak" not in SHAKES
    with pytest.raises(KeyError):
        SHAKES["shak"]
    assert load("math:sqrt")(4) == 2
    assert make(Shake, {"steps": 1}, "shake") == Shake(steps=1)


def test_lazy_names_are_those_given_and_no_others():
    get, names = lazy_names("percert", {"percert.check": "one_line did_you_mean"}, ["metrics"])
    assert names() == ["did_you_mean", "metrics", "one_line"]
    assert get("one_line")(ValueError("a")) == "a"
    assert get("metrics").__name__ == "percert.metrics"
    with pytest.raises(AttributeError, match="module 'percert' has no attribute 'two_lines'"):
        get("two_lines")
