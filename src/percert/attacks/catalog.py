"""Every attack by name."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from percert.registry import Registry, default_settings, make, read_settings

if TYPE_CHECKING:  # listing attacks takes no torch
    from percert.attacks.attack import Attack, CatalogAttack


@dataclass(frozen=True)
class AttackCard:
    """Where one attack lives, and what it is.

    ``where`` is ``module:Class``; the class is a frozen dataclass of settings. ``kind``:
    ``"minimal"`` looks for the smallest change that succeeds, ``"bounded"`` for any success within
    its ``eps``. ``goals``: what it can be sent against, of ``"classifier"``, ``"triplet"`` and
    ``"embedding"``.
    """

    name: str
    where: str
    summary: str
    kind: str
    goals: tuple[str, ...] = ("classifier", "triplet")
    paper: str | None = None


CATALOG = Registry(
    "attack",
    (
        AttackCard(
            name="ssim-sqp",
            where="percert.attacks.second_order.ssim_sqp:SSIMSQP",
            summary="Least visible change in whole 8-bit levels, to second order in the cost",
            kind="minimal",
        ),
        AttackCard(
            name="ascent",
            where="percert.attacks.minimal.ascent:Ascent",
            summary="Normalised gradient steps, then the least multiple that survives 8 bits",
            kind="minimal",
        ),
        AttackCard(
            name="pgd",
            where="percert.attacks.bounded.pgd:PGD",
            summary="Projected gradient ascent in an l2 or linf ball, with restarts",
            kind="bounded",
            goals=("classifier", "triplet", "embedding"),
            paper="arXiv:1706.06083",
        ),
        AttackCard(
            name="apgd",
            where="percert.attacks.bounded.pgd:APGD",
            summary="Auto-PGD: projected ascent that halves its own steps",
            kind="bounded",
            goals=("classifier", "triplet", "embedding"),
            paper="arXiv:2003.01690",
        ),
        AttackCard(
            name="fab",
            where="percert.attacks.minimal.fab:FAB",
            summary="FAB: the nearest adversarial image in l2 or linf, along linearised boundaries",
            kind="minimal",
            paper="arXiv:1907.02044",
        ),
        AttackCard(
            name="square",
            where="percert.attacks.bounded.square:Square",
            summary="Random search with squares in an l2 or linf ball, by scores alone",
            kind="bounded",
            goals=("classifier", "triplet", "embedding"),
            paper="arXiv:1912.00049",
        ),
        AttackCard(
            name="autoattack",
            where="percert.attacks.bounded.autoattack:AutoAttack",
            summary="APGD-CE, APGD-DLR, FAB and Square, the worst case of each image",
            kind="bounded",
            paper="arXiv:2003.01690",
        ),
        AttackCard(
            name="foolbox",
            where="percert.attacks.minimal.foolbox_attack:Foolbox",
            summary="An attack of foolbox by its name, image by image (extra: foolbox)",
            kind="minimal",
            paper="arXiv:1707.04131",
        ),
        AttackCard(
            name="ddn",
            where="percert.attacks.minimal.ddn:DDN",
            summary="DDN: direction and l2 length decoupled, on 8-bit images",
            kind="minimal",
            goals=("classifier", "triplet", "embedding"),
            paper="arXiv:1811.09600",
        ),
        AttackCard(
            name="fmn",
            where="percert.attacks.minimal.ddn:FMN",
            summary="FMN: the smallest l1, l2 or linf change, by steps inside a moving ball",
            kind="minimal",
            goals=("classifier", "triplet", "embedding"),
            paper="arXiv:2102.12827",
        ),
        AttackCard(
            name="cw",
            where="percert.attacks.minimal.cw:CarliniWagner",
            summary="Carlini and Wagner's l2 attack, its constant found by binary search",
            kind="minimal",
            goals=("classifier", "triplet", "embedding"),
            paper="arXiv:1608.04644",
        ),
        AttackCard(
            name="perc-al",
            where="percert.attacks.minimal.ascent:PerCAL",
            summary="PerC-AL: the loss and CIEDE2000 by turns, on 8-bit images",
            kind="minimal",
            goals=("classifier", "triplet", "embedding"),
            paper="arXiv:1911.02466",
        ),
        AttackCard(
            name="lpa",
            where="percert.attacks.bounded.perceptual:LPA",
            summary="LPA: a penalty on the perceptual distance beyond a bound",
            kind="bounded",
            goals=("classifier", "triplet", "embedding"),
            paper="arXiv:2006.12655",
        ),
        AttackCard(
            name="ppgd",
            where="percert.attacks.bounded.perceptual:PPGD",
            summary="PPGD: projected gradient steps of a given perceptual length",
            kind="bounded",
            goals=("classifier", "triplet", "embedding"),
            paper="arXiv:2006.12655",
        ),
        AttackCard(
            name="human-perc-ot",
            where="percert.attacks.transport.human_perc_ot:HumanPercOT",
            summary="Human_Perc_OT, corrected: loss less a cost, then the least cost at 8 bits",
            kind="minimal",
            goals=("classifier", "triplet", "embedding"),
            paper="Human Imperceptible Attacks and Applications to Improve Fairness, Algorithm 1",
        ),
        AttackCard(
            name="ssim-step",
            where="percert.attacks.second_order.ssim_step:SSIMStep",
            summary="One second-order step against 1 - SSIM: inverse Hessian times gradient",
            kind="minimal",
            paper="Human Imperceptible Attacks and Applications to Improve Fairness, Eq. 5",
        ),
        AttackCard(
            name="human-perc-ot-literal",
            where="percert.attacks.transport.human_perc_ot:HumanPercOTLiteral",
            summary="Human_Perc_OT as published: raw gradient steps, stopped at the first success",
            kind="minimal",
            paper="Human Imperceptible Attacks and Applications to Improve Fairness, Algorithm 1",
        ),
    ),
)


def list_attacks() -> list[str]:
    """The names that :func:`create_attack` knows.

    >>> "ascent" in list_attacks()
    True
    """
    return list(CATALOG)


def create_attack(name: str, **options: Any) -> "CatalogAttack":
    """The attack called ``name`` with its settings, those not given at their defaults.

    ``name`` may bring settings as on a command line, ``"NAME:key=value,key=value"``. Raises
    ``ValueError`` for an unknown name or option, naming the nearest and what there is.

    >>> create_attack("ascent:loss=cross-entropy", steps=20)
    Ascent(step=0.1, steps=20, loss='cross-entropy', rescale_steps=8)
    """
    name, _, written = name.partition(":")
    settings = read_settings(written, CATALOG.load(name), f"attack {name}")
    made: CatalogAttack = CATALOG.create(name, **{**settings, **options})
    return made


def parse_attack(text: str) -> tuple[str, "CatalogAttack"]:
    """The name in ``NAME`` or ``NAME:key=value,key=value``, and the attack that this is.

    >>> parse_attack("ascent:steps=20")[0]
    'ascent'
    """
    return text.partition(":")[0], create_attack(text)


def as_attack(attack: "Attack | str", /, **settings: Any) -> "Attack":
    """An attack by name, or one as it is; ``settings`` take the place of its own.

    >>> from percert.attacks import PGD
    >>> as_attack(PGD(steps=7), eps=0.5) == as_attack("pgd:steps=7", eps=0.5)
    True
    """
    if isinstance(attack, str):
        return create_attack(attack, **settings)
    if not settings:
        return attack
    if not hasattr(attack, "__dataclass_fields__"):
        raise ValueError(
            f"attack: {type(attack).__name__} takes no settings here, found {min(settings)!r}"
        )
    own = {name: getattr(attack, name) for name in default_settings(type(attack))}
    changed: Attack = make(type(attack), {**own, **settings}, f"attack {type(attack).__name__}")
    return changed
