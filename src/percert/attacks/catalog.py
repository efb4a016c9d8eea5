"""Every attack by name."""

from dataclasses import MISSING, dataclass, fields
from importlib import import_module
from typing import Any, get_args, get_origin, get_type_hints

from percert.attacks.attack import CatalogAttack
from percert.check import did_you_mean


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


CATALOG: dict[str, AttackCard] = {
    card.name: card
    for card in (
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
            where="percert.attacks.minimal.perc_al:PerCAL",
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
    )
}


def list_attacks() -> list[str]:
    """The names that :func:`create_attack` knows.

    >>> "ascent" in list_attacks()
    True
    """
    return list(CATALOG)


def create_attack(name: str, **options: Any) -> CatalogAttack:
    """The attack called ``name`` with its settings, those not given at their defaults.

    Raises ``ValueError`` for an unknown name or option, naming the nearest and what there is.

    >>> create_attack("ascent", steps=20).steps
    20
    """
    if name not in CATALOG:
        hint = did_you_mean(str(name).lower(), CATALOG, otherwise=".")
        raise ValueError(f"attack: unknown name {name!r}{hint} Known: {', '.join(CATALOG)}")
    kind = attack_class(name)
    known = {field.name for field in fields(kind)}
    unknown = sorted(set(options) - known)
    if unknown:
        raise ValueError(
            f"attack {name}: unknown option {unknown[0]!r}; known: {', '.join(sorted(known))}"
        )
    missing = [
        field.name
        for field in fields(kind)
        if field.default is MISSING
        and field.default_factory is MISSING
        and field.name not in options
    ]
    if missing:
        raise ValueError(f"attack {name}: option {missing[0]!r} must be given")
    made: CatalogAttack = kind(**options)
    return made


def parse_attack(text: str) -> tuple[str, CatalogAttack]:
    """The attack in ``NAME`` or ``NAME:key=value,key=value``, as on a command line, with its name.

    >>> parse_attack("ascent:steps=20,loss=cross-entropy")[1].loss
    'cross-entropy'
    """
    name, _, settings = text.partition(":")
    options: dict[str, Any] = {}
    hints = get_type_hints(attack_class(name)) if name in CATALOG else {}
    for setting in filter(None, settings.split(",")):
        key, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"attack {name}: expected key=value, found {setting!r}")
        options[key.strip()] = _read(value.strip(), hints.get(key.strip(), str), f"{name}: {key}")
    return name, create_attack(name, **options)


def attack_class(name: str) -> type[Any]:
    """The frozen dataclass of settings behind a name of the catalog."""
    module, _, attribute = CATALOG[name].where.partition(":")
    found: type[Any] = getattr(import_module(module), attribute)
    return found


def attack_settings(name: str) -> dict[str, Any]:
    """The settings of an attack of the catalog with their defaults; ``"..."`` has none.

    >>> attack_settings("ascent")["steps"]
    100
    """
    found: dict[str, Any] = {}
    for field in fields(attack_class(name)):
        if field.default is not MISSING:
            found[field.name] = field.default
        elif field.default_factory is not MISSING:
            found[field.name] = field.default_factory()
        else:
            found[field.name] = "..."
    return found


def _read(value: str, hint: Any, what: str) -> Any:
    """``value`` as the setting's type has it: bool, int, float, text, or none."""
    kinds = get_args(hint) if get_origin(hint) is not None else (hint,)
    if value.lower() == "none" and type(None) in kinds:
        return None
    if bool in kinds and value.lower() in ("true", "false"):
        return value.lower() == "true"
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(value)
            except ValueError:
                continue
    if bool in kinds or int in kinds or float in kinds:
        names = " or ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)
        raise ValueError(f"attack {what}: expected {names}, found {value!r}")
    return value
