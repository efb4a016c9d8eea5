"""Adversarial attacks on classifiers and metrics, and the one judge of all of them.

>>> from percert.attacks import create_attack
>>> attack = create_attack("ascent", steps=50)
"""

from percert.attacks.attack import Attack, Watch
from percert.attacks.catalog import AttackCard, create_attack, list_attacks, parse_attack
from percert.attacks.goal import FlipTriplet, Goal, MoveEmbedding, Targeted, Untargeted
from percert.attacks.judge import Verdict, judge
from percert.attacks.run import AttackResult, iter_attack, run_attack
from percert.attacks.threat import LpBall, MetricBall, Threat, Unbounded

__all__ = [
    "Attack",
    "AttackCard",
    "AttackResult",
    "FlipTriplet",
    "Goal",
    "LpBall",
    "MetricBall",
    "MoveEmbedding",
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
    "run_attack",
]
