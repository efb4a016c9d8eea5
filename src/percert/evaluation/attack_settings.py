"""Which attacks of a run differ in one setting alone: the rows of an ablation."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from percert.attacks import parse_attack


@dataclass(frozen=True)
class Ablation:
    """Attacks of one ``name`` that differ in ``option`` alone: (its value, the attack)."""

    name: str
    option: str
    attacks: tuple[tuple[Any, str], ...]


def ablations(specs: Mapping[str, str]) -> list[Ablation]:
    """The ablations among attacks, ``specs`` being their texts by what they are called.

    Settings that a text does not give have their defaults. A text that is no attack of the catalog
    is left out.

    >>> (found,) = ablations({"ascent": "ascent", "long": "ascent:steps=9", "pgd": "pgd"})
    >>> found.option, found.attacks
    ('steps', ((100, 'ascent'), (9, 'long')))
    """
    by_name: dict[str, dict[str, dict[str, Any]]] = {}
    for called, spec in specs.items():
        try:
            name, attack = parse_attack(spec)
        except ValueError:
            continue
        settings: Any = attack
        by_name.setdefault(name, {})[called] = {
            field.name: getattr(settings, field.name) for field in fields(settings)
        }
    found = []
    for name, attacks in by_name.items():
        for option in next(iter(attacks.values())):
            groups: dict[str, dict[Any, str]] = {}
            for called, settings in attacks.items():
                others = repr(sorted((k, repr(v)) for k, v in settings.items() if k != option))
                groups.setdefault(others, {}).setdefault(settings[option], called)
            found += [
                Ablation(name, option, tuple(values.items()))
                for values in groups.values()
                if len(values) > 1
            ]
    return found


def family(spec: str) -> tuple[str, float]:
    """An attack's text without its ``confidence``, and that confidence.

    Attacks of one family that differ in it make a curve of cost against survival.

    >>> family("human-perc-ot:confidence=5,steps=9")
    ('human-perc-ot:steps=9', 5.0)
    """
    name, colon, rest = spec.partition(":")
    options = [part for part in rest.split(",") if part] if colon else []
    kept, confidence = [], 0.0
    for option in options:
        key, _, value = option.partition("=")
        if key.strip() == "confidence":
            try:
                confidence = float(value)
                continue
            except ValueError:
                pass
        kept.append(option)
    return (f"{name}:{','.join(kept)}" if kept else name), confidence
