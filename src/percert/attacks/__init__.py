"""Adversarial attacks on classifiers and metrics, and the one judge of all of them.

An attack is an object of settings that is called: ``attack(model, images, labels)``.

>>> from percert.attacks import PGD
>>> attack = PGD(norm="linf", eps=8 / 255, steps=10)

What is named is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from percert.registry import lazy_names

if TYPE_CHECKING:
    from percert.attacks.attack import Attack, Watch
    from percert.attacks.bounded.autoattack import AutoAttack
    from percert.attacks.bounded.perceptual import LPA, PPGD
    from percert.attacks.bounded.pgd import APGD, PGD
    from percert.attacks.bounded.square import Square
    from percert.attacks.catalog import AttackCard, create_attack, list_attacks, parse_attack
    from percert.attacks.goal import FlipTriplet, Goal, MoveEmbedding, Targeted, Untargeted
    from percert.attacks.goal_through import surviving
    from percert.attacks.minimal.ascent import Ascent, PerCAL
    from percert.attacks.minimal.cw import CarliniWagner
    from percert.attacks.minimal.ddn import DDN, FMN
    from percert.attacks.minimal.fab import FAB
    from percert.attacks.minimal.foolbox_attack import Foolbox
    from percert.attacks.run import AttackResult, Verdict, iter_attack, judge, run_attack
    from percert.attacks.second_order.ssim_sqp import SSIMSQP
    from percert.attacks.second_order.ssim_step import SSIMStep
    from percert.attacks.threat import LpBall, MetricBall, Threat, Unbounded, round_inside
    from percert.attacks.transport.human_perc_ot import HumanPercOT, HumanPercOTLiteral

__all__ = [
    "APGD",
    "DDN",
    "FAB",
    "FMN",
    "LPA",
    "PGD",
    "PPGD",
    "SSIMSQP",
    "Ascent",
    "Attack",
    "AttackCard",
    "AttackResult",
    "AutoAttack",
    "CarliniWagner",
    "FlipTriplet",
    "Foolbox",
    "Goal",
    "HumanPercOT",
    "HumanPercOTLiteral",
    "LpBall",
    "MetricBall",
    "MoveEmbedding",
    "PerCAL",
    "SSIMStep",
    "Square",
    "Targeted",
    "Threat",
    "Unbounded",
    "Untargeted",
    "Verdict",
    "Watch",
    "create_attack",
    "iter_attack",
    "judge",
    "list_attacks",
    "parse_attack",
    "round_inside",
    "run_attack",
    "surviving",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "percert.attacks.attack": "Attack Watch",
        "percert.attacks.bounded.autoattack": "AutoAttack",
        "percert.attacks.bounded.perceptual": "LPA PPGD",
        "percert.attacks.bounded.pgd": "APGD PGD",
        "percert.attacks.bounded.square": "Square",
        "percert.attacks.catalog": "AttackCard create_attack list_attacks parse_attack",
        "percert.attacks.goal": "FlipTriplet Goal MoveEmbedding Targeted Untargeted",
        "percert.attacks.goal_through": "surviving",
        "percert.attacks.minimal.ascent": "Ascent PerCAL",
        "percert.attacks.minimal.cw": "CarliniWagner",
        "percert.attacks.minimal.ddn": "DDN FMN",
        "percert.attacks.minimal.fab": "FAB",
        "percert.attacks.minimal.foolbox_attack": "Foolbox",
        "percert.attacks.run": "AttackResult Verdict iter_attack judge run_attack",
        "percert.attacks.second_order.ssim_sqp": "SSIMSQP",
        "percert.attacks.second_order.ssim_step": "SSIMStep",
        "percert.attacks.threat": "LpBall MetricBall Threat Unbounded round_inside",
        "percert.attacks.transport.human_perc_ot": "HumanPercOT HumanPercOTLiteral",
    },
)
