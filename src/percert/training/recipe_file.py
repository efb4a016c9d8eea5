"""Recipes as TOML files: frozen dataclasses, and nothing that they do not know."""

import os
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from percert.check import did_you_mean, one_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

_PACKAGE = Path(__file__).parents[1]
#: The recipes that come with percert: in an installed one, and in a checkout.
RECIPES = (_PACKAGE / "recipes", _PACKAGE.parents[1] / "recipes")


def find_recipe(recipe: str | os.PathLike[str]) -> Path:
    """The file of a recipe: ``recipe`` is its path, or the name of one that comes with percert.

    Raises ``ValueError``, with the names that there are, where it is neither.

    >>> find_recipe("copies").name
    'copies.toml'
    """
    path = Path(recipe)
    if path.exists():
        return path
    known = {file.stem: file for folder in RECIPES for file in folder.glob("*.toml")}
    if str(recipe) in known:
        return known[str(recipe)]
    near = did_you_mean(path.stem, known)
    raise ValueError(
        f"{recipe}: no such recipe{near}; a file, or one of percert's: {', '.join(sorted(known))}"
    )


def read_recipe_file(kind: type[T], recipe: str | os.PathLike[str]) -> T:
    """The recipe of dataclass ``kind`` in a TOML file; what it leaves out keeps its default.

    ``recipe`` is as for :func:`find_recipe`. Tables are nested dataclasses. Raises ``ValueError``,
    which names the file and the table, for a file that is not there or no TOML, a key that the
    recipe does not have, and a value of another type.
    """
    path = find_recipe(recipe)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: not a readable TOML recipe: {one_line(error)}") from error
    return from_table(kind, table, str(path))


def with_values(recipe: T, values: Mapping[str, Any]) -> T:
    """``recipe`` with other ``values`` by their dotted names; ``None`` leaves what the recipe has.

    >>> from percert.training.dro import DRORecipe
    >>> found = with_values(DRORecipe(models=2), {"models": None, "training.passes": 1})
    >>> found.models, found.training.passes
    (2, 1)
    """
    tables: dict[str, dict[str, Any]] = {}
    own: dict[str, Any] = {}
    for name, value in values.items():
        table, _, key = name.rpartition(".")
        if value is not None and table:
            tables.setdefault(table, {})[key] = value
        elif value is not None:
            own[key] = value
    own |= {table: replace(getattr(recipe, table), **more) for table, more in tables.items()}
    return replace(recipe, **own)  # type: ignore[type-var]  # always a dataclass


def from_table(kind: type[T], table: dict[str, Any], where: str) -> T:
    """The dataclass ``kind`` with the values of ``table``; see :func:`read_recipe_file`.

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
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]  # always a dataclass
    unknown = sorted(set(table) - known)
    if unknown:
        raise ValueError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
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
    if type(value) is not hint:
        raise ValueError(f"{where}: expected {getattr(hint, '__name__', hint)}, found {value!r}")
    return value
