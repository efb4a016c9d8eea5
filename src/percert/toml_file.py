"""TOML files as frozen dataclasses: recipes and cards, and nothing in them that is not known."""

import sys
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from percert.check import one_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The table that ``text`` is. Raises ``ValueError`` for what is no TOML.

    >>> parse_toml("a = 1", "recipe.toml")
    {'a': 1}
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{where}: not a TOML file ({one_line(error)})") from None


def read_toml(path: Path) -> dict[str, Any]:
    """The table in a file. Raises ``ValueError`` for one that is not there, or no TOML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a TOML file ({one_line(error)})") from None
    return parse_toml(text, str(path))


def check_keys(kind: Any, table: Iterable[str], where: str) -> None:
    """Raise ``ValueError`` where ``table`` has a key that is no field of the dataclass ``kind``."""
    known = {field.name for field in fields(kind)}
    unknown = sorted(set(table) - known)
    if unknown:
        raise ValueError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")


def from_table(kind: type[T], table: dict[str, Any], where: str) -> T:
    """The dataclass ``kind`` with the values of ``table``, nested tables as nested dataclasses.

    What the table leaves out keeps its default; paths are text. ``where`` is what is read, for the
    ``ValueError`` that a key raises which ``kind`` does not have, and a value of another type.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Size:
    ...     width: int = 3
    >>> from_table(Size, {"width": 4}, "recipe.toml")
    Size(width=4)
    >>> from_table(Size, {"width": "wide"}, "recipe.toml")
    Traceback (most recent call last):
    ValueError: recipe.toml: width: expected int, found 'wide'
    """
    check_keys(kind, table, where)
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, value in table.items():
        hint = hints[name]
        table_of = is_dataclass(hint) and isinstance(value, dict)
        values[name] = _checked(
            hint, value, f"{where}: [{name}]" if table_of else f"{where}: {name}"
        )
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _checked(hint: Any, value: Any, where: str) -> Any:
    """``value`` if it is of the type ``hint``: numbers, text, choices, tables, tuples of them."""
    if is_dataclass(hint) and isinstance(value, dict):
        return from_table(hint, value, where)  # type: ignore[arg-type]  # a class, not an instance
    if isinstance(hint, UnionType):  # of a type and None, which TOML cannot say: it is left out
        (hint,) = (one for one in get_args(hint) if one is not NoneType)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            choices = ", ".join(map(repr, get_args(hint)))
            raise ValueError(f"{where}: expected one of {choices}, found {value!r}")
        return value
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        varied = len(inner) == 2 and inner[1] is Ellipsis
        if not isinstance(value, list) or not (varied or len(value) == len(inner)):
            wanted = "a list" if varied else f"a list of {len(inner)} values"
            raise ValueError(f"{where}: expected {wanted}, found {value!r}")
        hints = inner[:1] * len(value) if varied else inner
        return tuple(_checked(h, v, where) for h, v in zip(hints, value, strict=True))
    if hint is float and type(value) is int:
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if type(value) is not hint:
        raise ValueError(f"{where}: expected {getattr(hint, '__name__', hint)}, found {value!r}")
    return value
