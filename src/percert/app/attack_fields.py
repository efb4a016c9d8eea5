"""An attack's settings as fields of a form, and back: what they are is read from its dataclass."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from percert.attacks.catalog import CATALOG, attack_class, attack_settings

#: Settings that name files: no client may.
HIDDEN = ("checkpoint",)
#: Settings that name a metric, where they are no choice of the attack's own.
METRICS = ("cost", "metric")
#: What the fields of a form begin with.
PREFIX = "set-"


@dataclass(frozen=True)
class SettingField:
    """One setting: what it takes, and its default as text (empty: the attack's own rule)."""

    name: str
    kind: Literal["integer", "number", "choice", "text"]
    default: str
    choices: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What people read."""
        return self.name.replace("_", " ").capitalize()


def setting_fields(attack: str, metrics: tuple[str, ...] = ()) -> list[SettingField]:
    """The fields of an attack of the catalog. ``metrics`` may be its cost, where that is a metric.

    >>> [(one.name, one.kind, one.default) for one in setting_fields("ascent")][:2]
    [('step', 'number', '0.1'), ('steps', 'integer', '100')]
    >>> setting_fields("pgd")[0].choices
    ('l2', 'linf')
    """
    defaults = attack_settings(attack)
    hints = get_type_hints(attack_class(attack))
    made = []
    for field in fields(attack_class(attack)):
        if field.name in HIDDEN:
            continue
        default = _text(defaults[field.name])
        kind, choices = _kind(hints[field.name])
        if kind == "text" and field.name in METRICS and metrics:
            kind, choices = "choice", tuple(dict.fromkeys((default, *metrics)))
        made.append(SettingField(field.name, kind, default, choices))
    return made


def attack_text(attack: str, given: Mapping[str, str]) -> str:
    """``NAME:key=value,...`` of a form's fields, those at their defaults left out.

    Raises ``ValueError`` for a value that would be more than one setting.

    >>> attack_text("ascent", {"set-steps": "20", "set-step": "0.1", "model": "mine"})
    'ascent:steps=20'
    >>> attack_text("ascent", {"set-steps": "20,step=3"})
    Traceback (most recent call last):
    ValueError: attack ascent: Steps: expected one value without a comma, found '20,step=3'
    """
    if attack not in CATALOG:
        return attack
    settings = []
    for field in setting_fields(attack):
        value = given.get(PREFIX + field.name, "").strip()
        if "," in value:
            raise ValueError(
                f"attack {attack}: {field.label}: expected one value without a comma, "
                f"found {value!r}"
            )
        if value not in ("", field.default):
            settings.append(f"{field.name}={value}")
    return f"{attack}:{','.join(settings)}" if settings else attack


def _kind(hint: Any) -> tuple[Literal["integer", "number", "choice", "text"], tuple[str, ...]]:
    kinds = set(_parts(hint))
    named = [one for one in _parts(hint) if get_origin(one) is Literal]
    if named:
        return "choice", tuple(str(value) for one in named for value in get_args(one))
    if bool in kinds:
        return "choice", ("True", "False")
    if float in kinds:
        return "number", ()
    return ("integer", ()) if int in kinds else ("text", ())


def _parts(hint: Any) -> Iterator[Any]:
    """The members of a union, or the hint itself."""
    if get_origin(hint) is Literal or not get_args(hint):
        yield hint
    else:
        for part in get_args(hint):
            yield from _parts(part)


def _text(value: Any) -> str:
    return "" if value is None else str(value)
