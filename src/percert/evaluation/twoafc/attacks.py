"""The attacks of a 2AFC evaluation: names for LipSim's, and one for each norm and budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias, get_type_hints

from percert.attacks.attack import Attack
from percert.attacks.catalog import CATALOG, create_attack, parse_attack
from percert.attacks.goal_through import TOGETHER
from percert.attacks.threat import SLACK
from percert.check import check_budget, check_choice
from percert.registry import split_settings

BudgetNorm: TypeAlias = Literal["l2", "linf"]

#: Shorter names for the attacks of LipSim's evaluation. With two logits there is no DLR.
ALIASES: dict[str, tuple[str, ...]] = {
    "apgd-ce": ("apgd:loss=cross-entropy",),
    "apgd-margin": ("apgd:loss=margin",),
    "aa": ("apgd:loss=cross-entropy", "apgd:loss=margin", "fab", "square"),
}


@dataclass(frozen=True)
class AttackBudget:
    """How far an image may move: ``eps`` in pixels of [0, 1], in ``norm``.

    >>> AttackBudget("l2", 0.5).holds(0.5000001), AttackBudget("l2", 0.5).holds(0.51)
    (True, False)
    """

    norm: BudgetNorm
    eps: float

    def __post_init__(self) -> None:
        check_choice(self.norm, ("l2", "linf"), "norm")
        check_budget(self.eps)

    def holds(self, length: float) -> bool:
        """Whether a change of this ``length`` in the norm was allowed, but for float rounding."""
        return length <= self.eps * (1 + SLACK) + 1e-7

    def __str__(self) -> str:
        return f"{self.norm} {self.eps:.4g}"


@dataclass(frozen=True)
class PlannedAttack:
    """An attack, and within which budget it stays; ``None`` where it looks for the least change."""

    name: str
    attack: Attack
    norm: BudgetNorm
    budget: AttackBudget | None


def plan_attacks(
    texts: Sequence[str],
    *,
    l2: Sequence[float] = (),
    linf: Sequence[float] = (),
    perturbed: str = "reference",
    differentiable: bool = True,
) -> dict[str, PlannedAttack]:
    """The attacks that ``texts`` ask for, by what the records call them.

    A text is a name of the catalog or of :data:`ALIASES`, perhaps with settings. One that does not
    set ``eps`` is made for every budget of ``l2`` and ``linf``, or of the norm that it sets; one
    that looks for the least change is made once for each norm. Where several images move, an alias
    stands for those of its attacks that can move them together. Raises ``ValueError`` for an attack
    that does not do for triplets, or not for what moves or for the metric, and for one without a
    budget.

    >>> list(plan_attacks(["aa"], l2=(0.5,)))[:2]
    ['apgd:loss=cross-entropy,norm=l2,eps=0.5', 'apgd:loss=margin,norm=l2,eps=0.5']
    >>> list(plan_attacks(["fab:steps=20"], l2=(0.5, 1), linf=(0.01,)))
    ['fab:steps=20,norm=l2', 'fab:steps=20,norm=linf']
    """
    budgets: dict[BudgetNorm, tuple[float, ...]] = {"l2": tuple(l2), "linf": tuple(linf)}
    found: dict[str, PlannedAttack] = {}
    for text in texts:
        for spec in _expanded(text, perturbed):
            name = spec.partition(":")[0]
            _check_fit(name, perturbed, differentiable)
            for full in _with_budgets(spec, name, budgets):
                if full in found:
                    continue  # an alias and its part
                found[full] = _planned(full, name)
    return found


def _expanded(text: str, perturbed: str) -> list[str]:
    alias, colon, settings = text.partition(":")
    if alias not in ALIASES:
        return [text]
    if len(ALIASES[alias]) > 1 and settings:
        raise ValueError(
            f"attack {alias}: stands for {', '.join(ALIASES[alias])} and takes no settings; "
            "name them one by one"
        )
    return [
        f"{spec},{settings}" if colon else spec
        for spec in ALIASES[alias]
        if perturbed == "reference" or spec.partition(":")[0] in TOGETHER
    ]


def _check_fit(name: str, perturbed: str, differentiable: bool) -> None:
    if name not in CATALOG:
        known = [*ALIASES, *(card.name for card in CATALOG.values() if "triplet" in card.goals)]
        raise ValueError(f"attack: unknown name {name!r}. Known: {', '.join(known)}")
    if "triplet" not in CATALOG[name].goals:
        raise ValueError(f"attack {name}: not for triplets")
    if perturbed != "reference" and name not in TOGETHER:
        raise ValueError(
            f"attack {name}: cannot move several images of a triplet together; "
            f"these can: {', '.join(TOGETHER)}"
        )
    if not differentiable and name != "square":
        raise ValueError(
            f"attack {name}: follows gradients, which this metric does not have; square does not"
        )


def _with_budgets(
    spec: str, name: str, budgets: Mapping[BudgetNorm, tuple[float, ...]]
) -> list[str]:
    settings = split_settings(spec)[1]
    known = {field.name for field in fields(CATALOG.load(name))}
    if "eps" in settings or not ({"eps", "norm"} & known):
        return [spec]
    needs_eps = "eps" in known and not _optional(name, "eps")
    if "norm" in settings and not needs_eps:
        return [spec]
    made = []
    for norm in budgets:
        if not budgets[norm] or settings.get("norm", norm) != norm:
            continue
        added = f"norm={norm}" if "norm" in known and "norm" not in settings else ""
        if needs_eps:
            made += [_joined(spec, added, f"eps={eps:.10g}") for eps in budgets[norm]]
        else:
            made.append(_joined(spec, added))
    if not made:
        raise ValueError(f"attack {spec}: has no budget; give eps= or a list of l2 or linf budgets")
    return made


def _joined(spec: str, *settings: str) -> str:
    more = ",".join(filter(None, settings))
    return spec if not more else f"{spec}{',' if ':' in spec else ':'}{more}"


def _optional(name: str, field: str) -> bool:
    return type(None) in getattr(get_type_hints(CATALOG.load(name))[field], "__args__", ())


def _planned(full: str, name: str) -> PlannedAttack:
    _, attack = parse_attack(full)
    norm: Any = getattr(attack, "norm", "l2")
    eps: Any = getattr(attack, "eps", None)
    if norm not in ("l2", "linf"):
        raise ValueError(f"attack {full}: expected the norm l2 or linf, found {norm!r}")
    bounded = CATALOG[name].kind == "bounded" and eps is not None
    return PlannedAttack(full, attack, norm, AttackBudget(norm, float(eps)) if bounded else None)


def stability_attack(norm: BudgetNorm, eps: float, steps: int, restarts: int) -> Attack:
    """LipSim's attack on the embedding (Eq. 14): projected ascent from a random start, to the end.

    At the image itself the squared distance has no gradient.
    """
    return create_attack(
        "pgd", norm=norm, eps=eps, steps=steps, restarts=restarts, random_start=True, stop=False
    )
