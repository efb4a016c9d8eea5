"""The gate, with the attacks of the catalog: no certified decision may flip inside its radius."""

import pytest
import torch

from percert.metrics.certified.lipsim import Thumbnail

from .cases import Case, Scene, cases
from .catalog_attacks import flips_within, shortest_flip
from .test_soundness_gate import metric_of

#: Attacks within a budget, and what they may spend on the thumbnail, which is linear.
BOUNDED: dict[str, dict[str, object]] = {
    "pgd": {"steps": 4, "loss": "margin"},
    "apgd": {"steps": 5, "loss": "margin"},
    "square": {"queries": 10},
    "autoattack": {"steps": 3, "fab_steps": 2, "queries": 4},
}
#: Attacks that look for the nearest flip: that must lie beyond the radius.
MINIMAL: dict[str, dict[str, object]] = {"fab": {"steps": 5}, "fmn": {"steps": 5}}
#: On a network, where each certificate meets one attack of each kind in turn.
BRIEF: dict[str, dict[str, object]] = {
    "pgd": {"steps": 3},
    "apgd": {"steps": 3},
    "square": {"queries": 6},
    "autoattack": {"steps": 1, "fab_steps": 1, "queries": 2},
}
#: One case of each certificate, single images and several, for what is not about soundness.
SOME = ("twoafc reference", "twoafc all", "copies, candidate", "copies, not, both", "nearest")

pytestmark = pytest.mark.filterwarnings("ignore:autoattack")


def some_cases() -> list[Case]:
    return [case for case in cases(Thumbnail(8), Scene.of(2)) if case.name in SOME]


def test_no_attack_flips_a_decision_of_the_thumbnail_inside_its_radius() -> None:
    found = list(cases(Thumbnail(8), Scene.of(2)))
    assert len(found) == 23
    for case in found:
        assert (case.radius > 0).all()
        for attack, options in BOUNDED.items():
            flipped = flips_within(case, attack, **options)
            assert not flipped.any(), f"{attack} breaks {case.name}"
        for attack, options in MINIMAL.items():
            away = shortest_flip(case, attack, **options)
            assert (away > 0.999).all(), f"{attack} breaks {case.name}: {away.tolist()}"


def test_no_attack_flips_a_decision_of_the_network_inside_its_radius() -> None:
    # With one photograph, nothing can overtake the first two of a gallery of two.
    found = [
        case
        for case in cases(metric_of("lipsim-tiny"), Scene.of(1))
        if case.radius.isfinite().all()
    ]
    assert len(found) == 22
    for number, case in enumerate(found):
        assert (case.radius > 0).all()
        attack = list(BRIEF)[number % len(BRIEF)]
        flipped = flips_within(case, attack, **BRIEF[attack])
        assert not flipped.any(), f"{attack} breaks {case.name}"
        if number % 3 == 0:
            away = shortest_flip(case, "fab", steps=3)
            assert (away > 0.999).all(), f"fab breaks {case.name}: {away.tolist()}"


@pytest.mark.parametrize("attack", BOUNDED)
def test_beyond_the_radius_bounded_attacks_succeed(attack: str) -> None:
    """At 0.5, 0.9 and 0.999 of three radii. Blind search needs many more, and still finds fewer."""
    blind = attack == "square"
    options = {**BOUNDED[attack], **({"queries": 100} if blind else {})}
    radii = 20.0 if blind else 3.0
    found = [flips_within(case, attack, share=radii, **options) for case in some_cases()]
    share = torch.stack(found).double().mean((0, 2))
    assert (share[1:] >= (0.4 if blind else 0.8)).all(), share


@pytest.mark.parametrize("attack", MINIMAL)
def test_the_nearest_flip_is_little_beyond_the_radius(attack: str) -> None:
    """The thumbnail is linear and its certificates exact: what is not reached is the box's, or the

    attack's. Within 1.5 radii lies the nearest flip of at least half the decisions.
    """
    found = torch.stack([shortest_flip(case, attack, **MINIMAL[attack]) for case in some_cases()])
    assert (found < 1.5).double().mean() > 0.5, found
