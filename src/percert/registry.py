"""What has a name: cards that say where a thing lives, which is loaded when it is first used.

Metrics, attacks and defences each have one :class:`Registry`. A package's public names load their
modules in the same way (:func:`lazy_names`), so that listing names never takes torch.
"""

import inspect
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, Generic, Protocol, TypeVar, final, get_args, get_origin, get_type_hints

from percert.check import did_you_mean


class Card(Protocol):
    """What is said of one named thing. ``where`` is ``module:attribute``: a class or a function."""

    @property
    def name(self) -> str: ...

    @property
    def where(self) -> str: ...


C = TypeVar("C", bound=Card)
T = TypeVar("T")


@final
class Registry(Mapping[str, C], Generic[C]):
    """Cards by name, in the order given; ``kind`` is what they are, for messages: "attack".

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Shape:
    ...     name: str
    ...     where: str
    >>> shapes = Registry("shape", [Shape("fraction", "fractions:Fraction")])
    >>> shapes.create("fraction", numerator=3, denominator=6)
    Fraction(1, 2)
    >>> shapes.find("fracton")
    Traceback (most recent call last):
    ValueError: shape: unknown name 'fracton', did you mean 'fraction'? Known: fraction
    """

    def __init__(self, kind: str, cards: Iterable[C]) -> None:
        self.kind = kind
        self._cards = {card.name: card for card in cards}

    def __getitem__(self, name: str) -> C:
        return self._cards[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cards)

    def __len__(self) -> int:
        return len(self._cards)

    def find(self, name: str) -> C:
        """The card called ``name``. Raises ``ValueError`` with the nearest name and all of them."""
        if name not in self._cards:
            raise ValueError(unknown_name(self.kind, name, self._cards))
        return self._cards[name]

    def load(self, name: str) -> Any:
        """The class or function behind ``name``, its module imported."""
        return load(self.find(name).where)

    def settings(self, name: str) -> dict[str, Any]:
        """The settings of what ``name`` makes and their defaults; ``"..."`` has none."""
        return default_settings(self.load(name))

    def create(self, name: str, **settings: Any) -> Any:
        """What ``name`` makes of ``settings``; those not given are at their defaults.

        Raises ``ValueError`` for an unknown name or setting, and for one that must be given.
        """
        return make(self.load(name), settings, f"{self.kind} {name}")

    def parse(self, text: str) -> tuple[str, Any]:
        """The name in ``NAME`` or ``NAME:key=value,key=value``, and what it makes of these."""
        name, _, rest = text.partition(":")
        settings = read_settings(rest, self.load(name), f"{self.kind} {name}")
        return name, self.create(name, **settings)


def load(where: str) -> Any:
    """The class or function at ``module:attribute``, its module imported."""
    module, _, attribute = where.partition(":")
    return getattr(import_module(module), attribute)


def unknown_name(kind: str, name: object, known: Collection[str]) -> str:
    """The message on a ``name`` that is not ``known``, with the nearest and all of them."""
    hint = did_you_mean(str(name).lower(), known, otherwise=".")
    return f"{kind}: unknown name {name!r}{hint} Known: {', '.join(known)}"


def default_settings(made_by: Callable[..., Any]) -> dict[str, Any]:
    """The keyword arguments of a class or function, and their defaults; ``"..."`` has none.

    >>> default_settings(int.from_bytes)
    {'bytes': '...', 'byteorder': 'big', 'signed': False}
    """
    parameters = inspect.signature(made_by).parameters.values()
    return {p.name: "..." if p.default is p.empty else p.default for p in parameters}


def make(made_by: Callable[..., T], settings: Mapping[str, Any], what: str) -> T:
    """``made_by(**settings)``; ``ValueError``, beginning with ``what``, where these do not fit.

    >>> make(complex, {"reel": 1}, "complex")
    Traceback (most recent call last):
    ValueError: complex: unknown option 'reel'; known: imag, real
    """
    known = default_settings(made_by)
    if unknown := sorted(set(settings) - set(known)):
        raise ValueError(
            f"{what}: unknown option {unknown[0]!r}; known: {', '.join(sorted(known))}"
        )
    if missing := [key for key in known if known[key] == "..." and key not in settings]:
        raise ValueError(f"{what}: option {missing[0]!r} must be given")
    return made_by(**settings)


def name_and_file(text: str) -> tuple[str, str | None]:
    """The two parts of ``NAME`` or ``NAME=FILE``; a folder is a name, whatever is in it.

    >>> name_and_file("lpips-alex=weights/run=3/alex.pth"), name_and_file("phash")
    (('lpips-alex', 'weights/run=3/alex.pth'), ('phash', None))
    """
    name, _, file = (text, "", "") if os.path.isdir(text) else text.strip().partition("=")
    return name, file or None


def split_settings(text: str) -> tuple[str, dict[str, str]]:
    """The name in ``NAME`` or ``NAME:key=value,key=value``, and the settings, still as text.

    One without a value has an empty one; :func:`read_settings` is strict, and knows their types.

    >>> split_settings("pgd:norm=l2, eps=4")
    ('pgd', {'norm': 'l2', 'eps': '4'})
    """
    name, _, rest = text.partition(":")
    return name, {key: value for _, key, _, value in _pairs(rest)}


def join_settings(name: str, settings: Mapping[str, str]) -> str:
    """The inverse of :func:`split_settings`."""
    return f"{name}:{','.join(map('='.join, settings.items()))}" if settings else name


def _pairs(text: str) -> Iterator[tuple[str, str, bool, str]]:
    """Of each part of ``key=value,key=value`` the part, its key, whether it has a =, its value."""
    for part in filter(None, map(str.strip, text.split(","))):
        key, equals, value = part.partition("=")
        yield part, key.strip(), bool(equals), value.strip()


def read_settings(text: str, made_by: Callable[..., Any], what: str) -> dict[str, Any]:
    """The settings in ``key=value,key=value``, each of the type that ``made_by`` has for it.

    A key that ``made_by`` does not have is read as text. Raises ``ValueError``, beginning with
    ``what``, for what is no ``key=value`` and for a value of another type.

    >>> def shake(steps: int = 3, eps: float | None = None): ...
    >>> read_settings("steps=7,eps=none", shake, "shake")
    {'steps': 7, 'eps': None}
    """
    hints = get_type_hints(made_by)
    settings = {}
    for setting, key, equals, value in _pairs(text):
        if not equals:
            raise ValueError(f"{what}: expected key=value, found {setting!r}")
        settings[key] = _read(value, hints.get(key, str), f"{what}: {key}")
    return settings


def _read(value: str, hint: Any, what: str) -> Any:
    """``value`` as ``hint`` has it: bool, int, float, text, or none."""
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
        written = [kind for kind in kinds if kind in (bool, int, float, type(None))]
        names = " or ".join(kind.__name__ for kind in written)
        raise ValueError(f"{what}: expected {names}, found {value!r}")
    return value


def lazy_names(
    package: str, homes: Mapping[str, str], submodules: Iterable[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of ``package``: what ``homes`` says of each module's names.

    ``homes`` maps a module to the public names that live there, separated by spaces; ``NAME=HERE``
    is one that is called otherwise here. What is not among them raises ``AttributeError``.

    >>> get, names = lazy_names("percert", {"percert.metrics": "list_metrics"}, ["certify"])
    >>> names(), get("list_metrics")()[0]
    (['certify', 'list_metrics'], 'lipsim-tiny')
    """
    places = {
        name.rpartition("=")[2]: (module, name.partition("=")[0])
        for module, names in homes.items()
        for name in names.split()
    }
    inside = set(submodules)

    def get(name: str) -> object:
        if name in inside:
            return import_module(f"{package}.{name}")
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, attribute = places[name]
        return getattr(import_module(module), attribute)

    return get, lambda: sorted({*places, *inside})


def settings_text(values: Mapping[str, Any]) -> str:
    """Settings as they are written behind a name: what :func:`split_settings` reads.

    >>> settings_text({"steps": 100, "loss": "margin"})
    'steps=100,loss=margin'
    """
    return ",".join(f"{key}={value}" for key, value in values.items())
